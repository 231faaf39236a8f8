"""The one reader: whatever opens an image in cnnkit goes through `read_image`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import UnidentifiedImageError

from cnnkit._foundation.validation import check_image_size, check_one_of
from cnnkit.data._files.decoding import DECODING_ERRORS, opened, upright
from cnnkit.data._files.resizing import box_of_aspect, cut, jpeg_reduction, pad, resize, size_within
from cnnkit.exceptions import ImageReadError
from cnnkit.preprocess import to_grayscale

CHANNELS = {"rgb": 3, "grayscale": 1}


def read_image(
    path: str | os.PathLike[str],
    image_size: Sequence[int] | None = None,
    *,
    color_mode: str = "rgb",
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
) -> NDArray[np.uint8]:
    """Read an image file as an upright array of pixels.

    The orientation in the file's EXIF data is applied, transparency is laid on white, and of an
    animation or a file of several pages the first is taken. Integers of 16 bits are scaled by
    their possible range 0..65535, so that images stay comparable; integers beyond it and floats by
    the range that the file has.

    Args:
        path: The file: JPEG, PNG, GIF, BMP, TIFF, WebP, PPM, AVIF, JPEG 2000, or whatever else
            Pillow can read.
        image_size: `(height, width)` to resize to, antialiased; None keeps the size.
        color_mode: `"rgb"` or `"grayscale"` (luminance).
        crop_to_aspect_ratio: If True, cut the sides rather than stretch the image.
        pad_to_aspect_ratio: If True, add black borders rather than stretch the image.

    Returns:
        A uint8 array `(height, width, 3)`, or `(height, width, 1)` for grayscale, in 0..255.

    Raises:
        ImageReadError: If the file is missing, damaged or cut short, not an image, or declares more
            than twice as many pixels as `PIL.Image.MAX_IMAGE_PIXELS`, or more than 16 million at
            more than 2,000 a byte. JPEG has no checksum: damage that leaves the file's structure
            whole, as when a program has closed a cut file with a new end, can't be told.
        TypeError: If `path` is not a path.
        ValueError: If the size or the mode has the wrong form, or both aspect options are set.

    Example:
        >>> from sklearn.datasets import load_sample_images
        >>> from cnnkit.data import read_image
        >>> path = load_sample_images().filenames[0]
        >>> read_image(path, image_size=(224, 224)).shape
        (224, 224, 3)
    """
    if not isinstance(path, str | os.PathLike):
        msg = f"`path` must be a str or a path. Received: {type(path).__name__}."
        raise TypeError(msg)
    check_reading(color_mode, crop_to_aspect_ratio, pad_to_aspect_ratio)
    size = None if image_size is None else check_image_size(image_size)
    try:
        pixels = _read(path, size, crop_to_aspect_ratio, pad_to_aspect_ratio)
    except DECODING_ERRORS as error:
        raise _read_error(path, _reason(path, error)) from error
    return to_grayscale(pixels) if color_mode == "grayscale" else pixels


def check_reading(color_mode: str, crop: bool, padded: bool) -> None:
    """Raise a ValueError unless the options of `read_image` go together."""
    check_one_of("color_mode", color_mode, tuple(CHANNELS))
    if crop and padded:
        msg = (
            "Only one of `crop_to_aspect_ratio` and `pad_to_aspect_ratio` can be True. "
            "Received: both. Leave one out."
        )
        raise ValueError(msg)


def _read(
    path: str | os.PathLike[str], size: tuple[int, int] | None, crop: bool, padded: bool
) -> NDArray[np.uint8]:
    with open(path, "rb") as file:  # noqa: PTH123  # Path takes time
        stored, turns, decode = opened(file)
        if size is None:
            return np.array(upright(decode(1), turns), order="C")
        whole = stored[::-1] if turns[0] else stored
        part = box_of_aspect(whole, size) if crop else whole
        inner = size_within(part, size) if padded else size
        pixels = upright(decode(jpeg_reduction(part, inner)), turns)
    if crop:
        pixels = cut(pixels, box_of_aspect(pixels.shape[:2], size))
    return pad(resize(np.ascontiguousarray(pixels), inner), size)


def _reason(path: str | os.PathLike[str], error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        head = _head(path)
        if not head:
            return "it is empty"
        if head.startswith(b"version https://git-lfs"):
            return "it is a pointer of Git LFS; `git lfs pull` gets the image"
        return "it is not of a kind that Pillow knows"
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return reason.rstrip(".")


def _head(path: str | os.PathLike[str]) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(64)


def _read_error(path: str | os.PathLike[str], reason: str) -> ImageReadError:
    error = ImageReadError(f"Could not read {os.fspath(path)!r} as an image: {reason}.")
    error.reason = reason
    return error


def placed(error: ImageReadError, place: int, count: int) -> ImageReadError:
    """Return the error with the file's place in a long run."""
    longer = ImageReadError(f"{str(error).removesuffix('.')} (file {place + 1} of {count}).")
    longer.reason = error.reason
    return longer
