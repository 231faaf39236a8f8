"""A learning rate for each part of a model.

Keras has none: `MultiOptimizer` keeps a rate for each optimizer, which every callback that sets
"the" rate overwrites (keras#21741). Here one rate is multiplied where it is used.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from numbers import Real
from typing import Any

import keras

from cnnkit.transfer._optimizers import same_settings

_NOT_ALONE = ("Optimizer", "LossScaleOptimizer", "MultiOptimizer")  # they have no rate of their own


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
    if not is_one or isinstance(optimizer, _Layerwise) or kind.__name__ in _NOT_ALONE:
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
    return same_settings(optimizer, _layerwise_kind(kind), multipliers=dict(multipliers))


def with_factors(
    optimizer: keras.optimizers.Optimizer, factors: Sequence[float]
) -> keras.optimizers.Optimizer:
    """Return an optimizer with a multiplier of the rate for each variable that trains, in order."""
    layerwise = same_settings(optimizer, _layerwise_kind(type(optimizer)), multipliers={})
    layerwise._factors = list(factors)
    return layerwise


def _layerwise_kind(kind: type) -> Any:
    is_keras = kind.__module__.startswith("keras.")  # PyTorch's backend has twins of these names
    return _LAYERWISE[kind.__name__] if is_keras else _layerwise(kind)


def _multiplies(factor: Any) -> bool:
    return isinstance(factor, Real) and float(factor) >= 0


class _Layerwise:
    """What is put in front of an optimizer's class."""

    _factor = 1.0  # of the rate that is being used

    def __init__(
        self,
        *args: Any,
        multipliers: Mapping[str, float],
        layer_factors: Sequence[float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.multipliers = dict(multipliers)
        self._factors = None if layer_factors is None else list(layer_factors)

    def build(self, variables: Sequence[Any]) -> None:
        layers = {name for variable in variables for name in _layers_of(variable)}
        unknown = [name for name in self.multipliers if name not in layers]
        is_known = self._factors is not None and len(self._factors) == len(variables)
        if unknown and not is_known:
            near = get_close_matches(unknown[0], layers, n=3)
            msg = (
                f"`multipliers` must name layers that train. Received: {unknown!r}. "
                f"The closest: {', '.join(near) or 'none'}. Leave frozen layers out, or freeze "
                "before the optimizer is made."
            )
            raise ValueError(msg)
        if not is_known or (self.multipliers and not unknown):
            self._factors = [self._multiplier_of(variable) for variable in variables]
        super().build(variables)  # type: ignore[misc]  # the next class is an optimizer

    def _multiplier_of(self, variable: Any) -> float:
        """Return the multiplier of the innermost layer around a variable that is named."""
        named = [name for name in _layers_of(variable) if name in self.multipliers]
        return self.multipliers[named[-1]] if named else 1.0

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()  # type: ignore[misc]
        # Of a model that is loaded, Keras leaves some names out: of what wraps a layer, and of a
        # Sequential inside.
        return config | {"multipliers": self.multipliers, "layer_factors": self._factors}

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        factor = self._factor_of(variable)
        super().update_step(gradient, variable, learning_rate * factor)  # type: ignore[misc]

    def _factor_of(self, variable: Any) -> float:
        factors: Any = self._factors
        return float(factors[self._get_variable_index(variable)])  # type: ignore[attr-defined]

    def _apply_weight_decay(self, variables: Any) -> None:
        for variable in variables:
            self._factor = self._factor_of(variable)
            super()._apply_weight_decay([variable])  # type: ignore[misc]
        self._factor = 1.0

    def _get_current_learning_rate(self) -> Any:
        rate = super()._get_current_learning_rate()  # type: ignore[misc]
        return rate if self._factor == 1 else rate * self._factor


def _layers_of(variable: Any) -> list[str]:
    """Return the names of the layers that a variable lies in, from the outside in."""
    return str(variable.path).split("/")[:-1]


def _layerwise(kind: type) -> Any:
    return type(f"Layerwise{kind.__name__}", (_Layerwise, kind), {"__module__": __name__})


# Registered, so that a model saved in mid-training can be loaded and goes on.
_LAYERWISE = {
    name: keras.saving.register_keras_serializable("cnnkit")(_layerwise(kind))
    for name, kind in vars(keras.optimizers).items()
    if isinstance(kind, type)
    and issubclass(kind, keras.optimizers.Optimizer)
    and name not in _NOT_ALONE
}
