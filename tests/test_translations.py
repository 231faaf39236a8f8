"""The table of albumentations' old and new arguments in the documentation."""

import re
import warnings
from pathlib import Path

import albumentations as A
import cv2
import numpy as np
import pytest

PAGE = Path(__file__).parents[1] / "docs" / "how_to" / "augment.md"
ROWS = re.findall(r"^\| `(A\..+?)` \| `(A\..+?)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def made(call):
    """Return the transform that a call creates, and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        transform = eval(call, {"A": A, "cv2": cv2})
    return transform, caught


def test_table_is_found():
    """The table is still where this test looks for it."""
    assert len(ROWS) > 20


def new_of(name):
    return next(made(new)[0] for old, new in ROWS if old.startswith(f"A.{name}("))


def test_noise_is_that_of_pixels():
    """The noise is the same in all channels, as before, and differs between pixels."""
    noise = new_of("IAAAdditiveGaussianNoise")
    noise.p = 1
    image = noise(image=np.full((99, 99, 3), 100, dtype="uint8"))["image"]

    assert image.std() > 1
    assert (image == image[..., :1]).all()


def test_nothing_black_comes_in():
    """Areas from outside the image are filled with the mirrored image."""
    transform = new_of("ShiftScaleRotate")
    transform.p = 1

    assert (transform(image=np.full((99, 99, 3), 100, dtype="uint8"))["image"] == 100).all()


@pytest.mark.parametrize(("old", "new"), ROWS, ids=[old for old, _ in ROWS])
def test_row(old, new, rng):
    """The old call fails or warns; the new one does neither."""
    image = rng.integers(0, 256, (300, 300, 3), dtype="uint8")

    try:
        complaint = made(old)[1]
    except (AttributeError, ValueError) as error:
        complaint = [error]
    transform, warned = made(new)

    assert complaint
    assert not warned
    assert transform(image=image)["image"].dtype == image.dtype
