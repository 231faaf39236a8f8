"""Fixtures of the tests of image_dataset."""

import albumentations as A
import numpy as np
import pytest
from epochs import LEVELS, draws_of


@pytest.fixture
def arrays(rng):
    """Forty images of random pixels, of three classes."""
    return rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8), np.arange(40) % 3


@pytest.fixture
def corners():
    """400 black images, each with one bright corner top left."""
    images = np.zeros((400, 4, 4, 3), dtype=np.uint8)
    images[:, 0, 0] = 255
    return images, np.zeros(400, dtype=int)


@pytest.fixture
def table(level_table):
    """24 images of one level each, of two classes."""
    return level_table(LEVELS, ["dark"] * 12 + ["light"] * 12)


@pytest.fixture(scope="module")
def draws():
    """The numbers drawn of three seeds, in three epochs, at 400 places."""
    return np.stack([draws_of(400, 3, seed=seed) for seed in range(3)])


@pytest.fixture
def augmentation():
    """What people augment photos with: flips, colors, geometry, choices and holes."""
    return A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.VerticalFlip(p=0.5),
            A.OneOf([A.RandomBrightnessContrast(p=1), A.HueSaturationValue(p=1)], p=0.8),
            A.Affine(rotate=(-20, 20), scale=(0.8, 1.2), p=0.7),
            A.GaussNoise(p=0.5),
            A.CoarseDropout(p=0.5),
        ]
    )
