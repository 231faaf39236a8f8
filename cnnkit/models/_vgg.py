"""VGG: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image
recognition", 2015, arXiv:1409.1556. The table holds columns A, B, D and E of the paper's table 1.
"""

from collections.abc import Sequence
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
from cnnkit.models._published import check_published, model_name, start_from

_FILTERS = (64, 128, 256, 512, 512)
_CONVOLUTIONS = {  # depth: 3x3 convolutions in each of the five blocks
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


def vggnet(
    input_shape: Sequence[int | None] = (224, 224, 3),
    n_classes: int = 10,
    *,
    depth: int = 16,
    head: str = "pooled",
    hidden_units: Sequence[int] = (),
    dropout: float = 0.5,
    batch_norm: bool = False,
    include_top: bool = True,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    weights: str | PathLike[str] | None = None,
    mode: str = "none",
    name: str | None = None,
) -> keras.Model:
    """Build a VGG network.

    The names, order and weights of the layers match `keras.applications.VGG16` and `VGG19`.

    Args:
        input_shape: `(height, width, channels)`, at least 32 pixels a side; height and width may
            be None.
        n_classes: Number of classes, which is the number of units of the last layer.
        depth: Number of layers with weights in the paper's network: 11, 13, 16 or 19.
        head: `"pooled"` averages the last feature maps; `"paper"` flattens them and adds two
            dense layers of 4096 units. With 1000 classes and depth 16, the paper's head holds 124
            of the 138 million parameters.
        hidden_units: Units of the dense layers between the pooling and the last layer, with
            `head="pooled"`.
        dropout: Dropout rate after pooling and after each hidden layer. With 0 there are no dropout
            layers, as in keras.applications.
        batch_norm: If True, add BatchNorm after each convolution. The paper does not use it, but it
            makes training from scratch far easier.
        include_top: If False, leave out the head: the model ends with the last feature maps.
        pooling: Global pooling with `include_top=False`: None, `"avg"` or `"max"`.
        classifier_activation: Activation of the last layer; None for logits.
        weights: None for random initialization; `"imagenet"` for the weights of
            keras.applications (depth 16 or 19, no BatchNorm); or the path of a file for
            `load_weights`. The published head is loaded only with `head="paper"`, 224x224 pixels
            and 1000 classes. The published weights need `mode="caffe"`.
        mode: Scaling mode of `cnnkit.preprocess.scale` that the network applies to its input;
            `"none"` if the images are scaled beforehand.
        name: Name of the model. By default `cnnkit_vgg16`, or `vgg16` with published weights.

    Returns:
        A functional model from `(batch, height, width, channels)` to `(batch, n_classes)`.

    Raises:
        ValueError: If the depth, head, pooling or mode is unknown, the input is too small, or the
            weights belong to another network.

    Example:
        >>> from cnnkit.models import vggnet
        >>> model = vggnet(input_shape=(64, 64, 3), n_classes=5, hidden_units=(120,))
        >>> model.output_shape
        (None, 5)
    """
    check_one_of("depth", depth, tuple(_CONVOLUTIONS))
    check_one_of("head", head, ("pooled", "paper"))
    check_pooling(pooling)
    if head == "paper":
        _check_paper_head(input_shape, hidden_units, include_top)
        hidden_units = (4096, 4096)
    check_published(
        weights,
        "published for depth 16 and 19 without BatchNorm",
        available=depth in (16, 19) and not batch_norm,
        received=f"depth={depth}, batch_norm={batch_norm}",
        input_shape=input_shape,
    )
    inputs = image_input(input_shape, least_size=32)
    x = scaling_inside(inputs, mode)
    for number, filters in enumerate(_FILTERS, start=1):
        x = _block(x, filters, _CONVOLUTIONS[depth][number - 1], batch_norm, f"block{number}")
    if not include_top:
        x = pool(x, pooling)
    else:
        options: dict[str, Any] = {"hidden_units": hidden_units, "dropout": dropout}
        x = _vector(x, head, dropout)
        x = classify(x, n_classes, **options, classifier_activation=classifier_activation)
    architecture = f"VGG{depth}"
    model = keras.Model(inputs, x, name=model_name(name, architecture, weights))
    theirs = head == "paper" and n_classes == 1000 and tuple(input_shape) == (224, 224, 3)
    return start_from(model, weights, architecture, whole=include_top and theirs)


def _vector(x: Any, head: str, dropout: float) -> Any:
    if head == "paper":
        return layers.Flatten(name="flatten")(x)
    return drop(pool(x, "avg"), dropout, "avg_pool_dropout")


def _check_paper_head(
    input_shape: Sequence[int | None], hidden_units: Sequence[int], include_top: bool
) -> None:
    if hidden_units:
        msg = (
            "`hidden_units` needs head='pooled'; the paper's head always has two layers of 4096 "
            f"units. Received: hidden_units={hidden_units!r}. Leave `hidden_units` out."
        )
        raise ValueError(msg)
    if include_top and None in input_shape:
        msg = (
            "`input_shape` must give height and width for head='paper', because its first dense "
            f"layer flattens the feature maps. Received: input_shape={input_shape!r}. Use "
            "head='pooled'."
        )
        raise ValueError(msg)


def _block(x: Any, filters: int, convolutions: int, batch_norm: bool, name: str) -> Any:
    """Add convolutions and a pool that halves height and width."""
    for number in range(1, convolutions + 1):
        conv = f"{name}_conv{number}"
        if batch_norm:
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=conv)(x)
            x = layers.BatchNormalization(name=f"{name}_bn{number}")(x)
            x = layers.Activation("relu", name=f"{name}_relu{number}")(x)
        else:
            x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=conv)(x)
    # Some course notes use stride 1 in the first pool, which makes all later layers four times as
    # much work.
    return layers.MaxPooling2D(2, strides=2, name=f"{name}_pool")(x)
