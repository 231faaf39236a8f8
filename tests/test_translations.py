"""The table of albumentations' old and new arguments in the documentation."""

import re
import warnings
from pathlib import Path

import albumentations as A
import cv2
import pytest

PAGE = Path(__file__).parents[1] / "docs" / "how_to" / "augment.md"
ROWS = re.findall(r"^\| `(A\..+?)` \| `(A\..+?)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def made(call):
    """Return the transform that a call makes, and what it warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        transform = eval(call, {"A": A, "cv2": cv2})
    return transform, caught


def test_table_is_found():
    """The table has not moved away from this test."""
    assert len(ROWS) > 20


@pytest.mark.parametrize(("old", "new"), ROWS, ids=[old for old, _ in ROWS])
def test_row(old, new, rng):
    """The old call fails or warns; the new one does neither, and works."""
    image = rng.integers(0, 256, (300, 300, 3), dtype="uint8")

    try:
        complaint = made(old)[1]
    except (AttributeError, ValueError) as error:
        complaint = [error]
    transform, warned = made(new)

    assert complaint
    assert not warned
    assert transform(image=image)["image"].dtype == image.dtype
