"""The inception module: Szegedy et al., "Going deeper with convolutions", 2014, figure 2b."""

from functools import partial
from typing import Any, NamedTuple

from keras import layers

from cnnkit.models._blocks.ends import check_new_names, feature_maps


class Inception(NamedTuple):
    """One row of table 1: the filters of each branch."""

    filters_1x1: int
    filters_3x3_reduce: int
    filters_3x3: int
    filters_5x5_reduce: int
    filters_5x5: int
    filters_pool_reduce: int


class Variant(NamedTuple):
    """The settings in which the variants differ.

    Attributes:
        epsilon: Epsilon of the BatchNorm after each convolution; None for a bias and no BatchNorm.
        fives: Kernel size in the "5x5" branch.
        last_pool: Window size of the pool before stage 5.
        torch_padding: If True, pad as PyTorch does, which differs for odd heights and widths.
    """

    epsilon: float | None = None
    fives: int = 5
    last_pool: int = 3
    torch_padding: bool = False


VARIANTS = {
    "paper": Variant(),
    "batch_norm": Variant(epsilon=1e-3),
    "torchvision": Variant(epsilon=1e-3, fives=3, last_pool=2, torch_padding=True),
}


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
    """Add an inception module: four parallel branches whose outputs are concatenated.

    Args:
        x: Feature maps `(batch, height, width, channels)`.
        filters_1x1: Filters of the 1x1 branch.
        filters_3x3_reduce: Filters of the 1x1 convolution before the 3x3 one.
        filters_3x3: Filters of the 3x3 convolution.
        filters_5x5_reduce: Filters of the 1x1 convolution before the 5x5 one.
        filters_5x5: Filters of the 5x5 convolution.
        filters_pool_reduce: Filters of the 1x1 convolution after the 3x3 pool.
        name: Name of the concatenation layer, and prefix of the other layer names.

    Returns:
        Feature maps `(batch, height, width, filters_1x1 + filters_3x3 + filters_5x5 +
        filters_pool_reduce)`.

    Raises:
        ValueError: If `x` does not hold feature maps, or an earlier module has the same name.

    Example:
        >>> import keras
        >>> from cnnkit.models import inception_module
        >>> x = keras.Input((28, 28, 192))
        >>> inception_module(x, 64, 96, 128, 16, 32, 32, name="inception_3a").shape
        (None, 28, 28, 256)
    """
    if name is not None:
        check_new_names(feature_maps(x), name, "name", "Choose another name.")
    filters = Inception(
        filters_1x1,
        filters_3x3_reduce,
        filters_3x3,
        filters_5x5_reduce,
        filters_5x5,
        filters_pool_reduce,
    )
    return branches(feature_maps(x), filters, name, VARIANTS["paper"])


def branches(x: Any, filters: Inception, name: str | None, kind: Variant) -> Any:
    def conv(x: Any, filters: int, kernel_size: int, branch: str) -> Any:
        return convolution(x, filters, kernel_size, f"{name}_{branch}" if name else None, kind)

    ones = conv(x, filters.filters_1x1, 1, "1x1")
    threes = conv(x, filters.filters_3x3_reduce, 1, "3x3_reduce")
    threes = conv(threes, filters.filters_3x3, 3, "3x3")
    fives = conv(x, filters.filters_5x5_reduce, 1, "5x5_reduce")
    fives = conv(fives, filters.filters_5x5, kind.fives, "5x5")
    pool_name = f"{name}_pool" if name else None
    pooled = layers.MaxPooling2D(3, strides=1, padding="same", name=pool_name)(x)
    pooled = conv(pooled, filters.filters_pool_reduce, 1, "pool_proj")
    return layers.Concatenate(name=name)([ones, threes, fives, pooled])


def convolution(
    x: Any,
    filters: int,
    kernel_size: int,
    name: str | None,
    kind: Variant,
    strides: int = 1,
    padding: str = "same",
) -> Any:
    layer = partial(
        layers.Conv2D, filters, kernel_size, strides=strides, padding=padding, name=name
    )
    if kind.epsilon is None:
        return layer(activation="relu")(x)
    x = layer(use_bias=False)(x)
    bn, relu = (f"{name}_{step}" if name else None for step in ("bn", "relu"))
    x = layers.BatchNormalization(epsilon=kind.epsilon, name=bn)(x)
    return layers.Activation("relu", name=relu)(x)
