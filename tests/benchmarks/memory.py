"""What remedies against a lack of memory save, and what they cost.

    nox -s bench -- memory

A `simple_cnn` learns scikit-learn's digits, enlarged to 64 x 64 RGB, for the same number of epochs
in every row. Each training runs in a process of its own, once for each seed. The memory is the peak
of the process above what it held before `fit`, when all was imported, the data made and the model
built; `resource` tells it, so this doesn't run on Windows. Seconds are those of `fit`, with the
first step, which TensorFlow traces. The digits have 8 x 8 pixels, so smaller images lose nothing
here.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm

SEEDS, EPOCHS = range(3), 6


class Variant(NamedTuple):
    """What one training does."""

    side: int = 64
    filters: tuple[int, ...] = (16, 32, 64)
    batch: int = 128
    options: dict[str, Any] = {}  # noqa: RUF012  # of simple_cnn; nobody changes it
    policy: str = "float32"
    accumulated: int | None = None


VARIANTS = {
    "baseline": Variant(),
    "half the image side": Variant(side=32),
    "one block fewer": Variant(filters=(16, 32)),
    "half the filters": Variant(filters=(8, 16, 32)),
    "a quarter of the batch": Variant(batch=32),
    "  four of them accumulated": Variant(batch=32, accumulated=4),
    'pooling="avg"': Variant(options={"pooling": "avg"}),
    "separable=True": Variant(options={"separable": True}),
    "mixed_bfloat16": Variant(policy="mixed_bfloat16"),
}


def enlarged_digits(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return RGB images and their class numbers."""
    digits = load_digits()
    gray = (digits.images * (255 / 16)).round().astype(np.uint8)
    large = [cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR) for image in gray]
    return np.repeat(np.stack(large)[..., None], 3, axis=-1), digits.target


def peak() -> float:
    """Return the most megabytes that this process has held in memory."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def compiled_model(variant: Variant) -> Any:
    """Build the network of a variant."""
    import keras

    from cnnkit.models import simple_cnn

    keras.mixed_precision.set_global_policy(variant.policy)
    model = simple_cnn(
        (variant.side, variant.side, 3), 10, filters=variant.filters, mode="unit", **variant.options
    )
    optimizer = keras.optimizers.Adam(gradient_accumulation_steps=variant.accumulated)
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def train(variant: Variant, seed: int) -> dict[str, float]:
    """Train in this process, and return what it took."""
    import keras

    images, targets = enlarged_digits(variant.side)
    train_images, test_images, train_targets, test_targets = train_test_split(
        images, targets, train_size=1024, stratify=targets, random_state=0
    )
    keras.utils.set_random_seed(seed)
    model = compiled_model(variant)
    before, start = peak(), time.perf_counter()
    model.fit(train_images, train_targets, batch_size=variant.batch, epochs=EPOCHS, verbose=0)
    seconds, after = time.perf_counter() - start, peak()
    accuracy = model.evaluate(test_images, test_targets, verbose=0)[1]
    return {
        "peak MB": after - before,
        "seconds": seconds,
        "accuracy": accuracy,
        "parameters": model.count_params(),
    }


def in_a_process(name: str, seed: int) -> dict[str, float]:
    """Train in a fresh process."""
    command = [sys.executable, __file__, "--variant", name, "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main(run: Callable[[str, int], dict[str, float]] = in_a_process) -> None:
    """Print a table of all variants, means over the seeds."""
    jobs = [(name, seed) for seed in SEEDS for name in VARIANTS]
    rows = [{"variant": name, **run(name, seed)} for name, seed in tqdm(jobs, "memory")]
    table = pd.DataFrame(rows).groupby("variant", sort=False).mean()
    formats = {"peak MB": "{:.0f}", "seconds": "{:.1f}", "accuracy": "{:.3f}"}
    formatters = {name: text.format for name, text in formats.items()}
    formatters["parameters"] = "{:.0f}".format
    print(table.rename_axis(None).to_string(formatters=formatters))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--variant", choices=VARIANTS)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.variant is None:
        main()
    else:
        print(json.dumps(train(VARIANTS[given.variant], given.seed)))
