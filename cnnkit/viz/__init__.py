"""Plots of training and of images: Axes in, Axes out; nothing is shown and no setting changed."""

from cnnkit.viz._history import plot_history
from cnnkit.viz._images import show_augmentations, show_images
from cnnkit.viz._learning_rate import plot_learning_rate
from cnnkit.viz._pixel_histogram import plot_pixel_histogram

__all__ = [
    "plot_history",
    "plot_learning_rate",
    "plot_pixel_histogram",
    "show_augmentations",
    "show_images",
]
