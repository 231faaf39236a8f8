"""GoogLeNet: Szegedy et al., "Going deeper with convolutions", 2014, arXiv:1409.4842.
The table is the paper's table 1, the module its figure 2b.
"""

from collections.abc import Callable, Sequence
from functools import partial
from os import PathLike
from typing import Any, NamedTuple

import keras
from keras import layers

from cnnkit._validation import check_one_of
from cnnkit.models._ends import (
    check_new_names,
    check_pooling,
    classify,
    drop,
    feature_maps,
    image_input,
    pool,
    scaling_inside,
)
from cnnkit.models._published import check_published, start_from


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


_AUXILIARY = ("inception_4a", "inception_4d")  # where the paper's extra classifiers stand


class _Variant(NamedTuple):
    """What the variants differ in.

    Attributes:
        epsilon: That of BatchNorm behind each convolution; None for a bias and no BatchNorm.
        fives: Size of the kernel in the "5x5" branch.
        last_pool: Size of the pool in front of stage 5.
        torch_padding: If True, pad as PyTorch does, which differs at odd heights and widths.
    """

    epsilon: float | None = None
    fives: int = 5
    last_pool: int = 3
    torch_padding: bool = False


_VARIANTS = {
    "paper": _Variant(),
    "batch_norm": _Variant(epsilon=1e-3),
    "torchvision": _Variant(epsilon=1e-3, fives=3, last_pool=2, torch_padding=True),
}


