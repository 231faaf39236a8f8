"""The pooling that Keras lacks."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from cnnkit.models._blocks.ends import feature_maps


def min_pooling(
    x: Any,
    pool_size: int | Sequence[int] = 2,
    strides: int | Sequence[int] | None = None,
    padding: str = "valid",
    name: str | None = None,
) -> Any:
    """Keep the smallest value of each window, as max pooling keeps the largest.

    It is max pooling between two changes of sign, so a saved model opens with Keras alone.

    Args:
        x: Feature maps `(batch, height, width, channels)`.
        pool_size: Height and width of the window, or one number for both.
        strides: Step from window to window; the size of the window by default.
        padding: `"valid"`, or `"same"` to keep height and width at stride 1; what is outside the
            image never is the smallest.
        name: Name of the pooling layer.

    Returns:
        Feature maps `(batch, height / strides, width / strides, channels)`.

    Raises:
        ValueError: If `x` holds no feature maps.

    Example:
        >>> import numpy as np
        >>> from cnnkit.models import min_pooling
        >>> image = np.array([[3.0, 1.0], [2.0, 4.0]]).reshape(1, 2, 2, 1)
        >>> float(min_pooling(image)[0, 0, 0, 0])
        1.0
    """
    pooled = layers.MaxPooling2D(pool_size, strides=strides, padding=padding, name=name)
    return keras.ops.negative(pooled(keras.ops.negative(feature_maps(x))))
