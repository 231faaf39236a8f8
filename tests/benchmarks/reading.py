"""Time and quality of reading JPEGs at one size, side by side with Keras and Pillow.

    nox -s bench -- reading

A time is that of the peer over ours, by the lower end of a 95 % interval from interleaved pairs.
Quality is the likeness to Pillow's antialiased reduction, in decibels: 30 is visibly different, 40
hardly. Every pair reads all files of a size; they lie in the system's cache.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_images
from tqdm import tqdm

from cnnkit.data import read_image

from pairs import ratio

TARGET = (224, 224)
SIZES = [(400, 300), (500, 375), (640, 480), (800, 600), (1000, 750)]  # width and height
COPIES = 4  # of each of the two photos

Read = Callable[[Path], np.ndarray]


def ours(path: Path) -> np.ndarray:
    return read_image(path, TARGET)


def keras_bilinear(path: Path) -> np.ndarray:
    """Read as Keras's older tools do, with Pillow behind: antialiased."""
    image = keras.utils.load_img(path, target_size=TARGET, interpolation="bilinear")
    return keras.utils.img_to_array(image)


def keras_default(path: Path) -> np.ndarray:
    """Read by `load_img` as it is: the nearest pixel."""
    return keras.utils.img_to_array(keras.utils.load_img(path, target_size=TARGET))


def keras_dataset(path: Path) -> np.ndarray:
    """Resize as `image_dataset_from_directory` does: bilinear, not antialiased."""
    encoded = tf.io.read_file(str(path))
    pixels = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    return tf.image.resize(pixels, TARGET).numpy()


def pillow(path: Path) -> np.ndarray:
    """Read with Pillow alone: antialiased."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    return np.asarray(image.resize(TARGET[::-1], Image.Resampling.BILINEAR))


def write_photos(folder: Path) -> dict[tuple[int, int], list[Path]]:
    """Save the two sample photos, each several times cut a little differently, at every size."""
    files = {}
    for width, height in SIZES:
        files[width, height] = []
        for number, photo in enumerate(load_sample_images().images):
            picture = Image.fromarray(photo)
            for copy in range(COPIES):
                box = (copy, copy, photo.shape[1] - copy, photo.shape[0] - copy)
                path = folder / f"{width}_{number}_{copy}.jpg"
                small = picture.resize((width, height), Image.Resampling.LANCZOS, box=box)
                small.save(path, quality=90)
                files[width, height].append(path)
    return files


def all_of(read: Read, paths: list[Path]) -> Callable[[], None]:
    """Return what reads every file."""

    def run() -> None:
        for path in paths:
            read(path)

    return run


def decibels(read: Read, paths: list[Path]) -> float:
    """Return the mean likeness to Pillow's antialiased reduction."""
    errors = [np.mean((pillow(path).astype(np.float64) - read(path)) ** 2) for path in paths]
    return float(np.mean(10 * np.log10(255**2 / np.array(errors))))


def main() -> None:
    """Print the tables of time and of quality."""
    cv2.setNumThreads(1)  # one file, one core, for all alike
    times, qualities = [], []
    with tempfile.TemporaryDirectory() as folder:
        files = write_photos(Path(folder))
        named = {f"{width}x{height}": paths for (width, height), paths in files.items()}
        named["all"] = [path for paths in files.values() for path in paths]
        for name, paths in tqdm(named.items(), "sizes"):
            row = [name]
            for theirs in (keras_bilinear, pillow):
                median, low = ratio(all_of(ours, paths), all_of(theirs, paths))
                row += [f"{median:.2f}", f"{low:.2f}"]
            times.append(row)
            ways = (ours, keras_default, keras_dataset)
            qualities.append([name, *(f"{decibels(way, paths):.1f}" for way in ways)])
    columns = ["Keras bilinear / ours", "lower end", "Pillow bilinear / ours", "lower end"]
    print(pd.DataFrame(times, columns=["size", *columns]).to_string(index=False))
    columns = ["ours", "load_img", "image_dataset_from_directory"]
    print("\nLikeness to an antialiased reduction, in dB")
    print(pd.DataFrame(qualities, columns=["size", *columns]).to_string(index=False))


if __name__ == "__main__":
    main()