def googlenet(
    input_shape: Sequence[int | None] = (224, 224, 3),
    n_classes: int = 10,
    *,
    variant: str = "paper",
    aux_outputs: bool = False,
    dropout: float = 0.4,
    include_top: bool = True,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    weights: str | PathLike[str] | None = None,
    mode: str = "none",
    name: str | None = None,
) -> keras.Model:
    """Build GoogLeNet.

    The paper normalizes local responses after the first pool and the third convolution; that is
    left out, as in all later work. `variant="batch_norm"` does better what it was for.

    Args:
        input_shape: `(height, width, channels)`, at least 32 pixels a side, 80 with
            `aux_outputs=True`; height and width may be None.
        n_classes: Number of classes, the units of the last layer.
        variant: `"paper"`; `"batch_norm"`, with BatchNorm behind each convolution; or
            `"torchvision"`, the network that torchvision's published weights belong to: BatchNorm,
            3x3 kernels in the 5x5 branch (pytorch/vision#906), PyTorch's padding, and a 2x2 pool
            in front of stage 5. Those weights want `mode="tf"`.
        aux_outputs: If True, add the paper's two auxiliary classifiers, at 4a and 4d. The model has
            three outputs, the main one first, to be compiled with
            `loss_weights=[1, 0.3, 0.3]`. Those of torchvision's variant are the paper's too.
            They start fresh: `weights` are for the network without them.
        dropout: Rate after pooling; the paper's is 0.4, torchvision's 0.2.
        include_top: If False, end with the last feature maps.
        pooling: For `include_top=False`: None, `"avg"` or `"max"`.
        classifier_activation: Activation of the last layer; None for logits.
        weights: None for fresh ones, or a file for `load_weights`. keras.applications publishes
            none for this network.
        mode: Scaling inside the network, a mode of `cnnkit.preprocess.scale`; `"none"` if the
            data is scaled outside.
        name: Name of the model, `cnnkit_googlenet` by default.

    Returns:
        A functional model from `(batch, height, width, channels)` to `(batch, n_classes)`, or to a
        list of three such outputs.

    Raises:
        ValueError: If the variant, pooling or mode is unknown, the input is too small, or the
            weights belong to another network.

    Example:
        >>> from cnnkit.models import googlenet
        >>> googlenet(n_classes=1000).count_params()
        6998552
    """
    check_one_of("variant", variant, tuple(_VARIANTS))
    check_pooling(pooling)
    _check_aux(aux_outputs, include_top, input_shape)
    check_published(
        weights,
        "published for other networks only; for this one torchvision has a file, "
        "googlenet-1378be20.pth, whose path can be given with variant='torchvision'",
        available=False,
        received="weights='imagenet'",
        input_shape=input_shape,
    )
    kind = _VARIANTS[variant]
    inputs = image_input(input_shape, least_size=80 if aux_outputs else 32)
    x = _stem(scaling_inside(inputs, mode), kind)  # (batch, 28, 28, 192) at 224
    between = {}
    for number, modules in enumerate(_STAGES, start=3):
        for title, filters in modules.items():
            x = between[title] = _module(x, filters, title, kind)
        if number < 5:
            x = _pool(x, number, kind, size=kind.last_pool if number == 4 else 3)
    classify_as = partial(
        classify, n_classes=n_classes, classifier_activation=classifier_activation
    )
    title = name or "cnnkit_googlenet"
    if not include_top:
        return start_from(keras.Model(inputs, pool(x, pooling), name=title), weights)
    x = classify_as(drop(pool(x, "avg"), dropout, "avg_pool_dropout"))
    model = start_from(keras.Model(inputs, x, name=title), weights)
    if not aux_outputs:
        return model
    maps = [between[module] for module in _AUXILIARY]
    heads = [_auxiliary(x, kind, f"aux{n}", classify_as) for n, x in enumerate(maps, start=1)]
    return keras.Model(inputs, [*model.outputs, *heads], name=title)


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

    Raises:
        ValueError: If `x` holds no feature maps, or a module in front of it has the same name.

    Example:
        >>> import keras
        >>> from cnnkit.models import inception_module
        >>> x = keras.Input((28, 28, 192))
        >>> inception_module(x, 64, 96, 128, 16, 32, 32, name="inception_3a").shape
        (None, 28, 28, 256)
    """
    if name is not None:
        check_new_names(feature_maps(x), name, "name", "Take another name.")
    filters = _Inception(
        filters_1x1,
        filters_3x3_reduce,
        filters_3x3,
        filters_5x5_reduce,
        filters_5x5,
        filters_pool_reduce,
    )
    return _module(feature_maps(x), filters, name, _VARIANTS["paper"])


def _module(x: Any, filters: _Inception, name: str | None, kind: _Variant) -> Any:
    def conv(x: Any, filters: int, kernel_size: int, branch: str) -> Any:
        return _conv(x, filters, kernel_size, f"{name}_{branch}" if name else None, kind)

    ones = conv(x, filters.filters_1x1, 1, "1x1")
    threes = conv(x, filters.filters_3x3_reduce, 1, "3x3_reduce")
    threes = conv(threes, filters.filters_3x3, 3, "3x3")
    fives = conv(x, filters.filters_5x5_reduce, 1, "5x5_reduce")
    fives = conv(fives, filters.filters_5x5, kind.fives, "5x5")
    pool_name = f"{name}_pool" if name else None
    pooled = layers.MaxPooling2D(3, strides=1, padding="same", name=pool_name)(x)
    pooled = conv(pooled, filters.filters_pool_reduce, 1, "pool_proj")
    return layers.Concatenate(name=name)([ones, threes, fives, pooled])


def _stem(x: Any, kind: _Variant) -> Any:
    padding = "same"
    if kind.torch_padding:
        x, padding = layers.ZeroPadding2D(3, name="conv1_pad")(x), "valid"
    # (batch, 112, 112, 64) at 224
    x = _conv(x, 64, 7, "conv1_7x7_s2", kind, strides=2, padding=padding)
    x = _pool(x, 1, kind)
    x = _conv(x, 64, 1, "conv2_3x3_reduce", kind)
    x = _conv(x, 192, 3, "conv2_3x3", kind)  # (batch, 56, 56, 192)
    return _pool(x, 2, kind)


def _conv(
    x: Any,
    filters: int,
    kernel_size: int,
    name: str | None,
    kind: _Variant,
    strides: int = 1,
    padding: str = "same",
) -> Any:
    convolution = partial(
        layers.Conv2D, filters, kernel_size, strides=strides, padding=padding, name=name
    )
    if kind.epsilon is None:
        return convolution(activation="relu")(x)
    x = convolution(use_bias=False)(x)
    bn, relu = (f"{name}_{step}" if name else None for step in ("bn", "relu"))
    x = layers.BatchNormalization(epsilon=kind.epsilon, name=bn)(x)
    return layers.Activation("relu", name=relu)(x)


def _pool(x: Any, number: int, kind: _Variant, size: int = 3) -> Any:
    name = f"pool{number}_{size}x{size}_s2"
    if not kind.torch_padding:
        return layers.MaxPooling2D(size, strides=2, padding="same", name=name)(x)
    # PyTorch's ceil mode lets the last window begin inside: a row of zeros on the far side, which
    # are never larger than what comes out of a ReLU.
    x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"pool{number}_pad")(x)
    return layers.MaxPooling2D(size, strides=2, name=name)(x)


def _auxiliary(x: Any, kind: _Variant, name: str, classify_as: Callable[..., Any]) -> Any:
    """Classify by feature maps from the middle, as in the paper's section 5."""
    x = layers.AveragePooling2D(5, strides=3, name=f"{name}_pool")(x)  # (batch, 4, 4, 512) at 224
    x = _conv(x, 128, 1, f"{name}_conv", kind)
    x = layers.Flatten(name=f"{name}_flatten")(x)
    x = layers.Dense(1024, activation="relu", name=f"{name}_fc")(x)
    return classify_as(drop(x, 0.7, f"{name}_dropout"), name=f"{name}_predictions")


def _check_aux(aux_outputs: bool, include_top: bool, input_shape: Sequence[int | None]) -> None:
    if aux_outputs and not include_top:
        msg = (
            "`aux_outputs=True` needs include_top=True: they are heads beside the head. "
            "Received: include_top=False."
        )
        raise ValueError(msg)
    if aux_outputs and None in tuple(input_shape):
        msg = (
            "`input_shape` must give height and width for aux_outputs=True, whose dense layers "
            f"have a weight for each place. Received: input_shape={input_shape!r}."
        )
        raise ValueError(msg)
