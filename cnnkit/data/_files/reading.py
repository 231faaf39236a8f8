"""Reading image files. All of cnnkit reads images with `read_image`."""

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
    source: str | os.PathLike[str],
    image_size: Sequence[int] | None = None,
    *,
    color_mode: str = "rgb",
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
) -> NDArray[np.uint8]:
    """Read an image file as an upright array of pixels.

    The orientation in the file's EXIF data is applied, and transparency is blended with white. Of
    an animation or a file with several pages, the first frame is read. 16-bit integers are scaled
    by their possible range 0..65535, so that images stay comparable. Larger integers and floats
    are scaled by the range of the values in the file.

    Args:
        source: The path of the file: JPEG, PNG, GIF, BMP, TIFF, WebP, PPM, AVIF, JPEG 2000, or any
            other format that Pillow can read.
        image_size: `(height, width)` to resize to, with antialiasing. None keeps the size.
        color_mode: `"rgb"` or `"grayscale"` (luminance).
        crop_to_aspect_ratio: If True, crop the image to the target's aspect ratio instead of
            stretching it.
        pad_to_aspect_ratio: If True, add black borders instead of stretching the image.

    Returns:
        A uint8 array `(height, width, 3)`, or `(height, width, 1)` for grayscale, in 0..255.

    Raises:
        ImageReadError: If the file is missing, damaged, truncated, or not an image. Also if it
            declares more than twice `PIL.Image.MAX_IMAGE_PIXELS` pixels, or more than 16 million
            pixels with more than 2,000 per byte. JPEG has no checksum: damage that leaves the
            file's structure intact can't be detected, for example if a program has added an end
            marker to a truncated file.
        TypeError: If `source` is not a path.
        ValueError: If the size or the mode is invalid, or both aspect ratio options are True.

    Example:
        >>> from sklearn.datasets import load_sample_images
        >>> from cnnkit.data import read_image
        >>> path = load_sample_images().filenames[0]
        >>> read_image(path, image_size=(224, 224)).shape
        (224, 224, 3)
    """
    if not isinstance(source, str | os.PathLike):
        msg = f"`source` must be a str or a path. Received: {type(source).__name__}."
        raise TypeError(msg)
    check_reading(color_mode, crop_to_aspect_ratio, pad_to_aspect_ratio)
    size = None if image_size is None else check_image_size(image_size)
    try:
        pixels = _read(source, size, crop_to_aspect_ratio, pad_to_aspect_ratio)
    except DECODING_ERRORS as error:
        raise _read_error(source, _reason(source, error)) from error
    return to_grayscale(pixels) if color_mode == "grayscale" else pixels


def check_reading(color_mode: str, crop: bool, padded: bool) -> None:
    """Raise a ValueError unless the options of `read_image` are valid together."""
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
    with open(path, "rb") as file:  # noqa: PTH123  # Path is slower
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
            return "it is a Git LFS pointer; run `git lfs pull` to download the image"
        return "Pillow does not recognize its format"
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
    """Return the error with the position of the file among all files."""
    longer = ImageReadError(f"{str(error).removesuffix('.')} (file {place + 1} of {count}).")
    longer.reason = error.reason
    return longer
