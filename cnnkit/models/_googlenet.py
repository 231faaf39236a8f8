"""GoogLeNet: Szegedy et al., "Going deeper with convolutions", 2014, arXiv:1409.4842.
The table is the paper's table 1, the module its figure 2b.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import layers

from cnnkit.models._ends import classify, drop, image_input, pool, scaling_inside


class _Inception(NamedTuple):
    """One row of table 1: filters of each branch."""

    filters_1x1: int
    filters_3x3_reduce: int
    filters_3x3: int
    filters_5x5_reduce: int
    filters_5x5: int
    filters_pool_reduce: int


_STAGES = (  # a pool stands between two stages
    {
        "inception_3a": _Inception(64, 96, 128, 16, 32, 32),  # (batch, 28, 28, 256) at 224
        "inception_3b": _Inception(128, 128, 192, 32, 96, 64),  # (batch, 28, 28, 480)
    },
    {
        "inception_4a": _Inception(192, 96, 208, 16, 48, 64),  # (batch, 14, 14, 512)
        "inception_4b": _Inception(160, 112, 224, 24, 64, 64),
        "inception_4c": _Inception(128, 128, 256, 24, 64, 64),
        "inception_4d": _Inception(112, 144, 288, 32, 64, 64),  # (batch, 14, 14, 528)
        "inception_4e": _Inception(256, 160, 320, 32, 128, 128),  # (batch, 14, 14, 832)
    },
    {
        "inception_5a": _Inception(256, 160, 320, 32, 128, 128),  # (batch, 7, 7, 832)
        "inception_5b": _Inception(384, 192, 384, 48, 128, 128),  # (batch, 7, 7, 1024)
    },
)


def googlenet(
    input_shape: Sequence[int | None] = (224, 224, 3),
    n_classes: int = 10,
    *,
    dropout: float = 0.4,
    include_top: bool = True,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    mode: str = "none",
    name: str | None = None,
) -> keras.Model:
    """Build GoogLeNet.

    The paper normalizes local responses after the first pool and the third convolution and trains
    two auxiliary classifiers; both are left out here.

    Args:
        input_shape: `(height, width, channels)`, at least 32 pixels a side; height and width may
            be None.
        n_classes: Number of classes, the units of the last layer.
        dropout: Rate after pooling; the paper's is 0.4.
        include_top: If False, end with the last feature maps.
        pooling: For `include_top=False`: None, `"avg"` or `"max"`.
        classifier_activation: Activation of the last layer; None for logits.
        mode: Scaling inside the network, a mode of `cnnkit.preprocess.scale`; `"none"` if the
            data is scaled outside.
        name: Name of the model, `cnnkit_googlenet` by default.

    Returns:
        A functional model from `(batch, height, width, channels)` to `(batch, n_classes)`.

    Raises:
        ValueError: If the pooling or mode is unknown, or the input is too small.

    Example:
        >>> from cnnkit.models import googlenet
        >>> googlenet(n_classes=1000).count_params()
        6998552
    """
    inputs = image_input(input_shape, least_size=32)
    x = _stem(scaling_inside(inputs, mode))  # (batch, 28, 28, 192) at 224
    for number, modules in enumerate(_STAGES, start=3):
        for module_name, filters in modules.items():
            x = inception_module(x, *filters, name=module_name)
        if number < 5:
            x = _pool(x, f"pool{number}_3x3_s2")
    if include_top:
        x = drop(pool(x, "avg"), dropout, "avg_pool_dropout")
        x = classify(x, n_classes, classifier_activation=classifier_activation)
    else:
        x = pool(x, pooling)
    return keras.Model(inputs, x, name=name or "cnnkit_googlenet")


def inception_module(
    x: Any,
    filters_1x1: int,
    filters_3x3_reduce: int,
    filters_3x3: int,
    filters_5x5_reduce: int,
    filters_5x5: int,
    filters_pool_reduce: int,
    name: str | None = None,
) -> Any:
    """Add an inception module: four branches over the same feature maps, side by side.

    Args:
        x: Feature maps `(batch, height, width, channels)`.
        filters_1x1: Filters of the 1x1 branch.
        filters_3x3_reduce: Filters of the 1x1 convolution in front of the 3x3 one.
        filters_3x3: Filters of the 3x3 convolution.
        filters_5x5_reduce: Filters of the 1x1 convolution in front of the 5x5 one.
        filters_5x5: Filters of the 5x5 convolution.
        filters_pool_reduce: Filters of the 1x1 convolution behind the 3x3 pool.
        name: Name of the concatenation, and prefix of the names of the convolutions.

    Returns:
        Feature maps `(batch, height, width, filters_1x1 + filters_3x3 + filters_5x5 +
        filters_pool_reduce)`.

    Example:
        >>> import keras
        >>> from cnnkit.models import inception_module
        >>> x = keras.Input((28, 28, 192))
        >>> inception_module(x, 64, 96, 128, 16, 32, 32, name="inception_3a").shape
        (None, 28, 28, 256)
    """

    def named(branch: str) -> str | None:
        return f"{name}_{branch}" if name else None

    ones = _conv(x, filters_1x1, 1, named("1x1"))
    threes = _conv(x, filters_3x3_reduce, 1, named("3x3_reduce"))
    threes = _conv(threes, filters_3x3, 3, named("3x3"))
    fives = _conv(x, filters_5x5_reduce, 1, named("5x5_reduce"))
    fives = _conv(fives, filters_5x5, 5, named("5x5"))
    pooled = layers.MaxPooling2D(3, strides=1, padding="same", name=named("pool"))(x)
    pooled = _conv(pooled, filters_pool_reduce, 1, named("pool_proj"))
    return layers.Concatenate(name=name)([ones, threes, fives, pooled])


def _stem(x: Any) -> Any:
    x = _conv(x, 64, 7, "conv1_7x7_s2", strides=2)  # (batch, 112, 112, 64) at 224
    x = _pool(x, "pool1_3x3_s2")
    x = _conv(x, 64, 1, "conv2_3x3_reduce")
    x = _conv(x, 192, 3, "conv2_3x3")  # (batch, 56, 56, 192)
    return _pool(x, "pool2_3x3_s2")


def _conv(x: Any, filters: int, kernel_size: int, name: str | None, strides: int = 1) -> Any:
    return layers.Conv2D(
        filters, kernel_size, strides=strides, padding="same", activation="relu", name=name
    )(x)


def _pool(x: Any, name: str) -> Any:
    return layers.MaxPooling2D(3, strides=2, padding="same", name=name)(x)
