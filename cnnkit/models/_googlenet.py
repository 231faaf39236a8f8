"""GoogLeNet: Szegedy et al., "Going deeper with convolutions", 2014, arXiv:1409.4842.
The table is table 1 of the paper, and the module is its figure 2b.
"""

from collections.abc import Callable, Sequence
from functools import partial
from os import PathLike
from typing import Any

import keras
from keras import layers

from cnnkit._foundation.validation import check_one_of
from cnnkit._keras.layers import drop
from cnnkit.models._blocks.ends import (
    check_pooling,
    classify,
    image_input,
    pool,
    scaling_inside,
)
from cnnkit.models._blocks.inception import VARIANTS, Inception, Variant, branches, convolution
from cnnkit.models._published import check_published, start_from

_STAGES = (  # a pool follows each stage but the last
    {
        "inception_3a": Inception(64, 96, 128, 16, 32, 32),  # (batch, 28, 28, 256) at 224
        "inception_3b": Inception(128, 128, 192, 32, 96, 64),  # (batch, 28, 28, 480)
    },
    {
        "inception_4a": Inception(192, 96, 208, 16, 48, 64),  # (batch, 14, 14, 512)
        "inception_4b": Inception(160, 112, 224, 24, 64, 64),
        "inception_4c": Inception(128, 128, 256, 24, 64, 64),
        "inception_4d": Inception(112, 144, 288, 32, 64, 64),  # (batch, 14, 14, 528)
        "inception_4e": Inception(256, 160, 320, 32, 128, 128),  # (batch, 14, 14, 832)
    },
    {
        "inception_5a": Inception(256, 160, 320, 32, 128, 128),  # (batch, 7, 7, 832)
        "inception_5b": Inception(384, 192, 384, 48, 128, 128),  # (batch, 7, 7, 1024)
    },
)


_AUXILIARY = ("inception_4a", "inception_4d")  # modules before the auxiliary classifiers


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

    The paper applies local response normalization after the first pool and after the third
    convolution. It is left out here, as in all later work; `variant="batch_norm"` serves the same
    purpose better.

    Args:
        input_shape: `(height, width, channels)`, at least 32 pixels a side; height and width may
            be None. With `aux_outputs=True` they must be given, and be at least 80.
        n_classes: Number of classes, which is the number of units of the last layer.
        variant: `"paper"`; `"batch_norm"`, with BatchNorm after each convolution; or
            `"torchvision"`, the network of torchvision's published weights: BatchNorm, 3x3 kernels
            in the 5x5 branch (pytorch/vision#906), PyTorch's padding, and a 2x2 pool before
            stage 5. These weights need `mode="tf"`.
        aux_outputs: If True, add the paper's two auxiliary classifiers after modules 4a and 4d, in
            every variant. The model then has three outputs, the main one first. Compile it with
            `loss_weights=[1, 0.3, 0.3]`. The auxiliary classifiers are always initialized
            randomly, because `weights` belongs to the network without them.
        dropout: Dropout rate after pooling. The paper uses 0.4, torchvision 0.2.
        include_top: If False, leave out the head: the model ends with the last feature maps.
        pooling: Global pooling with `include_top=False`: None, `"avg"` or `"max"`.
        classifier_activation: Activation of the last layer; None for logits.
        weights: None for random initialization, or the path of a file for `load_weights`.
            keras.applications publishes no weights for this network.
        mode: Scaling mode of `cnnkit.preprocess.scale` that the network applies to its input;
            `"none"` if the images are scaled beforehand.
        name: Name of the model. By default `cnnkit_googlenet`.

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
    check_one_of("variant", variant, tuple(VARIANTS))
    check_pooling(pooling)
    _check_aux(aux_outputs, include_top, input_shape)
    check_published(
        weights,
        "not available for GoogLeNet, but torchvision publishes the file "
        "googlenet-1378be20.pth, whose path can be passed with variant='torchvision'",
        available=False,
        received="weights='imagenet'",
        input_shape=input_shape,
    )
    kind = VARIANTS[variant]
    inputs = image_input(input_shape, least_size=80 if aux_outputs else 32)
    x = _stem(scaling_inside(inputs, mode), kind)  # (batch, 28, 28, 192) at 224
    between = {}
    for number, modules in enumerate(_STAGES, start=3):
        for title, filters in modules.items():
            x = between[title] = branches(x, filters, title, kind)
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


def _stem(x: Any, kind: Variant) -> Any:
    padding = "same"
    if kind.torch_padding:
        x, padding = layers.ZeroPadding2D(3, name="conv1_pad")(x), "valid"
    # (batch, 112, 112, 64) at 224
    x = convolution(x, 64, 7, "conv1_7x7_s2", kind, strides=2, padding=padding)
    x = _pool(x, 1, kind)
    x = convolution(x, 64, 1, "conv2_3x3_reduce", kind)
    x = convolution(x, 192, 3, "conv2_3x3", kind)  # (batch, 56, 56, 192)
    return _pool(x, 2, kind)


def _pool(x: Any, number: int, kind: Variant, size: int = 3) -> Any:
    name = f"pool{number}_{size}x{size}_s2"
    if not kind.torch_padding:
        return layers.MaxPooling2D(size, strides=2, padding="same", name=name)(x)
    # PyTorch's ceil mode adds a last window that may extend past the edge. Zeros at the bottom and
    # on the right have the same effect, because outputs of a ReLU are never smaller.
    x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"pool{number}_pad")(x)
    return layers.MaxPooling2D(size, strides=2, name=name)(x)


def _auxiliary(x: Any, kind: Variant, name: str, classify_as: Callable[..., Any]) -> Any:
    """Add a classifier to feature maps in the middle, as in section 5 of the paper."""
    x = layers.AveragePooling2D(5, strides=3, name=f"{name}_pool")(x)  # (batch, 4, 4, 512) at 224
    x = convolution(x, 128, 1, f"{name}_conv", kind)
    x = layers.Flatten(name=f"{name}_flatten")(x)
    x = layers.Dense(1024, activation="relu", name=f"{name}_fc")(x)
    return classify_as(drop(x, 0.7, f"{name}_dropout"), name=f"{name}_predictions")


def _check_aux(aux_outputs: bool, include_top: bool, input_shape: Sequence[int | None]) -> None:
    if aux_outputs and not include_top:
        msg = (
            "`aux_outputs=True` needs include_top=True, because the auxiliary classifiers are "
            "heads too. Received: include_top=False."
        )
        raise ValueError(msg)
    if aux_outputs and None in tuple(input_shape):
        msg = (
            "`input_shape` must give height and width for aux_outputs=True, because the auxiliary "
            f"classifiers flatten feature maps. Received: input_shape={input_shape!r}."
        )
        raise ValueError(msg)
