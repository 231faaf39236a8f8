"""ResNet: He et al., "Deep residual learning for image recognition", 2015, arXiv:1512.03385.
The tables follow table 1 of the paper.
"""

from collections.abc import Sequence
from os import PathLike
from typing import Any

import keras

from cnnkit._foundation.validation import check_one_of
from cnnkit._keras.layers import drop
from cnnkit.models._blocks.ends import (
    check_pooling,
    classify,
    image_input,
    pool,
    scaling_inside,
)
from cnnkit.models._blocks.residual import (
    basic_block,
    cifar_stem,
    conv_block,
    identity_block,
    resnet_stem,
)
from cnnkit.models._published import check_published, model_name, start_from

_BLOCKS = {  # depth: blocks in stages 2 to 5
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
_FILTERS = (64, 128, 256, 512)
_STEM_SIZES = {"imagenet": 32, "cifar": 8}


def resnet(
    input_shape: Sequence[int | None] = (224, 224, 3),
    n_classes: int = 10,
    *,
    depth: int = 50,
    stem: str = "imagenet",
    hidden_units: Sequence[int] = (),
    dropout: float = 0.0,
    include_top: bool = True,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    weights: str | PathLike[str] | None = None,
    mode: str = "none",
    name: str | None = None,
) -> keras.Model:
    """Build a ResNet.

    With depth 50, 101 and 152, the names, order and weights of the layers and the BatchNorm epsilon
    match `keras.applications`. This is the first version of ResNet, with the stride in the first
    1x1 convolution of a stage.

    Args:
        input_shape: `(height, width, channels)`, at least 32 pixels a side (8 with
            `stem="cifar"`); height and width may be None.
        n_classes: Number of classes, which is the number of units of the last layer.
        depth: 18 or 34 (two 3x3 convolutions per block), 50, 101 or 152 (bottleneck blocks).
        stem: `"imagenet"` divides height and width by 4 before the first block. `"cifar"` is a
            single 3x3 convolution that keeps them, for images of about 32 pixels.
        hidden_units: Units of the dense layers before the last one.
        dropout: Dropout rate after pooling and after each hidden layer. The paper uses none.
        include_top: If False, leave out the head: the model ends with the last feature maps.
        pooling: Global pooling with `include_top=False`: None, `"avg"` or `"max"`.
        classifier_activation: Activation of the last layer; None for logits.
        weights: None for random initialization; `"imagenet"` for the weights of
            keras.applications (depth 50, 101 or 152); or the path of a file for `load_weights`.
            The published head is loaded only with 1000 classes and no hidden units. The published
            weights need `mode="caffe"`.
        mode: Scaling mode of `cnnkit.preprocess.scale` that the network applies to its input;
            `"none"` if the images are scaled beforehand.
        name: Name of the model. By default `cnnkit_resnet50`, or `resnet50` with published
            weights.

    Returns:
        A functional model from `(batch, height, width, channels)` to `(batch, n_classes)`.

    Raises:
        ValueError: If the depth, stem, pooling or mode is unknown, the input is too small, or the
            weights belong to another network.

    Example:
        >>> from cnnkit.models import resnet
        >>> model = resnet(input_shape=(32, 32, 3), n_classes=5, depth=18, stem="cifar")
        >>> model.output_shape
        (None, 5)
    """
    check_one_of("depth", depth, tuple(_BLOCKS))
    check_one_of("stem", stem, tuple(_STEM_SIZES))
    check_pooling(pooling)
    check_published(
        weights,
        "published for depth 50, 101 and 152 with stem='imagenet'",
        available=depth >= 50 and stem == "imagenet",
        received=f"depth={depth}, stem={stem!r}",
        input_shape=input_shape,
    )
    inputs = image_input(input_shape, least_size=_STEM_SIZES[stem])
    x = scaling_inside(inputs, mode)
    # (batch, 56, 56, 64) at 224
    x = resnet_stem(x, use_bias=depth >= 50) if stem == "imagenet" else cifar_stem(x)
    for stage, (filters, blocks) in enumerate(zip(_FILTERS, _BLOCKS[depth], strict=True), start=2):
        x = _stage(x, depth, filters, blocks, stage)  # stage 5: (batch, 7, 7, 2048) at 224
    if include_top:
        x = drop(pool(x, "avg"), dropout, "avg_pool_dropout")
        x = classify(
            x,
            n_classes,
            hidden_units=hidden_units,
            dropout=dropout,
            classifier_activation=classifier_activation,
        )
    else:
        x = pool(x, pooling)
    architecture = f"ResNet{depth}"
    model = keras.Model(inputs, x, name=model_name(name, architecture, weights))
    whole = include_top and n_classes == 1000 and not hidden_units
    return start_from(model, weights, architecture, whole=whole)


def _stage(x: Any, depth: int, filters: int, blocks: int, stage: int) -> Any:
    """Add the blocks of one stage. All stages but the first halve height and width."""
    strides = 1 if stage == 2 else 2
    if depth < 50:
        for block in range(1, blocks + 1):
            x = basic_block(x, filters, strides if block == 1 else 1, stage, block)
        return x
    triple = (filters, filters, 4 * filters)
    x = conv_block(x, 3, triple, stage, 1, strides)
    for block in range(2, blocks + 1):
        x = identity_block(x, 3, triple, stage, block)
    return x
