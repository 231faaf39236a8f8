"""Plots of training and of images. Functions take and return Axes; none calls `plt.show()`."""

from cnnkit.viz._feature_maps import show_feature_maps
from cnnkit.viz._grad_cam import show_grad_cam
from cnnkit.viz._history import plot_history
from cnnkit.viz._images import show_augmentations, show_images
from cnnkit.viz._learning_rate import plot_learning_rate
from cnnkit.viz._pixel_histogram import plot_pixel_histogram
from cnnkit.viz._predictions import plot_confusion_matrix, plot_reliability, show_predictions

__all__ = [
    "plot_confusion_matrix",
    "plot_history",
    "plot_learning_rate",
    "plot_pixel_histogram",
    "plot_reliability",
    "show_augmentations",
    "show_feature_maps",
    "show_grad_cam",
    "show_images",
    "show_predictions",
]
