"""Models that are trained on several devices or in several processes.

On TensorFlow a model belongs to the strategy in whose scope it was created. On JAX a distribution
is set for the whole program. Neither TensorFlow nor Keras is imported before there is a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

Forward = Callable[[Any], NDArray[Any]]


def scope_of(model: Any) -> AbstractContextManager[Any]:
    """Return the scope in which a model was created, for creating variables that go with it."""
    strategy = _strategy_of(model)
    scope: AbstractContextManager[Any] = nullcontext() if strategy is None else strategy.scope()
    return scope


@contextmanager
def forward(model: Any) -> Iterator[Forward]:
    """Yield a function that returns the outputs for a batch of images, in their order.

    `predict_on_batch` isn't enough on several devices. With a MirroredStrategy it returns every row
    once for each replica. With a JAX distribution each process has its own images, whose number may
    differ, but gets the outputs of all processes. So each process then uses a copy of the model on
    its first device.
    """
    import keras

    run = model.predict_on_batch
    if _replicas(model) > 1:
        run = _by_replicas(model)
    distribution = keras.distribution.distribution()
    try:
        if distribution is not None:
            weights = model.get_weights()
            keras.distribution.set_distribution(None)
            copy = keras.models.clone_model(model)
            copy.set_weights(weights)
            run = copy.predict_on_batch
        yield lambda images: np.asarray(run(images))
    finally:
        if distribution is not None:
            keras.distribution.set_distribution(distribution)


def check_distribution(model: Any) -> None:
    """Raise a ValueError for settings that `fit` on TensorFlow can't use on several devices."""
    if _replicas(model) == 1:
        return
    is_outside = _strategy_of(model) is None
    outside = [x.path for x in model.weights if not hasattr(x.value, "distribute_strategy")]
    if is_outside or outside:
        what = "one" if is_outside else f"a model with {outside[0]!r}"
        msg = (
            "`model` and its backbone must be made in the scope of the strategy. "
            f"Received: {what} that was made outside. Build or load it in `with strategy.scope():`."
        )
        raise ValueError(msg)
    settings = {
        "steps_per_execution": model.steps_per_execution > 1,
        "jit_compile": model.jit_compile,
        "gradient_accumulation_steps": model.optimizer.gradient_accumulation_steps,
    }
    wrong = [name for name, is_set in settings.items() if is_set]
    if wrong:
        msg = (
            "`model` must be compiled with settings that Keras supports on several devices. "
            f"Received: {wrong[0]}={getattr(model, wrong[0], settings[wrong[0]])!r}. Leave it out."
        )
        raise ValueError(msg)


def check_batches(model: Any, name: str, batch_size: int, images: int | None) -> None:
    """Raise a ValueError for batches that several devices can't share, on TensorFlow.

    If the batch size isn't divisible, Keras fails with an error about shapes. If the last batch
    leaves a device without an image, the process is killed.
    """
    devices = _replicas(model)
    last = (images or 0) % batch_size
    if batch_size % devices or 0 < last < devices:
        msg = (
            f"`{name}` must have batches that {devices} devices can share: in equal parts, and "
            f"with an image for each in the last. Received: batches of {batch_size} images"
            f"{f', the last of {last}' if last else ''}. Choose another batch_size."
        )
        raise ValueError(msg)


def _strategy_of(model: Any) -> Any:
    """Return the strategy in whose scope a model was created, or None."""
    # Keras 3.12 to 3.15. The public attribute depends on the scope in which it is read.
    # Without it: the `distribute_strategy` of the model's first variable.
    return getattr(model, "_distribute_strategy", None)


def _replicas(model: Any) -> int:
    """Return the number of devices that share a batch, from the model's or the current strategy."""
    strategy = getattr(model, "distribute_strategy", None)
    return 1 if strategy is None else int(strategy.num_replicas_in_sync)


def _by_replicas(model: Any) -> Forward:
    """Return a function that gives every device the same number of images, at least one."""

    def run(images: Any) -> Any:
        missing = -len(images) % _replicas(model)
        whole = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
        return model.predict(whole, batch_size=len(whole), verbose=0)[: len(images)]

    return run
