"""Histograms of pixel values, the quickest way to see a wrong scaling."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from cnnkit._validation import check_one_of, check_whole_number
from cnnkit.preprocess._scaling import MODES
from cnnkit.viz._axes import BLUE, GREEN, RED, panels
from cnnkit.viz._fonts import make_readable

_CHANNELS = {1: (("gray", "0.4"),), 3: (("red", RED), ("green", GREEN), ("blue", BLUE))}
_STYLES = ("-", "--", ":", "-.")  # of several images: told apart without color
_MOST_LEVELS = 65_536


def plot_pixel_histogram(
    image: ArrayLike | Sequence[ArrayLike],
    *,
    bins: int = 100,
    mode: str | None = None,
    labels: Sequence[str] | None = None,
    axes: Iterable[Axes] | None = None,
) -> NDArray[Any]:
    """Plot the distribution of pixel values, a panel for each channel.

    Args:
        image: An image `(height, width, channels)` with 1 or 3 channels, in any scaling; or a list
            of them, to compare how large a share of each has which values.
        bins: Number of bars, the same for all images; at most so many for whole numbers and for
            what was scaled from them, where each bar holds equally many of the possible values.
        mode: The mode that the image was scaled with, if known: the channels of "caffe" are blue,
            green and red, all others' red, green and blue.
        labels: A name for each of several images.
        axes: Panels to draw on, one a channel; a new figure by default.

    Returns:
        An array of Axes; the titles say the range of values.

    Raises:
        ValueError: If an array is not an image, the images differ in channels, or the labels in
            number.

    Example:
        >>> import numpy as np
        >>> from cnnkit.preprocess import scale
        >>> from cnnkit.viz import plot_pixel_histogram
        >>> image = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
        >>> axes = plot_pixel_histogram(scale(image, mode="tf"), mode="tf")
        >>> axes[0].get_title()
        'red: -1 to 0.482'
    """
    check_whole_number("bins", bins)
    check_one_of("mode", mode, (None, *MODES))
    several = image if isinstance(image, list | tuple) else [image]
    images = [np.asarray(picture) for picture in several]
    _check_images(images)
    names = [f"image {number}" for number in range(1, len(images) + 1)]
    names = names if labels is None else list(labels)
    if len(names) != len(images):
        msg = (
            "`labels` must hold one name for each image. "
            f"Received: {len(images)} images and {len(names)} labels."
        )
        raise ValueError(msg)
    channels = _CHANNELS[images[0].shape[-1]][:: -1 if mode == "caffe" else 1]
    drawn = panels(axes, len(channels))
    edges = _edges(images, bins)
    for place, (ax, (name, color)) in enumerate(zip(drawn, channels, strict=True)):
        values = [picture[..., place].ravel() for picture in images]
        _draw(ax, values, edges[place].tolist(), color, names if len(images) > 1 else None)
        low, high = min(map(np.min, values)), max(map(np.max, values))
        ax.set(title=f"{name}: {low:.3g} to {high:.3g}", xlabel="pixel value")
    drawn[0].set_ylabel("pixels" if len(images) == 1 else "share of the pixels")
    return drawn


def _draw(
    ax: Axes, values: list[NDArray[Any]], edges: list[float], color: str, names: list[str] | None
) -> None:
    """Draw bars for one image, and outlines for several."""
    if names is None:
        ax.hist(values[0], bins=edges, color=color)
        return
    shades = np.linspace(1, 0.5, len(values))
    for place, pixels in enumerate(values):
        weights = np.full(len(pixels), 1 / len(pixels))
        style: dict[str, Any] = {"color": color, "alpha": shades[place], "linewidth": 1.5}
        style |= {"linestyle": _STYLES[place % len(_STYLES)], "label": names[place]}
        ax.hist(pixels, bins=edges, weights=weights, histtype="step", **style)
    legend = ax.legend(fontsize="small")
    make_readable(legend.get_texts())


def _check_images(images: list[NDArray[Any]]) -> None:
    shapes = [picture.shape for picture in images]
    known = all(len(shape) == 3 and shape[-1] in _CHANNELS and 0 not in shape for shape in shapes)
    if not shapes or not known or len({shape[-1] for shape in shapes}) > 1:
        msg = (
            "`image` must be one image, (height, width, channels), with 1 or 3 channels, or a list "
            "of such, all with as many channels. Received: shape="
            f"{shapes[0] if len(shapes) == 1 else shapes}."
        )
        raise ValueError(msg)


def _edges(images: list[NDArray[Any]], bins: int) -> list[NDArray[Any]]:
    """Return the edges of bars for each channel; the same for all where their values allow it."""
    channels = [
        np.concatenate([picture[..., place].ravel() for picture in images])
        for place in range(images[0].shape[-1])
    ]
    together = np.concatenate(channels)
    if _spacing(together):
        return [_edges_of(together, bins)] * len(channels)
    return [_edges_of(values, bins) for values in channels]


def _edges_of(values: NDArray[Any], bins: int) -> NDArray[Any]:
    """Return edges between the possible values, so that no bar holds more of them than others."""
    step = _spacing(values)
    if not step:
        return np.histogram_bin_edges(values, bins)
    low, high = float(values.min()), float(values.max())
    levels = round((high - low) / step) + 1
    width = max(1, math.ceil(levels / bins))
    return low + step * (width * np.arange(math.ceil(levels / width) + 1) - 0.5)


def _spacing(values: NDArray[Any]) -> float:
    """Return the distance of the possible values, or 0 if they lie anywhere."""
    if np.issubdtype(values.dtype, np.integer):
        return 1.0
    found = np.unique(values).astype(np.float64)
    if not 1 < len(found) <= _MOST_LEVELS:
        return 0.0
    gaps = np.diff(found)
    steps = gaps / gaps.min()
    whole = np.abs(steps - steps.round()) < 0.01
    return float(gaps.min()) if whole.all() and steps.sum() < _MOST_LEVELS else 0.0
