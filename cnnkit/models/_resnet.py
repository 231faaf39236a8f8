"""ResNet: He et al., "Deep residual learning for image recognition", 2015, arXiv:1512.03385.
The tables are the paper's table 1, the blocks its figure 5.
"""

from collections.abc import Sequence
from string import ascii_lowercase
from typing import Any

import keras
from keras import layers

from cnnkit._validation import check_one_of
from cnnkit.models._ends import classify, drop, image_input, pool, scaling_inside

_BLOCKS = {  # depth: blocks in stages 2 to 5
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
_FILTERS = (64, 128, 256, 512)
_STEM_SIZES = {"imagenet": 32, "cifar": 8}
_LETTERS = {letter: place for place, letter in enumerate(ascii_lowercase, start=1)}
_EPSILON = 1.001e-5  # of keras.applications, whose weights were trained with it


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
    mode: str = "none",
    name: str | None = None,
) -> keras.Model:
    """Build a ResNet.

    Layer names, order, weights and BatchNorm epsilon of depths 50, 101 and 152 are those of
    `keras.applications`: the first version, with the stride in a stage's first 1x1 convolution.

    Args:
        input_shape: `(height, width, channels)`, at least 32 pixels a side (8 with
            `stem="cifar"`); height and width may be None.
        n_classes: Number of classes, the units of the last layer.
        depth: 18 or 34 (two 3x3 convolutions a block), 50, 101 or 152 (bottleneck blocks).
        stem: `"imagenet"` quarters the image before the first block; `"cifar"`, one 3x3
            convolution, keeps its size, for images of about 32 pixels.
        hidden_units: Units of dense layers before the classes.
        dropout: Rate after pooling and after each hidden layer. The paper has none.
        include_top: If False, end with the last feature maps.
        pooling: For `include_top=False`: None, `"avg"` or `"max"`.
        classifier_activation: Activation of the last layer; None for logits.
        mode: Scaling inside the network, a mode of `cnnkit.preprocess.scale`; `"none"` if the
            data is scaled outside.
        name: Name of the model, `cnnkit_resnet50` by default.

    Returns:
        A functional model from `(batch, height, width, channels)` to `(batch, n_classes)`.

    Raises:
        ValueError: If the depth, stem, pooling or mode is unknown, or the input is too small.

    Example:
        >>> from cnnkit.models import resnet
        >>> model = resnet(input_shape=(32, 32, 3), n_classes=5, depth=18, stem="cifar")
        >>> model.output_shape
        (None, 5)
    """
    check_one_of("depth", depth, tuple(_BLOCKS))
    check_one_of("stem", stem, tuple(_STEM_SIZES))
    inputs = image_input(input_shape, least_size=_STEM_SIZES[stem])
    x = scaling_inside(inputs, mode)
    # (batch, 56, 56, 64) at 224
    x = resnet_stem(x, use_bias=depth >= 50) if stem == "imagenet" else _cifar_stem(x)
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
    return keras.Model(inputs, x, name=name or f"cnnkit_resnet{depth}")


def resnet_stem(x: Any, *, use_bias: bool = True) -> Any:
    """Start a ResNet: a 7x7 convolution and a 3x3 pool, each of stride 2.

    Args:
        x: Images `(batch, height, width, channels)`.
        use_bias: If True, as in keras.applications, the convolution has a bias although
            BatchNorm follows; torchvision's has none.

    Returns:
        Feature maps `(batch, height / 4, width / 4, 64)`.

    Example:
        >>> import keras
        >>> from cnnkit.models import resnet_stem
        >>> resnet_stem(keras.Input((224, 224, 3))).shape
        (None, 56, 56, 64)
    """
    x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = _conv_bn(x, 64, 7, "conv1", strides=2, padding="valid", use_bias=use_bias)
    x = layers.Activation("relu", name="conv1_relu")(x)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    return layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)


def identity_block(
    x: Any, kernel_size: int, filters: Sequence[int], stage: int, block: str | int
) -> Any:
    """Add a bottleneck block whose shortcut is the identity.

    Args:
        x: Feature maps `(batch, height, width, filters[2])`.
        kernel_size: Size of the middle convolution.
        filters: Filters of the three convolutions, for example `[64, 64, 256]`.
        stage: Number of the stage, for the layers' names.
        block: Place in the stage, a letter from `"a"` or a number from 1, for the layers' names.

    Returns:
        Feature maps of the shape of `x`.

    Raises:
        ValueError: If `filters` are not three or the channels of `x` are not `filters[2]`.

    Example:
        >>> import keras
        >>> from cnnkit.models import identity_block
        >>> x = keras.Input((56, 56, 256))
        >>> identity_block(x, 3, [64, 64, 256], stage=2, block="b").shape
        (None, 56, 56, 256)
    """
    _check_triple(filters)
    if x.shape[-1] != filters[2]:
        msg = (
            "`filters[2]` must be the channels of `x`, because the shortcut is added as it is. "
            f"Received: filters={list(filters)!r} and {x.shape[-1]} channels. Use `conv_block`."
        )
        raise ValueError(msg)
    name = _block_name(stage, block)
    return _join(x, _bottleneck(x, kernel_size, filters, name), name)


