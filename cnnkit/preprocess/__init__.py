"""Scaling of pixel values. It needs NumPy and OpenCV, but neither TensorFlow nor Keras."""

from cnnkit.preprocess._grayscale import to_grayscale
from cnnkit.preprocess._modes import mode_for
from cnnkit.preprocess._scaling import scale, unscale

__all__ = ["mode_for", "scale", "to_grayscale", "unscale"]
