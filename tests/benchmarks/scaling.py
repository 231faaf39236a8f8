"""Time of scaling a batch, side by side with Keras and with the loops of course notes.

    nox -s bench

Each figure is the lower end of a 95 % interval of the ratio of two times, from interleaved pairs.
"""

from collections.abc import Callable

import keras
import numpy as np
import pandas as pd
from tqdm import tqdm

from cnnkit.preprocess import scale

from pairs import ratio

PAIRS = 301  # a call takes some milliseconds
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def notes_torch(images: np.ndarray) -> np.ndarray:
    """Scale image by image and channel by channel, in float64, as course notes do."""
    results = []
    for image in images:
        scaled = image / 255.0
        for channel in range(3):
            scaled[:, :, channel] = (scaled[:, :, channel] - MEAN[channel]) / DEVIATION[channel]
        results.append(scaled)
    return np.stack(results)


def keras_mode(mode: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return Keras's own function; it wants floats, and the conversion is part of the work."""

    def preprocess(images: np.ndarray) -> np.ndarray:
        return keras.applications.imagenet_utils.preprocess_input(
            images.astype("float32"), mode=mode
        )

    return preprocess


def main() -> None:
    """Print the table."""
    images = np.random.default_rng(0).integers(0, 256, (32, 224, 224, 3), dtype=np.uint8)
    floats = np.zeros(images.shape, dtype=np.float32)
    peers = {
        ("torch", "loops of course notes"): lambda: notes_torch(images),
        ("torch", "Keras's preprocess_input"): lambda: keras_mode("torch")(images),
        ("tf", "Keras's preprocess_input"): lambda: keras_mode("tf")(images),
        ("torch", "copying a float32 batch"): floats.copy,
    }
    rows = []
    for (mode, peer), theirs in tqdm(peers.items(), "pairs"):
        median, low = ratio(lambda mode=mode: scale(images, mode), theirs, pairs=PAIRS)
        rows.append((mode, peer, f"{median:.2f}", f"{low:.2f}"))
    columns = ["mode", "peer", "their time / ours", "lower end of 95 %"]
    print(pd.DataFrame(rows, columns=columns).to_string(index=False))


if __name__ == "__main__":
    main()