def conv_block(
    x: Any,
    kernel_size: int,
    filters: Sequence[int],
    stage: int,
    block: str | int,
    strides: int | Sequence[int] = (2, 2),
) -> Any:
    """Add a bottleneck block whose shortcut is a 1x1 convolution.

    Args:
        x: Feature maps `(batch, height, width, channels)`.
        kernel_size: Size of the middle convolution.
        filters: Filters of the three convolutions, for example `[64, 64, 256]`.
        stage: Number of the stage, for the layers' names.
        block: Place in the stage, a letter from `"a"` or a number from 1, for the layers' names.
        strides: Strides of the first convolution and of the shortcut.

    Returns:
        Feature maps `(batch, height / strides, width / strides, filters[2])`.

    Raises:
        ValueError: If `filters` are not three.

    Example:
        >>> import keras
        >>> from cnnkit.models import conv_block
        >>> conv_block(keras.Input((56, 56, 256)), 3, [128, 128, 512], stage=3, block="a").shape
        (None, 28, 28, 512)
    """
    _check_triple(filters)
    name = _block_name(stage, block)
    shortcut = _conv_bn(x, filters[2], 1, f"{name}_0", strides=strides, use_bias=True)
    return _join(shortcut, _bottleneck(x, kernel_size, filters, name, strides), name)


def _check_triple(filters: Sequence[int]) -> None:
    if not hasattr(filters, "__len__") or len(filters) != 3:
        msg = (
            "`filters` must be three numbers, those of the block's convolutions, for example "
            f"[64, 64, 256]. Received: filters={filters!r}."
        )
        raise ValueError(msg)


def _block_name(stage: int, block: str | int) -> str:
    number = _LETTERS.get(block, 0) if isinstance(block, str) else block
    if number < 1:
        msg = f"`block` must be a letter from 'a' or a number from 1. Received: block={block!r}."
        raise ValueError(msg)
    return f"conv{stage}_block{number}"


def _stage(x: Any, depth: int, filters: int, blocks: int, stage: int) -> Any:
    """Add the blocks of one resolution; all stages but the first halve height and width."""
    strides = 1 if stage == 2 else 2
    if depth < 50:
        for block in range(1, blocks + 1):
            x = _basic_block(x, filters, strides if block == 1 else 1, _block_name(stage, block))
        return x
    triple = (filters, filters, 4 * filters)
    x = conv_block(x, 3, triple, stage, 1, strides)
    for block in range(2, blocks + 1):
        x = identity_block(x, 3, triple, stage, block)
    return x


def _cifar_stem(x: Any) -> Any:
    x = _conv_bn(x, 64, 3, "conv1")
    return layers.Activation("relu", name="conv1_relu")(x)


def _bottleneck(
    x: Any, kernel_size: int, filters: Sequence[int], name: str, strides: int | Sequence[int] = 1
) -> Any:
    x = _conv_bn(x, filters[0], 1, f"{name}_1", strides=strides, use_bias=True)
    x = layers.Activation("relu", name=f"{name}_1_relu")(x)
    x = _conv_bn(x, filters[1], kernel_size, f"{name}_2", use_bias=True)
    x = layers.Activation("relu", name=f"{name}_2_relu")(x)
    return _conv_bn(x, filters[2], 1, f"{name}_3", use_bias=True)


def _basic_block(x: Any, filters: int, strides: int, name: str) -> Any:
    """Two 3x3 convolutions, without bias: torchvision's counts, 11,689,512 for depth 18."""
    shortcut = x
    if strides != 1 or x.shape[-1] != filters:
        shortcut = _conv_bn(x, filters, 1, f"{name}_0", strides=strides)
    y = _conv_bn(x, filters, 3, f"{name}_1", strides=strides)
    y = layers.Activation("relu", name=f"{name}_1_relu")(y)
    return _join(shortcut, _conv_bn(y, filters, 3, f"{name}_2"), name)


def _join(shortcut: Any, x: Any, name: str) -> Any:
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.Activation("relu", name=f"{name}_out")(x)


def _conv_bn(
    x: Any,
    filters: int,
    kernel_size: int,
    name: str,
    *,
    strides: int | Sequence[int] = 1,
    padding: str = "same",
    use_bias: bool = False,
) -> Any:
    # He initialization is the paper's. A bias in front of BatchNorm does nothing, but
    # keras.applications has it, and so have its weight files.
    x = layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=use_bias,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_bn")(x)
