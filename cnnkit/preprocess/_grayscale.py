"""Conversion from RGB to grayscale."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnkit._foundation.validation import check_one_of

# "luminance" holds the weights of Rec. 601, which OpenCV and Pillow use too.
_WEIGHTS = {"luminance": (0.299, 0.587, 0.114), "mean": (1 / 3, 1 / 3, 1 / 3)}


def to_grayscale(
    images: ArrayLike, *, method: str = "luminance", keep_channels: bool = False
) -> NDArray[Any]:
    """Convert RGB images to grayscale.

    Args:
        images: An RGB image `(height, width, 3)` or a batch `(batch, height, width, 3)`, of
            integers or floats in any range. It is not changed.
        method: `"luminance"` weights the channels by perceived brightness (0.299, 0.587, 0.114);
            `"mean"` averages them. Integers are rounded to the nearest.
        keep_channels: If True, return three equal channels, for a network that takes RGB images; if
            False, return one.

    Returns:
        A new array of shape `(…, height, width, 1)`, or `(…, height, width, 3)` with
        `keep_channels=True`, of the same dtype as the input.

    Raises:
        ValueError: If the method is unknown or the images do not have three channels.

    Example:
        >>> import numpy as np
        >>> from cnnkit.preprocess import to_grayscale
        >>> to_grayscale(np.array([[[90, 60, 0]]], dtype=np.uint8), method="mean")
        array([[[50]]], dtype=uint8)
    """
    check_one_of("method", method, tuple(_WEIGHTS))
    pixels = np.asarray(images)
    if pixels.ndim not in (3, 4) or pixels.shape[-1] != 3:
        msg = (
            "`images` must be RGB, (height, width, 3) or (batch, height, width, 3). "
            f"Received: shape={pixels.shape}."
        )
        raise ValueError(msg)
    gray = (pixels.astype(np.float64) @ np.array(_WEIGHTS[method]))[..., None]
    if np.issubdtype(pixels.dtype, np.integer):
        gray = np.rint(gray)
    return np.repeat(gray.astype(pixels.dtype), 3 if keep_channels else 1, axis=-1)
