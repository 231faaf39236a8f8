"""Layer-wise learning rates.

Keras has none. `MultiOptimizer` keeps a rate for each optimizer, but a callback that sets the
learning rate overwrites all of them (keras#21741). Here a single rate is multiplied where it is
used.
"""

from collections.abc import Mapping
from numbers import Real
from typing import Any

import keras

from cnnkit._keras.layerwise import NOT_ALONE, has_layerwise_rates, with_multipliers


def layerwise_learning_rates(
    optimizer: keras.optimizers.Optimizer, multipliers: Mapping[str, float]
) -> keras.optimizers.Optimizer:
    """Return an optimizer with the same settings and a separate learning rate for each layer.

    At any time, the rate of a layer is the optimizer's rate times the layer's multiplier. So
    schedules, callbacks that set the rate, weight decay, clipping, averaging and loss scaling work
    as before.

    Args:
        optimizer: A Keras optimizer, or one of a subclass. It isn't changed.
        multipliers: Multiplier of the rate, by the name of a layer that trains; 1 for layers that
            aren't named. If a layer contains other layers, the innermost name counts.
            `list_blocks` shows the layers of a block, and `trainable_summary` which of them train.

    Returns:
        A new optimizer. Before you load a model that was saved with it, `import cnnkit.transfer`,
        or load the model with `compile=False`.

    Raises:
        TypeError: If the optimizer has no rate of its own, such as `LossScaleOptimizer`, if it
            already has layer-wise rates, or if `multipliers` is not a dict.
        ValueError: If a multiplier is not a number of at least 0. At the first step, if a name
            belongs to no layer that trains.

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
            "`optimizer` must be a Keras optimizer with one learning rate of its own. "
            f"Received: {kind.__name__}. Pass, for example, keras.optimizers.Adam(1e-3)."
        )
        raise TypeError(msg)
    if not isinstance(multipliers, Mapping):
        msg = (
            "`multipliers` must be a dict that maps layer names to numbers. "
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
