"""The small networks that courses begin with."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from cnnkit._foundation.validation import check_one_of, check_whole_number, check_whole_numbers
from cnnkit._keras.layers import drop
from cnnkit.models._blocks.ends import classify, image_input, pool, scaling_inside


def simple_cnn(
    input_shape: Sequence[int | None],
    n_classes: int,
    *,
    filters: Sequence[int] = (16, 32, 64),
    convs_per_block: int = 1,
    dense_units: int = 128,
    dropout: float = 0.0,
    batch_norm: bool = False,
    kernel_initializer: str = "he_normal",
    l2: float = 0.0,
    separable: bool = False,
    pooling: str = "flatten",
    augmentation: keras.Layer | None = None,
    include_top: bool = True,
    classifier_activation: str | None = "softmax",
    mode: str = "none",
    name: str | None = None,
) -> keras.Model:
    """Build a plain stack of convolutions and pools, the baseline to beat.

    Args:
        input_shape: `(height, width, channels)`; every block halves height and width.
        n_classes: Number of classes; 1 with `classifier_activation="sigmoid"` for two classes.
        filters: Filters of the convolutions, one number for each block.
        convs_per_block: 3x3 convolutions in front of each pool.
        dense_units: Units of the dense layer in front of the classes; 0 for none.
        dropout: Rate in front of each dense layer.
        batch_norm: If True, normalize between each convolution and its activation.
        kernel_initializer: A Keras initializer for convolutions and the hidden dense layer.
        l2: Weight decay as an L2 penalty on their kernels.
        separable: If True, depthwise separable convolutions: fewer parameters and less work.
        pooling: What leads to the dense layers: `"flatten"`, `"avg"` or `"max"`.
        augmentation: A Keras layer or model that is put in front, for example
            `keras.layers.RandomFlip("horizontal")`, which acts in training only.
        include_top: If False, end with the last feature maps, or with what pooling `"avg"` or
            `"max"` makes of them.
        classifier_activation: Activation of the last layer; None for logits.
        mode: Scaling inside the network, a mode of `cnnkit.preprocess.scale`; `"none"` if the
            data is scaled outside.
        name: Name of the model, `cnnkit_simple_cnn` by default.

    Returns:
        A functional model from `(batch, height, width, channels)` to `(batch, n_classes)`.

    Raises:
        TypeError: If filters are no list of numbers, or augmentation no layer.
        ValueError: If the images are too small for so many blocks, or pooling or mode is unknown.

    Example:
        >>> from cnnkit.models import simple_cnn
        >>> model = simple_cnn((180, 180, 3), 5, mode="unit", classifier_activation=None)
        >>> model.count_params()
        3989285
    """
    check_one_of("pooling", pooling, ("flatten", "avg", "max"))
    filters = check_whole_numbers("filters", filters)
    check_whole_number("convs_per_block", convs_per_block)
    check_whole_number("dense_units", dense_units, least=0)
    _check_augmentation(augmentation)
    inputs = image_input(input_shape, least_size=2 ** len(filters))
    if include_top and pooling == "flatten":
        _check_sides(input_shape)
    x = augmentation(inputs) if augmentation is not None else inputs
    x = scaling_inside(x, mode)
    penalty = keras.regularizers.L2(l2) if l2 else None
    kernel: dict[str, Any] = {
        "kernel_initializer": kernel_initializer,
        "kernel_regularizer": penalty,
    }
    convolution = _separable if separable else layers.Conv2D
    for number, count in enumerate(filters, start=1):
        for place in range(1, convs_per_block + 1):
            title = f"block{number}_conv{place}"
            x = convolution(count, 3, padding="same", name=title, **kernel)(x)
            x = _activate(x, batch_norm, title)
        x = layers.MaxPooling2D(name=f"block{number}_pool")(x)
    if pooling != "flatten":
        x = pool(x, pooling)
    elif include_top:
        x = layers.Flatten(name="flatten")(x)
    if include_top:
        if dense_units:
            x = drop(x, dropout, "fc1_dropout")
            x = layers.Dense(dense_units, activation="relu", name="fc1", **kernel)(x)
        x = drop(x, dropout, "predictions_dropout")
        x = classify(x, n_classes, classifier_activation=classifier_activation)
    return keras.Model(inputs, x, name=name or "cnnkit_simple_cnn")


def _check_sides(input_shape: Sequence[int | None]) -> None:
    if None in tuple(input_shape):
        msg = (
            "`input_shape` must give height and width for pooling='flatten', behind which a layer "
            f"has a weight for each place. Received: input_shape={input_shape!r}. Use "
            "pooling='avg'."
        )
        raise ValueError(msg)


def _check_augmentation(augmentation: object) -> None:
    if augmentation is not None and not isinstance(augmentation, keras.Layer):
        msg = (
            "`augmentation` must be a Keras layer or model, which knows when it trains. Received: "
            f"{type(augmentation).__name__}. Put several layers into a keras.Sequential."
        )
        raise TypeError(msg)


def _separable(
    filters: int,
    kernel_size: int,
    *,
    kernel_initializer: str,
    kernel_regularizer: Any,
    **options: Any,
) -> Any:
    """Make a separable convolution of the arguments of a plain one."""
    return layers.SeparableConv2D(
        filters,
        kernel_size,
        depthwise_initializer=kernel_initializer,
        pointwise_initializer=kernel_initializer,
        pointwise_regularizer=kernel_regularizer,
        **options,
    )


def _activate(x: Any, batch_norm: bool, title: str) -> Any:
    if batch_norm:
        x = layers.BatchNormalization(name=f"{title}_bn")(x)
    return layers.Activation("relu", name=f"{title}_relu")(x)
