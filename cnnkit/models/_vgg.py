"""VGG: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image
recognition", 2015, arXiv:1409.1556. The table is the paper's table 1, columns A, B, D and E.
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

    Layer names, order and weights are those of `keras.applications.VGG16` and `VGG19`.

    Args:
        input_shape: `(height, width, channels)`, at least 32 pixels a side; height and width may
            be None.
        n_classes: Number of classes, the units of the last layer.
        depth: Layers with weights in the paper's network: 11, 13, 16 or 19.
        head: `"pooled"` averages the last feature maps; `"paper"` flattens them and adds two
            layers of 4096 units. The paper's head at 1000 classes holds 124 of 138 million
            parameters.
        hidden_units: Units of dense layers between a pooled head and the classes.
        dropout: Rate after pooling and after each hidden layer; 0 leaves the layers out, as
            keras.applications does.
        batch_norm: If True, normalize after each convolution. The paper has none; it makes
            training from scratch far easier.
        include_top: If False, end with the last feature maps.
        pooling: For `include_top=False`: None, `"avg"` or `"max"`.
        classifier_activation: Activation of the last layer; None for logits.
        weights: None for fresh ones; `"imagenet"` for those that keras.applications downloads
            (depth 16 or 19, no BatchNorm), with the head only where it is theirs: the paper's at
            224x224 with 1000 classes; or a file for `load_weights`. The published ones want
            `mode="caffe"`.
        mode: Scaling inside the network, a mode of `cnnkit.preprocess.scale`; `"none"` if the
            data is scaled outside.
        name: Name of the model, `cnnkit_vgg16` by default, or `vgg16` with the published weights.

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
            "`hidden_units` are for head='pooled'; the paper's head has two layers of 4096. "
            f"Received: hidden_units={hidden_units!r}."
        )
        raise ValueError(msg)
    if include_top and None in input_shape:
        msg = (
            "`input_shape` must give height and width for head='paper', whose first layer has a "
            f"weight for each place. Received: input_shape={input_shape!r}. Use head='pooled'."
        )
        raise ValueError(msg)


def _block(x: Any, filters: int, convolutions: int, batch_norm: bool, name: str) -> Any:
    """Convolve some times, then halve height and width."""
    for number in range(1, convolutions + 1):
        conv = f"{name}_conv{number}"
        if batch_norm:
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=conv)(x)
            x = layers.BatchNormalization(name=f"{name}_bn{number}")(x)
            x = layers.Activation("relu", name=f"{name}_relu{number}")(x)
        else:
            x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=conv)(x)
    # Course notes have a first pool of stride 1: it quadruples the work of every later layer.
    return layers.MaxPooling2D(2, strides=2, name=f"{name}_pool")(x)
