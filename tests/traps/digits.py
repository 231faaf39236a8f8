"""Real images for the experiments: scikit-learn's handwritten digits."""

from pathlib import Path

import keras
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from cnnkit.models import simple_cnn


def digits(first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 images `(images, 16, 16, 3)` and class numbers from 0."""
    images, targets = load_digits(return_X_y=True)
    chosen = (targets >= first) & (targets <= last)
    pixels = (images[chosen].reshape(-1, 8, 8, 1) * (255 / 16)).round().astype("uint8")
    pixels = pixels.repeat(2, axis=1).repeat(2, axis=2).repeat(3, axis=3)
    return pixels, targets[chosen] - first


def write_digits(folder: Path, first: int, last: int, count: int) -> Path:
    """Write `count` digits of each class as PNG files into class folders."""
    images, targets = digits(first, last)
    for target in range(last - first + 1):
        (folder / str(first + target)).mkdir(parents=True)
        for number, image in enumerate(images[targets == target][:count]):
            Image.fromarray(image).save(folder / str(first + target) / f"{number:03}.png")
    return folder


def digit_backbone() -> keras.Model:
    """Return a small network with BatchNorm that was trained on the digits 0 to 4."""
    keras.utils.set_random_seed(0)
    model = simple_cnn((16, 16, 3), 5, batch_norm=True, pooling="avg", mode="unit")
    model.compile(keras.optimizers.Adam(3e-3), loss="sparse_categorical_crossentropy")
    model.fit(*digits(0, 4), epochs=10, batch_size=64, verbose=0)
    return keras.Model(model.input, model.get_layer("block3_pool").output, name="digits")
