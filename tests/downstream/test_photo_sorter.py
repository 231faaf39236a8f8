"""The package works with the cnnkit that is installed."""

from pathlib import Path

import cnnkit
import keras
import numpy as np
import pytest
from cnnkit.data import predict_images
from PIL import Image

import photo_sorter


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Red and blue images in two folders."""
    rng = np.random.default_rng(0)
    for channel, name in ((0, "red"), (2, "blue")):
        (tmp_path / name).mkdir()
        for number in range(20):
            pixels = rng.integers(0, 100, (16, 16, 3), dtype=np.uint8)
            pixels[..., channel] += 155
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    return tmp_path


def test_cnnkit_is_the_installed_wheel() -> None:
    """Not the folder that lies above."""
    assert "site-packages" in Path(cnnkit.__file__).parts


def test_photos_are_sorted(photos: Path, tmp_path: Path) -> None:
    """Each is in one group, most of them in their own."""
    keras.utils.set_random_seed(0)
    model, split = photo_sorter.learn(photos, epochs=10)
    paths = [Path(path) for path in split.test["file_paths"]]
    groups = photo_sorter.sort(model, paths)
    right = sum(path.parent.name == name for name, group in groups.items() for path in group)

    assert sorted(paths) == sorted(path for group in groups.values() for path in group)
    assert right >= 0.75 * len(paths)
    photo_sorter.draw(predict_images(model, split.test, progress=False), tmp_path / "worst.png")
    assert (tmp_path / "worst.png").stat().st_size > 1000


def test_what_is_no_photo_has_no_brightness(photos: Path) -> None:
    """The error can be caught by its name."""
    (photos / "text.png").write_text("no image", encoding="utf-8")
    brightness = photo_sorter.brightness(photos / "red" / "0.png")

    assert brightness is not None
    assert 0.3 < brightness < 0.5
    assert photo_sorter.brightness(photos / "text.png") is None
