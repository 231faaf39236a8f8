"""Fixtures of the tests of cache files."""

import itertools
import albumentations as A
import numpy as np
import pandas as pd
import pytest
from cnnkit.data import list_images, read_image
from cnnkit.data._feeding import sources
from cache_files import LEVELS


@pytest.fixture
def cache(tmp_path):
    """A path in a folder where nothing else is."""
    (tmp_path / "caches").mkdir()
    return tmp_path / "caches" / "train.cache"


@pytest.fixture
def photos(make_folder):
    """Twelve wide images of random pixels, of two classes."""
    return list_images(make_folder({"cat": 6, "dog": 6}, size=(20, 30)))


@pytest.fixture
def write_level(write_image):
    """Return a function that saves an image of one level, with as many bytes as any other."""

    def write(level, name=None, size=(8, 8)):
        return write_image(name or f"level_{level:03}.bmp", np.full((*size, 3), level, np.uint8))

    return write


@pytest.fixture
def table(write_level):
    """Twelve images of one level each; the file's name tells it."""
    return pd.DataFrame({"file_paths": [str(write_level(level)) for level in LEVELS]})


@pytest.fixture
def reads(monkeypatch):
    """The files that have been read, in a list that goes on growing."""
    paths = []

    def read(path, *args, **options):
        paths.append(path)
        return read_image(path, *args, **options)

    monkeypatch.setattr(sources, "read_image", read)
    return paths


@pytest.fixture
def at_read(monkeypatch):
    """Return a function that puts an action before the sixth read, or another one, once."""

    def put(action, number=6):
        count = itertools.count(1)

        def read(*args, **options):
            if next(count) == number:
                action()
            return read_image(*args, **options)

        monkeypatch.setattr(sources, "read_image", read)

    return put


@pytest.fixture
def augmentation():
    return A.Compose(
        [A.HorizontalFlip(p=0.5), A.RandomBrightnessContrast(p=0.8), A.GaussNoise(p=0.5)]
    )
