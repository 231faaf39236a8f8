"""New optimizers with the settings of another one."""

from typing import Any

import keras

# Set by `exclude_from_weight_decay` and missing from the configuration. Keras 3.12 to 3.15; without
# it: users exclude their variables again.
_EXCLUDED = ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern")


def same_settings(optimizer: Any, kind: Any = None, **further: Any) -> Any:
    """Return a new optimizer with the same settings, of another class if one is given."""
    config = optimizer.get_config() | further
    config.pop("layer_factors", None)  # they belong to the variables trained so far
    fresh = (kind or type(optimizer)).from_config(config)
    for name in _EXCLUDED:
        if hasattr(inner_of(optimizer), name):
            setattr(inner_of(fresh), name, getattr(inner_of(optimizer), name))
    return fresh


def inner_of(optimizer: Any) -> Any:
    """Return the optimizer that has the learning rate; mixed_float16 wraps another around it."""
    is_scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    return optimizer.inner_optimizer if is_scaled else optimizer
