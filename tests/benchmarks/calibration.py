"""Calibration error of fine-tuned classifiers of photos, before and after `calibrate`.

    nox -s bench -- calibration FOLDER WEIGHTS [SIDE]

FOLDER and WEIGHTS are as for `recipes`. Half of all photos train, a quarter chooses the epoch and
the temperature, a quarter judges: the expected calibration error with fifteen bins (Guo et al.,
"On calibration of modern neural networks", 2017, equation 3), and the accuracy.
"""

import sys

import keras
import numpy as np
import pandas as pd
from recipes import Images, Work, guide, ours, photos
from tqdm import tqdm

from cnnkit.data import split_arrays
from cnnkit.transfer import calibrate

SEEDS = range(5)
BINS = 15
TRAINED = {"fine_tune": ours, "Keras guide": guide}


def calibration_error(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Return the mean distance of confidence and accuracy, over bins of confidence."""
    table = pd.DataFrame(
        {
            "confidence": probabilities.max(axis=1),
            "right": probabilities.argmax(axis=1) == targets.argmax(axis=1),
        }
    )
    bins = table.groupby(np.ceil(BINS * table["confidence"]))
    gaps = (bins["confidence"].mean() - bins["right"].mean()).abs()
    return float(np.average(gaps, weights=bins.size()))


def errors(images: Images, name: str, seed: int) -> dict[str, float]:
    """Return error and accuracy of a fine-tuned classifier, as it is and calibrated."""
    pairs = zip(images.train, images.test, strict=True)
    split = split_arrays(
        *map(np.concatenate, pairs), validation_size=0.25, test_size=0.25, random_state=seed
    )
    keras.utils.set_random_seed(seed)
    model = TRAINED[name](Work(images.build, split.train, split.validation, seed, images.mirror))
    found = {}
    for when, judged in (("before", model), ("after", calibrate(model, split.validation))):
        probabilities = judged.predict(split.test[0], verbose=0)
        found[f"error {when}"] = calibration_error(probabilities, split.test[1])
        right = probabilities.argmax(axis=1) == split.test[1].argmax(axis=1)
        found[f"accuracy {when}"] = right.mean()
    return found


def main() -> None:
    """Print the errors of each seed, and what is left of them on average."""
    images = photos(sys.argv[1], sys.argv[2], int((sys.argv[3:] or ["128"])[0]))
    for name in TRAINED:
        table = pd.DataFrame([errors(images, name, seed) for seed in tqdm(SEEDS, name)])
        left = table["error after"].mean() / table["error before"].mean()
        print(f"\n{name}\n{table.to_string(float_format='{:.3f}'.format)}")
        print(f"error after calibrating: {left:.2f} of what it was", flush=True)


if __name__ == "__main__":
    main()
