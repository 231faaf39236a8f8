"""What a model is compiled with, and its train step."""

from typing import Any

import keras

from cnnkit._keras.distribution import scope_of
from cnnkit._keras.optimizers import same_settings


def compiled_with(model: keras.Model) -> dict[str, Any]:
    """Return the arguments of `compile` that a model keeps; what is set there is saved with it."""
    # Keras 3.12 to 3.15. Without it: `model.get_compile_config()`, which makes the losses and
    # metrics anew from their names, and so has no lambdas.
    config: dict[str, Any] = model._compile_config.config
    return config


def is_stale(model: keras.Model) -> bool:
    """Tell whether the optimizer was built for other weights than those that are trainable now."""
    if not model.compiled or not model.optimizer.built:
        return False
    # Keras 3.12 to 3.15. Without it: the names of `optimizer.variables`, which hold the weights'.
    known = {id(weight) for weight in model.optimizer._trainable_variables}
    return known != {id(weight) for weight in model.trainable_variables}


def compile_like(part: keras.Model, model: keras.Model, optimizer: Any) -> None:
    """Compile a model with the losses and metrics of another one."""
    part.compile(**compiled_with(model) | {"optimizer": optimizer})


def build_metrics(model: keras.Model, inputs: Any, targets: Any) -> None:
    """Build what a model is compiled with for such inputs and targets, without any data.

    Callbacks ask the metrics of a model which way is better, which only those that are built tell.
    """
    # Keras 3.12 to 3.15. Without it: `model.evaluate` on one batch of zeros.
    model._symbolic_build(data_batch=(inputs, targets))


def fresh_optimizer(model: keras.Model) -> Any:
    """Return an optimizer of the same kind and settings as the model's."""
    with scope_of(model):
        return same_settings(model.optimizer)


def renew_train_step(
    model: keras.Model, optimizer: Any, *, builds: bool = True, saved_as: Any = None
) -> None:
    """Give a compiled model a fresh optimizer and a train step that knows what is trainable.

    `compile_from_config` can't restore a lambda or local loss; assigning the optimizer keeps it.
    What `save` writes is a record of its own: this optimizer, or `saved_as`, which must have the
    same variables. In the place of one that is built it is built, too, if `builds`.
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
    # Keras makes them anew; on JAX, those that don't train know which weights do, too.
    model.train_function = model.test_function = model.predict_function = None
    if was_built:  # or Keras warns when it loads the saved model
        optimizer.build(model.trainable_variables)
