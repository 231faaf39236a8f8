"""Optimizers made anew with the settings of another."""

from typing import Any

import keras

# What `exclude_from_weight_decay` sets, which no configuration tells. Keras 3.12 to 3.15; without
# it: the user names what is excluded anew.
_EXCLUDED = ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern")


def same_settings(optimizer: Any, kind: Any = None, **further: Any) -> Any:
    """Return a fresh optimizer of the same settings, of another class if one is given."""
    config = optimizer.get_config() | further
    config.pop("layer_factors", None)  # of layerwise rates: those of what has trained so far
    fresh = (kind or type(optimizer)).from_config(config)
    for name in _EXCLUDED:
        if hasattr(inner_of(optimizer), name):
            setattr(inner_of(fresh), name, getattr(inner_of(optimizer), name))
    return fresh


def inner_of(optimizer: Any) -> Any:
    """Return the optimizer that has the rate: with mixed_float16 another is around it."""
    is_scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    return optimizer.inner_optimizer if is_scaled else optimizer
