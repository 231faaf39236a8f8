"""Histograms of pixel values, the quickest way to see a wrong scaling."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from cnnkit.viz._axes import BLUE, GREEN, RED, panels

_CHANNELS = {1: (("gray", "0.4"),), 3: (("red", RED), ("green", GREEN), ("blue", BLUE))}


def plot_pixel_histogram(
    image: ArrayLike, *, bins: int = 100, axes: Iterable[Axes] | None = None
) -> NDArray[Any]:
    """Plot the distribution of pixel values, a panel for each channel.

    Args:
        image: An image `(height, width, channels)` with 1 or 3 channels, in any scaling.
            Three channels are taken for red, green and blue; after mode "caffe" they are not.
        bins: Number of bars, shared by all panels; at most so many for whole numbers, where each
            bar holds equally many values.
        axes: Panels to draw on, one a channel; a new figure by default.

    Returns:
        An array of Axes; the titles say the range of values.

    Raises:
        ValueError: If the array is not an image.

    Example:
        >>> import numpy as np
        >>> from cnnkit.preprocess import scale
        >>> from cnnkit.viz import plot_pixel_histogram
        >>> image = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
        >>> axes = plot_pixel_histogram(scale(image, mode="tf"))
        >>> axes[0].get_title()
        'red: -1 to 0.482'
    """
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[-1] not in _CHANNELS:
        msg = (
            "`image` must be one image, (height, width, channels), with 1 or 3 channels. "
            f"Received: shape={pixels.shape}."
        )
        raise ValueError(msg)
    channels = _CHANNELS[pixels.shape[-1]]
    drawn = panels(axes, len(channels))
    edges = _edges(pixels, bins)
    for ax, (name, color), values in zip(drawn, channels, np.moveaxis(pixels, -1, 0), strict=True):
        ax.hist(values.ravel(), bins=edges, color=color)
        ax.set(title=f"{name}: {values.min():.3g} to {values.max():.3g}", xlabel="pixel value")
    drawn[0].set_ylabel("pixels")
    return drawn


def _edges(pixels: NDArray[Any], bins: int) -> NDArray[Any]:
    """Return the edges of bars; those of whole numbers hold equally many of them."""
    if not np.issubdtype(pixels.dtype, np.integer):
        return np.histogram_bin_edges(pixels, bins)
    low, high = int(pixels.min()), int(pixels.max())
    width = max(1, math.ceil((high - low + 1) / bins))
    return np.arange(low, high + width + 1, width) - 0.5
