"""Antialiased resizing: what is made smaller is smoothed first, as much as it is reduced."""

import math
from functools import cache, lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]


def box_of_aspect(image: Size, target: Size) -> Size:
    """Return the size of the largest part of an image that has the target's aspect ratio."""
    ratio = min(have / want for have, want in zip(image, target, strict=True))
    height, width = (max(1, round(want * ratio)) for want in target)
    return height, width


def size_within(image: Size, target: Size) -> Size:
    """Return the largest size with the image's aspect ratio that the target has room for."""
    ratio = max(have / want for have, want in zip(image, target, strict=True))
    height, width = (max(1, round(have / ratio)) for have in image)
    return height, width


def jpeg_reduction(image: Size, target: Size) -> int:
    """Return how many times smaller a JPEG may be decoded: 1, 2, 4 or 8.

    The decoder averages well, but what it leaves must still be clearly larger than the target.
    """
    ratio = min(have / want for have, want in zip(image, target, strict=True))
    return next(
        reduction for reduction in (8, 4, 2, 1) if ratio >= 1.25 * reduction or reduction == 1
    )


def resize(pixels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize to `(height, width)`, antialiased.

    Pillow's kernel, a triangle as wide as the reduction, is here a Gaussian in front of OpenCV's
    bilinear kernel, which alone takes too few pixels into account. `nox -s bench -- reading` shows
    how near the two come and how long they take.
    """
    if pixels.shape[:2] == size:
        return pixels.copy()
    height, width = size
    smooth: NDArray[Any] = _averaged(pixels, size)
    ratios = smooth.shape[0] / height, smooth.shape[1] / width
    if max(ratios) > 1:
        vertical, horizontal = map(_kernel, ratios)
        # `GaussianBlur` would round between the sides, too, and take longer.
        smooth = cv2.sepFilter2D(smooth, -1, horizontal, vertical, borderType=cv2.BORDER_REPLICATE)
    small: NDArray[Any] = cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR)
    return small


@lru_cache(maxsize=1024)
def _kernel(ratio: float) -> NDArray[Any]:
    """Return the Gaussian in front of the bilinear kernel.

    A triangle of half-width `ratio` has the variance ratio² / 6, of which bilinear sampling has
    about 1 / 6. The kernel is short, and its variance is not the square of its deviation.
    """
    variance = max(ratio**2 - 1, 0) / 6
    reach = max(1, math.ceil(1.5 * math.sqrt(variance)))  # OpenCV is slow with a single weight
    size = 2 * reach + 1
    deviation = float(np.interp(variance, *_deviations(size)))
    kernel: NDArray[Any] = cv2.getGaussianKernel(size, deviation)
    return kernel


@cache
def _deviations(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the variances of sampled Gaussian kernels, and the deviations that make them."""
    deviations = np.linspace(0.2, size, 500)
    squares = np.square(np.arange(size) - size // 2)
    kernels = [cv2.getGaussianKernel(size, deviation)[:, 0] for deviation in deviations]
    return np.array([squares @ kernel for kernel in kernels]), deviations


def _averaged(pixels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Average blocks of pixels where the reduction is large: a wide Gaussian is slow.

    Each side by itself: of a strip, only the long one is reduced by much.
    """
    factors = [max(1, have // (3 * want)) for have, want in zip(pixels.shape, size, strict=False)]
    if max(factors) < 2:
        return pixels
    height, width = (have // by for have, by in zip(pixels.shape, factors, strict=False))
    averaged: NDArray[Any] = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return averaged


def cut(pixels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Return the middle of an image."""
    top, left = ((have - want) // 2 for have, want in zip(pixels.shape, size, strict=False))
    return pixels[top : top + size[0], left : left + size[1]]


def pad(pixels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Return an image in the middle of a black one, or as it is where it has the size."""
    if pixels.shape[:2] == size:
        return pixels
    padded = np.zeros((*size, pixels.shape[2]), dtype=np.uint8)
    cut(padded, (pixels.shape[0], pixels.shape[1]))[:] = pixels
    return padded
