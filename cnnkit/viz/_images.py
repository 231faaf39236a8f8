"""Grids of images."""

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from cnnkit._transforms import Transform, apply_transform, reseed
from cnnkit._validation import check_whole_number
from cnnkit.data._reading import read_image
from cnnkit.preprocess import unscale
from cnnkit.viz._axes import panels


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
        images: Arrays `(height, width, channels)` or `(height, width)`, a batch of them, or paths
            of files.
        titles: A title for each image, for example its class.
        columns: Images in a row; by default about as many as rows, at most 8.
        mode: The mode that arrays were scaled with, to undo it; None for pixels in 0..255.
        axes: Panels to draw on, one an image; a new figure by default.

    Returns:
        An array of Axes.

    Raises:
        ValueError: If there are no images, the titles differ in number, or pixels lie outside
            0..255 although no mode is given.

    Example:
        >>> from sklearn.datasets import load_sample_images
        >>> from cnnkit.viz import show_images
        >>> axes = show_images(load_sample_images().images, titles=["china", "flower"])
        >>> [ax.get_title() for ax in axes]
        ['china', 'flower']
    """
    pictures = [_as_pixels(image, mode) for image in images]
    names = [""] * len(pictures) if titles is None else [str(title) for title in titles]
    if not pictures or len(names) != len(pictures):
        msg = (
            "`images` must hold at least one image, and `titles` one title for each. "
            f"Received: {len(pictures)} images and {len(names)} titles."
        )
        raise ValueError(msg)
    columns = columns or min(8, int(np.ceil(np.sqrt(len(pictures)))))
    drawn = panels(axes, len(pictures), columns=columns, panel_size=(2.2, 2.4))
    for ax, picture, name in zip(drawn, pictures, names, strict=True):
        ax.imshow(picture, cmap="gray", vmin=0, vmax=255)
        ax.set_title(name)
        ax.set_axis_off()
    return drawn


def show_augmentations(
    image: ArrayLike | str | os.PathLike[str],
    transform: Transform,
    *,
    draws: int = 7,
    seed: int | None = None,
    axes: Iterable[Axes] | None = None,
) -> NDArray[Any]:
    """Show an image and what a random transform makes of it.

    Args:
        image: A uint8 image `(height, width, channels)` or the path of a file.
        transform: An albumentations transform or anything with its protocol,
            `transform(image=array)["image"]`, or a function of an array.
        draws: How often it is applied.
        seed: For the same draws again. The transform's own random state is set anew.
        axes: Panels to draw on, one more than draws; a new figure by default.

    Returns:
        An array of Axes, the original first.

    Raises:
        ValueError: If the image is not uint8.

    Example:
        >>> import albumentations as A
        >>> from sklearn.datasets import load_sample_image
        >>> from cnnkit.viz import show_augmentations
        >>> axes = show_augmentations(load_sample_image("china.jpg"), A.RandomRotate90(), draws=3)
        >>> [ax.get_title() for ax in axes]
        ['original', 'draw 1', 'draw 2', 'draw 3']
    """
    check_whole_number("draws", draws)
    picture = _as_pixels(image, None)
    if picture.dtype != np.uint8:
        msg = (
            "`image` must be uint8 in 0..255, because transforms take floats for 0..1. "
            f"Received: {picture.dtype}."
        )
        raise ValueError(msg)
    results = []
    for draw in range(draws):
        if seed is not None:
            reseed(transform, (seed, draw))
        results.append(apply_transform(transform, picture))
    titles = ["original", *(f"draw {number}" for number in range(1, draws + 1))]
    return show_images([picture, *results], titles, columns=min(4, draws + 1), axes=axes)


def _as_pixels(image: ArrayLike | str | os.PathLike[str], mode: str | None) -> NDArray[Any]:
    if isinstance(image, str | os.PathLike):
        return read_image(image)
    pixels = np.asarray(image)
    if mode is not None:
        return unscale(pixels, mode)
    if pixels.size and (pixels.min() < 0 or pixels.max() > 255 or _looks_scaled(pixels)):
        msg = (
            "`images` must be pixels in 0..255, or their scaling given as `mode`. Received: values "
            f"from {pixels.min():.3g} to {pixels.max():.3g}. Pass mode='unit', 'tf' or the like."
        )
        raise ValueError(msg)
    return pixels if pixels.dtype == np.uint8 else np.rint(pixels).astype(np.uint8)


def _looks_scaled(pixels: NDArray[Any]) -> bool:
    return not np.issubdtype(pixels.dtype, np.integer) and 0 < pixels.max() <= 1
