"""Grids of images."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from cnnkit._foundation.validation import check_whole_number
from cnnkit.data._files.reading import read_image
from cnnkit.preprocess import unscale
from cnnkit.preprocess._scaling import limits_of
from cnnkit.preprocess._transforms import ImageTransform, Transform, is_keras_layer
from cnnkit.viz._axes import names_of, panels, tell_the_rest
from cnnkit.viz._fonts import make_readable, wrapped

_WIDTH = 2.2  # inches of a panel
_MOST = 64  # images in one figure; more would be too small to see


def show_images(
    images: Iterable[ArrayLike | str | os.PathLike[str]],
    titles: Iterable[object] | None = None,
    *,
    columns: int | None = None,
    mode: str | None = None,
    axes: Iterable[Axes] | None = None,
) -> NDArray[Any]:
    """Show images in a grid.

    Args:
        images: A list of arrays `(height, width, channels)` or `(height, width)`, a batch of them,
            or a list of file paths.
        titles: A title for each image, for example its class.
        columns: Number of images per row. By default, the grid is about square, with at most 8
            columns.
        mode: Scaling mode of the arrays, which is undone; None for pixels in 0..255.
        axes: Panels to draw on, one per image; by default, a new figure.

    Returns:
        An array of Axes. If there are more than 64 images, only the first 64 are shown, and a note
        in the figure says so.

    Raises:
        ValueError: If `images` is empty or a single image, if there isn't one title per image, or
            if pixels are NaN, outside 0..255, or far outside the range of the mode.

    Example:
        >>> from sklearn.datasets import load_sample_images
        >>> from cnnkit.viz import show_images
        >>> axes = show_images(load_sample_images().images, titles=["china", "flower"])
        >>> [ax.get_title() for ax in axes]
        ['china', 'flower']
    """
    given = list(_several(images))
    if not given:
        msg = "`images` must hold at least one image. Received: none."
        raise ValueError(msg)
    names = names_of("titles", titles, given)[:_MOST]
    pictures = [_as_pixels(image, mode) for image in given[:_MOST]]
    if columns is None:
        columns = min(8, math.ceil(math.sqrt(len(pictures))))
    lines = max(len(wrapped(name).splitlines()) for name in names)
    drawn = panels(
        axes,
        len(pictures),
        columns=check_whole_number("columns", columns),
        panel_size=(_WIDTH, _WIDTH * _aspect_ratio(pictures) + 0.25 * lines),
    )
    for ax, picture, name in zip(drawn, pictures, names, strict=True):
        ax.imshow(picture, cmap="gray", vmin=0, vmax=255)
        make_readable([ax.set_title(wrapped(name), fontsize="medium")])
        ax.set_axis_off()
    tell_the_rest(drawn, len(pictures), len(given))
    return drawn


def show_augmentations(
    image: ArrayLike | str | os.PathLike[str],
    transform: Transform,
    *,
    draws: int = 7,
    seed: int | None = None,
    axes: Iterable[Axes] | None = None,
) -> NDArray[Any]:
    """Show an image and several draws of a random transform applied to it.

    Args:
        image: A uint8 image `(height, width, channels)`, or the path of a file.
        transform: An albumentations transform or any object with the same protocol,
            `transform(image=array)["image"]`; a function of an array; a Keras layer; or an
            ImageDataGenerator, of which only the random transform is applied, not the scaling.
        draws: How many times the transform is applied.
        seed: Seed that makes the draws repeatable. It needs a transform with albumentations'
            `set_random_state`.
        axes: Panels to draw on, one more than `draws`; by default, a new figure.

    Returns:
        An array of Axes. The first shows the original image.

    Raises:
        ValueError: If the image is not uint8, or the transform doesn't return pixels in 0..255.

    Example:
        >>> import albumentations as A
        >>> from sklearn.datasets import load_sample_image
        >>> from cnnkit.viz import show_augmentations
        >>> axes = show_augmentations(load_sample_image("china.jpg"), A.RandomRotate90(), draws=3)
        >>> [ax.get_title() for ax in axes]
        ['original', 'draw 1', 'draw 2', 'draw 3']
    """
    check_whole_number("draws", draws)
    picture = read_image(image) if isinstance(image, str | os.PathLike) else np.asarray(image)
    if picture.dtype != np.uint8 or picture.ndim != 3:
        msg = (
            "`image` must be one image (height, width, channels), uint8 in 0..255, because "
            f"transforms take floats for 0..1. Received: {picture.dtype} of shape {picture.shape}. "
            "Pass the image before it is scaled."
        )
        raise ValueError(msg)
    if seed is not None:
        check_whole_number("seed", seed, least=0)
    results = [_draw(transform, picture, seed, draw) for draw in range(draws)]
    titles = ["original", *(f"draw {number}" for number in range(1, draws + 1))]
    return show_images([picture, *results], titles, columns=min(4, draws + 1), axes=axes)


def _draw(transform: Any, picture: NDArray[np.uint8], seed: int | None, draw: int) -> NDArray[Any]:
    """Apply a transform of any kind once."""
    if is_keras_layer(transform):
        batch = picture[None].astype(np.float32)
        # Calling a Sequential would fix its input size for good; calling its layers doesn't.
        is_sequential = type(transform).__name__ == "Sequential"
        for layer in transform.layers if is_sequential else [transform]:
            batch = layer(batch, training=True)
        return _in_range(np.asarray(batch)[0])
    if hasattr(transform, "random_transform"):  # an ImageDataGenerator
        image = picture.astype(np.float32)
        return _in_range(np.asarray(transform.random_transform(image)))
    change = ImageTransform(transform)
    if seed is not None:
        change.reseed(seed, 0, draw)
    return change(picture)


def _in_range(pixels: NDArray[Any]) -> NDArray[Any]:
    """Clip pixels to 0..255, or raise if the transform has scaled them."""
    if pixels.any() and pixels.max() <= 1:
        msg = (
            "`transform` must give pixels in 0..255. Received: values from "
            f"{pixels.min():g} to {pixels.max():g}. Leave the scaling out of it."
        )
        raise ValueError(msg)
    return pixels.clip(0, 255)


def _several(images: Any) -> Any:
    """Return `images`, or raise if it is something else, such as one image: a batch of rows."""
    one_array = isinstance(images, np.ndarray) and images.ndim == 3 and images.shape[-1] in (3, 4)
    pair = isinstance(images, tuple) and getattr(next(iter(images), None), "ndim", 0) == 4
    others = (
        (hasattr(images, "columns"), "a table. Pass table['file_paths']."),
        (hasattr(images, "element_spec"), "a dataset. Pass one batch: next(iter(dataset))[0]."),
        (pair, "images and targets. Pass only the images: batch[0]."),
        (isinstance(images, str | os.PathLike), "one path. Put it in a list: [path]."),
        (
            one_array,
            f"one array of shape {getattr(images, 'shape', None)}. Put it in a list: [image].",
        ),
    )
    for is_other, what in others:
        if is_other:
            msg = f"`images` must be several arrays or paths. Received: {what}"
            raise ValueError(msg)
    return images


def _as_pixels(image: ArrayLike | str | os.PathLike[str], mode: str | None) -> NDArray[Any]:
    if isinstance(image, str | os.PathLike):
        return read_image(image)
    pixels = _checked(np.asarray(image))
    if mode is not None:
        return _unscaled(pixels, mode)
    if pixels.dtype == bool:  # a mask
        return pixels.astype(np.uint8) * 255
    is_whole = np.issubdtype(pixels.dtype, np.integer)
    if pixels.min() < 0 or pixels.max() > 255 or (not is_whole and 0 < pixels.max() <= 1):
        advice = (
            "Divide 16-bit pixels by 257."
            if is_whole
            else "Pass the mode of the scaling, such as mode='unit' or mode='tf'."
        )
        msg = (
            "`images` must be pixels in 0..255, unless `mode` gives their scaling. Received: "
            f"values from {pixels.min():g} to {pixels.max():g}. {advice}"
        )
        raise ValueError(msg)
    return pixels if pixels.dtype == np.uint8 else np.rint(pixels).astype(np.uint8)


def _checked(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return pixels `(height, width, channels)`, or raise unless they are an image."""
    shape = pixels.shape
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    is_image = pixels.ndim == 3 and pixels.shape[-1] in (1, 3, 4) and pixels.size
    if not is_image or pixels.dtype.kind not in "buif":
        msg = (
            "`images` must be numbers of the shape (height, width) or (height, width, channels), "
            f"with 1, 3 or 4 channels. Received: {pixels.dtype} of shape {shape}."
        )
        raise ValueError(msg)
    if pixels.dtype.kind == "f" and np.isnan(pixels).any():
        msg = "`images` must be numbers. Received: NaN. Check where the images come from."
        raise ValueError(msg)
    return pixels


def _unscaled(pixels: NDArray[Any], mode: str) -> NDArray[np.uint8]:
    """Undo a scaling, or raise if the values can't come from it. Raw pixels would all be white."""
    limits = limits_of(mode, pixels.shape[-1])
    low, high = float(limits.min()), float(limits.max())
    margin = (high - low) / 2  # augmentation after scaling may exceed the limits a little
    is_raw = np.issubdtype(pixels.dtype, np.integer) and mode != "none"
    if is_raw or pixels.min() < low - margin or pixels.max() > high + margin:
        msg = (
            f"`images` must be floats in {low:.4g}..{high:.4g}, the range of mode={mode!r}. "
            f"Received: {pixels.dtype} from {pixels.min():g} to {pixels.max():g}. "
            "Leave out `mode` for raw pixels."
        )
        raise ValueError(msg)
    return unscale(pixels, mode)


def _aspect_ratio(pictures: Sequence[NDArray[Any]]) -> float:
    """Return the median of height / width, limited to 0.5..2 so that the grid stays readable."""
    ratios = [picture.shape[0] / picture.shape[1] for picture in pictures]
    return float(np.clip(np.median(ratios), 0.5, 2))
