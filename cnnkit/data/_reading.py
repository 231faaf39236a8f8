"""The one reader: whatever opens an image in cnnkit goes through `read_image`."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from cnnkit._validation import check_image_size, check_one_of
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

    The orientation in the file's EXIF data is applied, transparency is laid on white, of an
    animation the first frame is taken, and 16-bit values are scaled rather than clipped.

    Args:
        path: The file: JPEG, PNG, GIF, BMP, TIFF, WebP, or whatever else Pillow can read.
        image_size: `(height, width)` to resize to, antialiased; None keeps the size.
        color_mode: `"rgb"` or `"grayscale"` (luminance).
        crop_to_aspect_ratio: If True, cut the sides rather than stretch the image.
        pad_to_aspect_ratio: If True, add black borders rather than stretch the image.

    Returns:
        A uint8 array `(height, width, 3)`, or `(height, width, 1)` for grayscale, in 0..255.

    Raises:
        ImageReadError: If the file is missing, damaged or cut short, or not an image.
        ValueError: If the size or the mode has the wrong form, or both aspect options are set.

    Example:
        >>> from sklearn.datasets import load_sample_images
        >>> from cnnkit.data import read_image
        >>> path = load_sample_images().filenames[0]
        >>> read_image(path, image_size=(224, 224)).shape
        (224, 224, 3)
    """
    check_one_of("color_mode", color_mode, tuple(CHANNELS))
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        msg = (
            "Only one of `crop_to_aspect_ratio` and `pad_to_aspect_ratio` can be True. "
            "Received: both."
        )
        raise ValueError(msg)
    size = None if image_size is None else check_image_size(image_size)
    try:
        with Image.open(path) as file:
            image = _upright_rgb(file)
    except Image.DecompressionBombError as error:
        raise _read_error(path, error) from error
    except (OSError, ValueError, SyntaxError, EOFError, RuntimeError) as error:
        # Pillow's plugins raise all of these for damaged files.
        raise _read_error(path, error) from error
    if size is not None:
        image = _resized(image, size, crop_to_aspect_ratio, pad_to_aspect_ratio)
    pixels = np.asarray(image)
    return to_grayscale(pixels) if color_mode == "grayscale" else pixels.copy()


def _read_error(path: str | os.PathLike[str], error: Exception) -> ImageReadError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ImageReadError(f"Could not read {os.fspath(path)!r} as an image: {reason.rstrip('.')}.")


def placed(error: ImageReadError, place: int, count: int) -> ImageReadError:
    """Return the error with the file's place in a long run."""
    return ImageReadError(f"{str(error).removesuffix('.')} (file {place + 1} of {count}).")


def _upright_rgb(file: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(file)
    if image.mode.startswith("I") or image.mode == "F":
        return _from_high_depth(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image).convert("RGB")
    return image.convert("RGB")


def _from_high_depth(image: Image.Image) -> Image.Image:
    """Scale 16-bit integers by their possible range, wider values by the range they have."""
    values = np.asarray(image, dtype=np.float64)
    low, high = 0.0, 65535.0
    if image.mode == "F" or values.max() > high or values.min() < low:
        low, high = float(values.min()), float(values.max())
    pixels = (values - low) * (255 / max(high - low, 1e-12))
    return Image.fromarray(np.rint(pixels).astype(np.uint8)).convert("RGB")


def _resized(image: Image.Image, size: tuple[int, int], crop: bool, pad: bool) -> Image.Image:
    height, width = size
    if crop:
        return ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    if pad:
        return ImageOps.pad(image, (width, height), Image.Resampling.BILINEAR, color="black")
    # Pillow widens its kernel when it reduces: antialiased, unlike OpenCV's and Keras's bilinear.
    return image.resize((width, height), Image.Resampling.BILINEAR)
