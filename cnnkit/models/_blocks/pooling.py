"""Min pooling, which Keras lacks."""

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

    It negates its input, applies max pooling and negates the result. A saved model can therefore be
    loaded with Keras alone.

    Args:
        x: Feature maps `(batch, height, width, channels)`.
        pool_size: Height and width of the window, or one number for both.
        strides: Step between windows; `pool_size` by default.
        padding: `"valid"`, or `"same"` to keep height and width at stride 1. Padding is never the
            smallest value.
        name: Name of the pooling layer.

    Returns:
        Feature maps `(batch, height / strides, width / strides, channels)`.

    Raises:
        ValueError: If `x` does not hold feature maps.

    Example:
        >>> import numpy as np
        >>> from cnnkit.models import min_pooling
        >>> image = np.array([[3.0, 1.0], [2.0, 4.0]]).reshape(1, 2, 2, 1)
        >>> float(min_pooling(image)[0, 0, 0, 0])
        1.0
    """
    pooled = layers.MaxPooling2D(pool_size, strides=strides, padding=padding, name=name)
    return keras.ops.negative(pooled(keras.ops.negative(feature_maps(x))))
