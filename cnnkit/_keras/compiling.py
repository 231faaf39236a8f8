"""The compile settings of a model, and its train step."""

from typing import Any

import keras

from cnnkit._keras.distribution import scope_of
from cnnkit._keras.optimizers import same_settings


def compiled_with(model: keras.Model) -> dict[str, Any]:
    """Return the arguments of `compile` that a model stores; changes are saved with the model."""
    # Keras 3.12 to 3.15. Without it: `model.get_compile_config()`, which restores losses and
    # metrics from their names, and so loses lambdas.
    config: dict[str, Any] = model._compile_config.config
    return config


def is_stale(model: keras.Model) -> bool:
    """Tell whether the optimizer was built for other weights than the ones that now train."""
    if not model.compiled or not model.optimizer.built:
        return False
    # Keras 3.12 to 3.15. Without it: the names of `optimizer.variables`, which contain those of the
    # weights.
    known = {id(weight) for weight in model.optimizer._trainable_variables}
    return known != {id(weight) for weight in model.trainable_variables}


def compile_like(part: keras.Model, model: keras.Model, optimizer: Any) -> None:
    """Compile a model with the losses and metrics of another one."""
    part.compile(**compiled_with(model) | {"optimizer": optimizer})


def build_metrics(model: keras.Model, inputs: Any, targets: Any) -> None:
    """Build the losses and metrics of a model for such inputs and targets, without any data.

    Callbacks ask the metrics whether higher or lower is better, and only built metrics know.
    """
    # Keras 3.12 to 3.15. Without it: `model.evaluate` on one batch of zeros.
    model._symbolic_build(data_batch=(inputs, targets))


def fresh_optimizer(model: keras.Model) -> Any:
    """Return a new optimizer of the same class and settings as the model's."""
    with scope_of(model):
        return same_settings(model.optimizer)


def renew_train_step(
    model: keras.Model, optimizer: Any, *, builds: bool = True, saved_as: Any = None
) -> None:
    """Give a compiled model a new optimizer and a train step that knows what is trainable.

    The optimizer is assigned, because `compile_from_config` can't restore lambda or local losses.

    Args:
        model: A compiled model.
        optimizer: The new optimizer.
        builds: If True, build the new optimizer if the old one was built.
        saved_as: The optimizer that `save` writes, by default the new one. It must have the same
            variables.
    """
    with scope_of(model):
        _renew(model, optimizer, builds, saved_as)


def _renew(model: keras.Model, optimizer: Any, builds: bool, saved_as: Any) -> None:
    was_built = builds and model.optimizer.built
    scaled = keras.optimizers.LossScaleOptimizer  # what mixed_float16 wraps around an optimizer
    if isinstance(model.optimizer, scaled) and not isinstance(optimizer, scaled):
        optimizer = scaled(optimizer)
        saved_as = saved_as and scaled(saved_as)
    model.optimizer = optimizer
    compiled_with(model)["optimizer"] = saved_as or optimizer
    # Keras makes them again. On JAX, all three know which weights train.
    model.train_function = model.test_function = model.predict_function = None
    if was_built:  # otherwise Keras warns when it loads the model
        optimizer.build(model.trainable_variables)
