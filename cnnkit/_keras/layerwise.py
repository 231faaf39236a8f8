"""Optimizers that multiply their learning rate by a factor for each variable.

A subclass of the user's optimizer class intercepts the update of each variable. Some of the methods
that it overrides or calls are private; Keras 3.12 to 3.15 has them. Without `_apply_weight_decay`
and `_get_current_learning_rate`, weight decay would use the optimizer's own rate in all layers.
Without `_get_variable_index`, variables would be counted by their paths.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import keras

from cnnkit._keras.optimizers import same_settings

NOT_ALONE = ("Optimizer", "LossScaleOptimizer", "MultiOptimizer")  # they have no rate of their own


def with_multipliers(
    optimizer: keras.optimizers.Optimizer, multipliers: Mapping[str, float]
) -> keras.optimizers.Optimizer:
    """Return an optimizer with the same settings that multiplies its rate by the layer's name."""
    return same_settings(optimizer, _layerwise_kind(type(optimizer)), multipliers=dict(multipliers))


def with_factors(
    optimizer: keras.optimizers.Optimizer, factors: Sequence[float]
) -> keras.optimizers.Optimizer:
    """Return an optimizer with a multiplier of the rate for each trainable variable, in order."""
    layerwise = same_settings(optimizer, _layerwise_kind(type(optimizer)), multipliers={})
    layerwise._factors = list(factors)
    return layerwise


def has_layerwise_rates(optimizer: Any) -> bool:
    """Tell whether an optimizer already has layer-wise rates."""
    return isinstance(optimizer, _Layerwise)


def _layerwise_kind(kind: type) -> Any:
    is_keras = kind.__module__.startswith("keras.")  # the PyTorch backend reuses the names
    return _LAYERWISE[kind.__name__] if is_keras else _layerwise(kind)


class _Layerwise:
    """A mixin that is put in front of an optimizer's class."""

    _factor = 1.0  # multiplies the current rate

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
        """Return the multiplier of the innermost named layer that contains a variable."""
        named = [name for name in _layers_of(variable) if name in self.multipliers]
        return self.multipliers[named[-1]] if named else 1.0

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()  # type: ignore[misc]
        # In a loaded model, Keras leaves some names out: those of wrappers and of nested
        # Sequential models.
        return config | {"multipliers": self.multipliers, "layer_factors": self._factors}

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        factor = self._factor_of(variable)
        super().update_step(gradient, variable, learning_rate * factor)  # type: ignore[misc]

    def _factor_of(self, variable: Any) -> float:
        factors: Any = self._factors
        # Keras 3.12 to 3.15, see above.
        return float(factors[self._get_variable_index(variable)])  # type: ignore[attr-defined]

    def _apply_weight_decay(self, variables: Any) -> None:
        for variable in variables:
            self._factor = self._factor_of(variable)
            # Keras 3.12 to 3.15, see above.
            super()._apply_weight_decay([variable])  # type: ignore[misc]
        self._factor = 1.0

    def _get_current_learning_rate(self) -> Any:
        # Keras 3.12 to 3.15, see above.
        rate = super()._get_current_learning_rate()  # type: ignore[misc]
        return rate if self._factor == 1 else rate * self._factor


def _layers_of(variable: Any) -> list[str]:
    """Return the names of the layers that contain a variable, from the outside in."""
    return str(variable.path).split("/")[:-1]


def _layerwise(kind: type) -> Any:
    return type(f"Layerwise{kind.__name__}", (_Layerwise, kind), {"__module__": __name__})


# Registered, so that a model saved during training can be loaded and trained further.
_LAYERWISE = {
    name: keras.saving.register_keras_serializable("cnnkit")(_layerwise(kind))
    for name, kind in vars(keras.optimizers).items()
    if isinstance(kind, type)
    and issubclass(kind, keras.optimizers.Optimizer)
    and name not in NOT_ALONE
}
