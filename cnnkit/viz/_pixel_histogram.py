"""Histograms of pixel values: the quickest way to spot a wrong scaling."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from cnnkit._foundation.validation import check_one_of, check_whole_number
from cnnkit.data._files.reading import read_image
from cnnkit.preprocess._scaling import MODES, limits_of
from cnnkit.viz._axes import BLUE, GREEN, RED, names_of, panels, tell_the_rest
from cnnkit.viz._fonts import make_readable

_CHANNELS = {1: (("gray", "0.4"),), 3: (("red", RED), ("green", GREEN), ("blue", BLUE))}
_STYLES = ("-", "--", ":", "-.")  # tell several images apart without color
_MOST = len(_STYLES)
_MOST_LEVELS = 65_536

Image = ArrayLike | str | os.PathLike[str]


def plot_pixel_histogram(
    image: Image | Sequence[Image],
    *,
    bins: int = 100,
    mode: str | None = None,
    titles: Sequence[str] | None = None,
    axes: Iterable[Axes] | None = None,
) -> NDArray[Any]:
    """Plot the distribution of pixel values, one panel per channel.

    Args:
        image: An image `(height, width, channels)` with 1 or 3 channels, or `(height, width)`, in
            any scaling, or the path of a file. A list or a batch of images is compared by the
            share of pixels at each value. Plot images of different scalings separately.
        bins: Number of bars, the same for all images. There may be fewer for whole numbers and for
            values scaled from them, so that each bar covers equally many possible values.
        mode: Scaling mode of the image, if known. The panels then show the whole range of the
            mode, and the titles say if values lie outside it. The channels of mode "caffe" are in
            the order blue, green, red; those of all other modes are red, green, blue.
        titles: A name for each image, for the legend.
        axes: Panels to draw on, one per channel; by default, a new figure.

    Returns:
        An array of Axes. The titles give the range of values. If there are more than 4 images,
        only the first 4 are shown, and a note in the figure says so.

    Raises:
        ImageReadError: If a file can't be read.
        ValueError: If an array is not an image, if the images differ in their number of channels,
            or if there isn't one label per image.

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
    given = _several(image)
    names = names_of("titles", _numbered(given) if titles is None else titles, given)
    images = [_as_array(picture) for picture in given[:_MOST]]
    _check_images(images)
    count = images[0].shape[-1]
    limits = None if mode is None else limits_of(mode, count)
    channels = _CHANNELS[count][:: -1 if mode == "caffe" else 1]
    edges = _edges(images, bins)
    drawn = panels(axes, count)
    for place, (ax, (name, color)) in enumerate(zip(drawn, channels, strict=True)):
        values = [picture[..., place].ravel() for picture in images]
        _draw(ax, values, edges[place].tolist(), color, names)
        _tell_range(ax, name, values, None if limits is None else limits[:, place].tolist())
    drawn[0].set_ylabel("pixels" if len(images) == 1 else "share of the pixels")
    if any(names):
        legend = drawn[-1].legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")
        make_readable(legend.get_texts())
    tell_the_rest(drawn, len(images), len(given))
    return drawn


def _several(image: Any) -> list[Any]:
    """Return a list of images, also if there is only one."""
    single = isinstance(image, str | os.PathLike) or getattr(image, "ndim", 0) in (2, 3)
    return [image] if single else list(image)


def _numbered(images: Sequence[Any]) -> list[str] | None:
    several = len(images) > 1
    return [f"image {number}" for number in range(1, len(images) + 1)] if several else None


def _as_array(image: Image) -> NDArray[Any]:
    if isinstance(image, str | os.PathLike):
        return read_image(image)
    pixels = np.asarray(image)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return pixels.astype(np.uint8) if pixels.dtype == bool else pixels


def _draw(
    ax: Axes, values: list[NDArray[Any]], edges: list[float], color: str, names: list[str]
) -> None:
    """Draw bars for one image, and outlines for several."""
    if len(values) == 1:
        ax.hist(values[0], bins=edges, color=color, label=names[0])
        return
    shades = np.linspace(1, 0.5, len(values))
    for place, pixels in enumerate(values):
        weights = np.full(len(pixels), 1 / len(pixels))
        style: dict[str, Any] = {"color": color, "alpha": shades[place], "linewidth": 1.5}
        style |= {"linestyle": _STYLES[place], "label": names[place]}
        ax.hist(pixels, bins=edges, weights=weights, histtype="step", **style)


def _tell_range(
    ax: Axes, channel: str, values: list[NDArray[Any]], limits: list[float] | None
) -> None:
    """Write the range of values above the panel, and show the whole range of the mode."""
    low, high = min(map(np.min, values)), max(map(np.max, values))
    title = f"{channel}: {low:.3g} to {high:.3g}"
    if limits is not None:
        least, most = limits
        margin = (most - least) / 50
        ax.set_xlim(min(float(low), least) - margin, max(float(high), most) + margin)
        if low < least - margin or high > most + margin:
            title += f"\noutside {least:.3g} to {most:.3g}"
    ax.set(title=title, xlabel="pixel value")
    ax.xaxis.set_major_locator(MaxNLocator(5))


def _check_images(images: list[NDArray[Any]]) -> None:
    if any(picture.dtype.kind == "f" and np.isnan(picture).any() for picture in images):
        msg = "`image` must be numbers. Received: NaN. Check where the image comes from."
        raise ValueError(msg)
    shapes = [picture.shape for picture in images]
    known = all(len(shape) == 3 and shape[-1] in _CHANNELS and 0 not in shape for shape in shapes)
    if not shapes or not known or len({shape[-1] for shape in shapes}) > 1:
        msg = (
            "`image` must be one image, (height, width, channels), with 1 or 3 channels, or a list "
            "of such images with equally many channels. Received: shape="
            f"{shapes[0] if len(shapes) == 1 else shapes}."
        )
        raise ValueError(msg)


def _edges(images: list[NDArray[Any]], bins: int) -> list[NDArray[Any]]:
    """Return the edges of the bars for each channel, the same for all if the values allow it."""
    channels = [
        np.concatenate([picture[..., place].ravel() for picture in images])
        for place in range(images[0].shape[-1])
    ]
    together = np.concatenate(channels)
    if _spacing(together):
        return [_edges_of(together, bins)] * len(channels)
    return [_edges_of(values, bins) for values in channels]


def _edges_of(values: NDArray[Any], bins: int) -> NDArray[Any]:
    """Return edges between possible values, such that all bars cover equally many of them."""
    step = _spacing(values)
    if not step:
        return np.histogram_bin_edges(values, bins)
    low, high = float(values.min()), float(values.max())
    levels = round((high - low) / step) + 1
    width = max(1, math.ceil(levels / bins))
    return low + step * (width * np.arange(math.ceil(levels / width) + 1) - 0.5)


def _spacing(values: NDArray[Any]) -> float:
    """Return the step between possible values, or 0 if the values are not evenly spaced."""
    if np.issubdtype(values.dtype, np.integer):
        return 1.0
    found = np.unique(values).astype(np.float64)
    if not 1 < len(found) <= _MOST_LEVELS:
        return 0.0
    gaps = np.diff(found)
    steps = gaps / gaps.min()
    whole = np.abs(steps - steps.round()) < 0.01
    return float(gaps.min()) if whole.all() and steps.sum() < _MOST_LEVELS else 0.0
