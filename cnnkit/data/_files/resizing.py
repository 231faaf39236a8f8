"""Antialiased resizing: an image is smoothed in proportion to its reduction."""

import math
from functools import cache, lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]


def box_of_aspect(image: Size, target: Size) -> Size:
    """Return the size of the largest crop of an image that has the target's aspect ratio."""
    ratio = min(have / want for have, want in zip(image, target, strict=True))
    height, width = (max(1, round(want * ratio)) for want in target)
    return height, width


def size_within(image: Size, target: Size) -> Size:
    """Return the largest size with the image's aspect ratio that fits into the target."""
    ratio = max(have / want for have, want in zip(image, target, strict=True))
    height, width = (max(1, round(have / ratio)) for have in image)
    return height, width


def jpeg_reduction(image: Size, target: Size) -> int:
    """Return how many times smaller a JPEG may be decoded: 1, 2, 4 or 8.

    The decoder averages well, but its output must still be clearly larger than the target.
    """
    ratio = min(have / want for have, want in zip(image, target, strict=True))
    return next(
        reduction for reduction in (8, 4, 2, 1) if ratio >= 1.25 * reduction or reduction == 1
    )


def resize(pixels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize to `(height, width)` with antialiasing.

    Pillow reduces with a triangular kernel as wide as the reduction. Here a Gaussian blur precedes
    OpenCV's bilinear kernel, which alone would use too few pixels. `nox -s bench -- reading` shows
    how close the results are and how long both take.
    """
    if pixels.shape[:2] == size:
        return pixels.copy()
    height, width = size
    smooth: NDArray[Any] = _averaged(pixels, size)
    ratios = smooth.shape[0] / height, smooth.shape[1] / width
    if max(ratios) > 1:
        vertical, horizontal = map(_kernel, ratios)
        # `GaussianBlur` is slower and rounds between the two axes.
        smooth = cv2.sepFilter2D(smooth, -1, horizontal, vertical, borderType=cv2.BORDER_REPLICATE)
    small: NDArray[Any] = cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR)
    return small


@lru_cache(maxsize=1024)
def _kernel(ratio: float) -> NDArray[Any]:
    """Return the Gaussian kernel that precedes the bilinear kernel.

    A triangle with half-width `ratio` has the variance ratio² / 6. Bilinear sampling contributes
    about 1 / 6 of it. Because the kernel is short, its variance differs from its squared deviation.
    """
    variance = max(ratio**2 - 1, 0) / 6
    reach = max(1, math.ceil(1.5 * math.sqrt(variance)))  # OpenCV is slow with one weight
    size = 2 * reach + 1
    deviation = float(np.interp(variance, *_deviations(size)))
    kernel: NDArray[Any] = cv2.getGaussianKernel(size, deviation)
    return kernel


@cache
def _deviations(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the variances of sampled Gaussian kernels, and the deviations that they have."""
    deviations = np.linspace(0.2, size, 500)
    squares = np.square(np.arange(size) - size // 2)
    kernels = [cv2.getGaussianKernel(size, deviation)[:, 0] for deviation in deviations]
    return np.array([squares @ kernel for kernel in kernels]), deviations


def _averaged(pixels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Average blocks of pixels where the reduction is large, because a wide Gaussian is slow.

    Each axis has its own factor: a long strip may be reduced strongly along one axis only.
    """
    factors = [max(1, have // (3 * want)) for have, want in zip(pixels.shape, size, strict=False)]
    if max(factors) < 2:
        return pixels
    height, width = (have // by for have, by in zip(pixels.shape, factors, strict=False))
    averaged: NDArray[Any] = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return averaged


def cut(pixels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Return the center crop of an image."""
    top, left = ((have - want) // 2 for have, want in zip(pixels.shape, size, strict=False))
    return pixels[top : top + size[0], left : left + size[1]]


def pad(pixels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Center an image on black, or return it unchanged if it already has the size."""
    if pixels.shape[:2] == size:
        return pixels
    padded = np.zeros((*size, pixels.shape[2]), dtype=np.uint8)
    cut(padded, (pixels.shape[0], pixels.shape[1]))[:] = pixels
    return padded
