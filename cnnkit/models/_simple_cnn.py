"""A small network of the kind that courses begin with."""

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
    """Build a plain stack of convolutions and pools as a baseline.

    Args:
        input_shape: `(height, width, channels)`. Every block halves height and width, which may be
            None if `pooling` is `"avg"` or `"max"`.
        n_classes: Number of classes; 1 with `classifier_activation="sigmoid"` for two classes.
        filters: Filters of the convolutions, one number per block.
        convs_per_block: Number of 3x3 convolutions before each pool.
        dense_units: Units of the hidden dense layer; 0 for no such layer.
        dropout: Dropout rate before each dense layer.
        batch_norm: If True, add BatchNorm between each convolution and its activation.
        kernel_initializer: Keras initializer of the convolutions and the hidden dense layer.
        l2: Factor of the L2 penalty on the kernels of the same layers.
        separable: If True, use depthwise separable convolutions, which have fewer parameters and
            take less work.
        pooling: How feature maps become a vector: `"flatten"`, `"avg"` or `"max"`.
        augmentation: A Keras layer or model to apply to the input in training, for example
            `keras.layers.RandomFlip("horizontal")`.
        include_top: If False, leave out the head: the model ends with the last feature maps, or
            with pooled features if `pooling` is `"avg"` or `"max"`.
        classifier_activation: Activation of the last layer; None for logits.
        mode: Scaling mode of `cnnkit.preprocess.scale` that the network applies to its input;
            `"none"` if the images are scaled beforehand.
        name: Name of the model. By default `cnnkit_simple_cnn`.

    Returns:
        A functional model from `(batch, height, width, channels)` to `(batch, n_classes)`.

    Raises:
        TypeError: If `filters` is not a list of whole numbers, or `augmentation` is not a layer.
        ValueError: If the images are too small for the number of blocks, or if `pooling` or `mode`
            is unknown.

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
            "`input_shape` must give height and width for pooling='flatten', because the number of "
            f"weights depends on them. Received: input_shape={input_shape!r}. Use pooling='avg'."
        )
        raise ValueError(msg)


def _check_augmentation(augmentation: object) -> None:
    if augmentation is not None and not isinstance(augmentation, keras.Layer):
        msg = (
            "`augmentation` must be a Keras layer or model, so that it can act in training only. "
            f"Received: {type(augmentation).__name__}. Combine several layers in a "
            "keras.Sequential."
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
    """Return a separable convolution, given the arguments of a plain one."""
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
