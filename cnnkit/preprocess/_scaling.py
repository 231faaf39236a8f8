"""A table of the common scaling modes, and the functions that apply it.

Every mode computes `(x / divisor - mean) / deviation` for each channel; "caffe" reverses the
channels first. The values are those of `keras.applications.imagenet_utils.preprocess_input`; the
mean and deviation of "torch" are the ImageNet statistics that torchvision publishes.
"""

from __future__ import annotations

import math
import warnings
from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnkit._foundation.alignment import empty_aligned
from cnnkit._foundation.validation import check_one_of


class Scaling(NamedTuple):
    """One row of the table. A single value applies to all channels."""

    divisor: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    deviation: tuple[float, ...] = (1.0,)
    reverse_channels: bool = False


SCALINGS = {
    "tf": Scaling(divisor=127.5, mean=(1.0,)),
    "torch": Scaling(255.0, mean=(0.485, 0.456, 0.406), deviation=(0.229, 0.224, 0.225)),
    "caffe": Scaling(mean=(103.939, 116.779, 123.68), reverse_channels=True),
    "unit": Scaling(divisor=255.0),
    "none": Scaling(),
}
MODES = tuple(SCALINGS)


def scale(images: ArrayLike, mode: str = "tf") -> NDArray[np.float32]:
    """Scale pixel values in 0..255 to the range that a network expects.

    The result equals the float64 calculation rounded to float32. uint8 pixels are looked up in a
    table of the 256 possible values, which takes no more time than copying the image.

    Args:
        images: An image `(height, width, channels)` or a batch
            `(batch, height, width, channels)`, RGB or grayscale, of integers or floats in
            0..255. It is not changed.
        mode: `"tf"` scales to -1..1; `"torch"` scales to 0..1, subtracts the ImageNet mean and
            divides by the ImageNet deviation; `"caffe"` reverses RGB to BGR and subtracts the mean,
            as the VGG and ResNet weights of keras.applications expect; `"unit"` scales to 0..1;
            `"none"` only converts to float32.

    Returns:
        A new float32 array of the same shape.

    Raises:
        ValueError: If the mode is unknown, if the shape is not that of images, if the mode needs
            three channels (`"torch"` and `"caffe"`) and there are not three, or if a value is NaN.

    Warns:
        UserWarning: If floats look already scaled: a value is negative, or there are fractions and
            no value is above 1.

    Example:
        >>> import numpy as np
        >>> from cnnkit.preprocess import scale
        >>> image = np.array([[[0, 51, 255]]], dtype=np.uint8)
        >>> scale(image, mode="unit")
        array([[[0. , 0.2, 1. ]]], dtype=float32)
    """
    pixels = _as_images(images)
    scaling = scaling_for(mode, pixels.shape[-1])
    if np.issubdtype(pixels.dtype, np.floating) and pixels.size:
        _check_range(pixels, mode)
    if scaling.reverse_channels:
        pixels = pixels[..., ::-1]
    if pixels.dtype == np.uint8 and pixels.size:
        return _look_up(pixels, mode)
    return _scaled(pixels, scaling).astype(np.float32)


def unscale(images: ArrayLike, mode: str = "tf") -> NDArray[np.uint8]:
    """Invert `scale`, for example to display a scaled image.

    Args:
        images: Scaled images `(height, width, channels)` or `(batch, height, width, channels)`.
        mode: The mode they were scaled with.

    Returns:
        A new uint8 array of the same shape, in RGB order. Values are rounded and clipped to 0..255.

    Raises:
        ValueError: As for `scale`.

    Example:
        >>> import numpy as np
        >>> from cnnkit.preprocess import scale, unscale
        >>> image = np.array([[[0, 128, 255]]], dtype=np.uint8)
        >>> unscale(scale(image, mode="torch"), mode="torch")
        array([[[  0, 128, 255]]], dtype=uint8)
    """
    values = _as_images(images).astype(np.float64)
    scaling = scaling_for(mode, values.shape[-1])
    pixels = (values * scaling.deviation + scaling.mean) * scaling.divisor
    if scaling.reverse_channels:
        pixels = pixels[..., ::-1]
    return np.rint(pixels).clip(0, 255).astype(np.uint8)


def _as_images(images: ArrayLike) -> NDArray[Any]:
    pixels = np.asarray(images)
    if pixels.ndim not in (3, 4) or pixels.shape[-1] not in (1, 3, 4):
        msg = (
            "`images` must have the shape (height, width, channels) or (batch, height, width, "
            f"channels) with 1, 3 or 4 channels. Received: shape={pixels.shape}. "
            "Add a missing axis with np.expand_dims; bring channels to the end with np.moveaxis."
        )
        raise ValueError(msg)
    return pixels


def _check_range(pixels: NDArray[Any], mode: str) -> None:
    """Raise an error if a value is NaN, and warn if floats look already scaled."""
    low, high = float(pixels.min()), float(pixels.max())
    if math.isnan(low):
        msg = "`images` must be numbers. Received: NaN. Look where the images come from."
        raise ValueError(msg)
    is_fraction = high <= 1 and bool((pixels != np.rint(pixels)).any())
    if mode != "none" and (low < 0 or is_fraction):
        warnings.warn(
            f"`images` should be pixels in 0..255, but lie in {low:.3g}..{high:.3g}: they look "
            f"scaled already, and are scaled again with mode={mode!r}.",
            stacklevel=3,
        )


def scaling_for(mode: str, channels: int) -> Scaling:
    """Return the row of the table, or raise an error if it does not fit the number of channels."""
    check_one_of("mode", mode, MODES)
    scaling = SCALINGS[mode]
    if len(scaling.mean) not in (1, channels):
        msg = (
            f"`mode={mode!r}` scales each of three RGB channels by its own figures. Received: "
            f"images with {channels} channel(s). Repeat a grayscale image three times "
            "(`to_grayscale(image, keep_channels=True)`), or use mode='tf' or 'unit'."
        )
        raise ValueError(msg)
    return scaling


def limits_of(mode: str, channels: int) -> NDArray[np.float64]:
    """Return the scaled values of 0 and 255 in each channel, `(2, channels)`."""
    return _scaled(np.repeat([[0], [255]], channels, axis=1), scaling_for(mode, channels))


def _scaled(pixels: NDArray[Any], scaling: Scaling) -> NDArray[np.float64]:
    values = pixels.astype(np.float64) / scaling.divisor
    return (values - scaling.mean) / scaling.deviation


@cache
def _table(mode: str, channels: int) -> NDArray[np.float32]:
    """Return the scaled values of 0 to 255 in each channel, `(1, 256, channels)` for OpenCV."""
    values = np.repeat(np.arange(256.0)[None, :, None], channels, axis=2)
    return _scaled(values, SCALINGS[mode]).astype(np.float32)


def _look_up(pixels: NDArray[np.uint8], mode: str) -> NDArray[np.float32]:
    *_, width, channels = pixels.shape
    rows = np.ascontiguousarray(pixels).reshape(-1, width, channels)
    values: NDArray[np.float32] = empty_aligned(rows.shape, np.float32)
    cv2.LUT(rows, _table(mode, channels), dst=values)
    return values.reshape(pixels.shape)
