"""A learning rate for each part of a model.

Keras has none: `MultiOptimizer` keeps a rate for each optimizer, which every callback that sets
"the" rate overwrites (keras#21741). Here one rate is multiplied where it is used.
"""

from collections.abc import Mapping
from numbers import Real
from typing import Any

import keras

from cnnkit._keras.layerwise import NOT_ALONE, has_layerwise_rates, with_multipliers


def layerwise_learning_rates(
    optimizer: keras.optimizers.Optimizer, multipliers: Mapping[str, float]
) -> keras.optimizers.Optimizer:
    """Return an optimizer of the same kind and settings with a rate for each part of the model.

    Schedules, callbacks that set the rate, weight decay, clipping, averaging and loss scaling work
    as before: each layer's rate is the optimizer's, at any time, times its own multiplier.

    Args:
        optimizer: Any optimizer of Keras or a class derived from one; it isn't changed.
        multipliers: Multiplier of the rate by the name of a layer that trains; 1 where a layer
            isn't named. Of a layer that is made of others, the innermost that is named counts.
            `list_blocks` tells the layers of a block, `trainable_summary` which of
            them train.

    Returns:
        A fresh optimizer. A model that is saved with it needs `import cnnkit.transfer` before it is
        loaded, or `compile=False`.

    Raises:
        TypeError: If the optimizer has no rate of its own, as `LossScaleOptimizer`, or several
            already, or the multipliers are not in a dict.
        ValueError: If a multiplier is negative. At the first step, if a name belongs to no layer
            that trains.

    Example:
        >>> import keras
        >>> from cnnkit.models import vggnet
        >>> from cnnkit.transfer import layerwise_learning_rates, list_blocks
        >>> model = vggnet((32, 32, 3), depth=11)
        >>> early = sum(list_blocks(model)["layers"][:3], [])
        >>> optimizer = layerwise_learning_rates(
        ...     keras.optimizers.Adam(1e-3), {name: 0.1 for name in early if "conv" in name}
        ... )
        >>> model.compile(optimizer, loss="categorical_crossentropy")
    """
    kind = type(optimizer)
    is_one = isinstance(optimizer, keras.optimizers.Optimizer)
    if not is_one or has_layerwise_rates(optimizer) or kind.__name__ in NOT_ALONE:
        msg = (
            "`optimizer` must be a Keras optimizer with one learning rate of its own, as "
            f"keras.optimizers.Adam(1e-3). Received: {kind.__name__}."
        )
        raise TypeError(msg)
    if not isinstance(multipliers, Mapping):
        msg = (
            "`multipliers` must be a dict from names of layers to numbers. "
            f"Received: {type(multipliers).__name__}."
        )
        raise TypeError(msg)
    wrong = {name: factor for name, factor in multipliers.items() if not _multiplies(factor)}
    if wrong:
        msg = f"`multipliers` must be numbers of at least 0. Received: {wrong!r}."
        raise ValueError(msg)
    return with_multipliers(optimizer, multipliers)


def _multiplies(factor: Any) -> bool:
    return isinstance(factor, Real) and float(factor) >= 0
