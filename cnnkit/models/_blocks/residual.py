"""The blocks of ResNet: He et al., "Deep residual learning for image recognition", 2015,
arXiv:1512.03385, figure 5. The names, order and weights of the layers and the BatchNorm epsilon
match keras.applications.
"""

from collections.abc import Sequence
from string import ascii_lowercase
from typing import Any

from keras import layers

from cnnkit.models._blocks.ends import check_new_names, feature_maps

_LETTERS = {letter: place for place, letter in enumerate(ascii_lowercase, start=1)}
_EPSILON = 1.001e-5  # the weights of keras.applications were trained with it


def resnet_stem(x: Any, *, use_bias: bool = True) -> Any:
    """Add the first layers of a ResNet: a 7x7 convolution and a 3x3 pool, both with stride 2.

    Args:
        x: Images `(batch, height, width, channels)`.
        use_bias: If True, the convolution has a bias although BatchNorm follows, as in
            keras.applications. torchvision uses none.

    Returns:
        Feature maps `(batch, height / 4, width / 4, 64)`.

    Example:
        >>> import keras
        >>> from cnnkit.models import resnet_stem
        >>> resnet_stem(keras.Input((224, 224, 3))).shape
        (None, 56, 56, 64)
    """
    check_new_names(feature_maps(x), "conv1", "resnet_stem", "A network has one stem.")
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
        kernel_size: Kernel size of the middle convolution.
        filters: Filters of the three convolutions, for example `[64, 64, 256]`.
        stage: Number of the stage, for the layer names.
        block: Position in the stage, for the layer names: a letter from `"a"` or a number from 1.

    Returns:
        Feature maps of the same shape as `x`.

    Raises:
        ValueError: If `filters` does not hold three numbers, if `x` does not have `filters[2]`
            channels, or if an earlier block has the same stage and position.

    Example:
        >>> import keras
        >>> from cnnkit.models import identity_block
        >>> x = keras.Input((56, 56, 256))
        >>> identity_block(x, 3, [64, 64, 256], stage=2, block="b").shape
        (None, 56, 56, 256)
    """
    name = _new_block(x, filters, stage, block)
    if x.shape[-1] != filters[2]:
        msg = (
            "`filters[2]` must be the number of channels of `x`, because the shortcut is the "
            "identity. "
            f"Received: filters={list(filters)!r} and {x.shape[-1]} channels. Use `conv_block`."
        )
        raise ValueError(msg)
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
        kernel_size: Kernel size of the middle convolution.
        filters: Filters of the three convolutions, for example `[64, 64, 256]`.
        stage: Number of the stage, for the layer names.
        block: Position in the stage, for the layer names: a letter from `"a"` or a number from 1.
        strides: Strides of the first convolution and of the shortcut.

    Returns:
        Feature maps `(batch, height / strides, width / strides, filters[2])`.

    Raises:
        ValueError: If `filters` does not hold three numbers, or if an earlier block has the same
            stage and position.

    Example:
        >>> import keras
        >>> from cnnkit.models import conv_block
        >>> conv_block(keras.Input((56, 56, 256)), 3, [128, 128, 512], stage=3, block="a").shape
        (None, 28, 28, 512)
    """
    name = _new_block(x, filters, stage, block)
    shortcut = _conv_bn(x, filters[2], 1, f"{name}_0", strides=strides, use_bias=True)
    return _join(shortcut, _bottleneck(x, kernel_size, filters, name, strides), name)


def _new_block(x: Any, filters: Sequence[int], stage: int, block: str | int) -> str:
    """Return the name of a block, or raise an error if the block cannot follow `x`."""
    feature_maps(x)
    if not hasattr(filters, "__len__") or len(filters) != 3:
        msg = (
            "`filters` must be three numbers, one for each convolution of the block, for example "
            f"[64, 64, 256]. Received: filters={filters!r}."
        )
        raise ValueError(msg)
    name = _block_name(stage, block)
    check_new_names(x, name, "block", "Use the next letter or number.")
    return name


def _block_name(stage: int, block: str | int) -> str:
    number = _LETTERS.get(block, 0) if isinstance(block, str) else block
    if number < 1:
        msg = f"`block` must be a letter from 'a' or a number from 1. Received: block={block!r}."
        raise ValueError(msg)
    return f"conv{stage}_block{number}"


def cifar_stem(x: Any) -> Any:
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


def basic_block(x: Any, filters: int, strides: int, stage: int, block: int) -> Any:
    """Add two 3x3 convolutions without bias, as in torchvision (11,689,512 weights at depth 18)."""
    name, shortcut = _block_name(stage, block), x
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
    if kernel_size == 1:  # it makes no difference, but keras.applications writes "valid"
        padding = "valid"
    # The paper uses He initialization. A bias before BatchNorm has no effect, but
    # keras.applications has one, and so do its weight files.
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
