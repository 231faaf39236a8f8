"""Training the head of a model on features, as if the whole model were trained."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from cnnkit._keras.compiling import build_metrics, compile_like
from cnnkit._keras.distribution import scope_of
from cnnkit._keras.fitting import first_epoch, set_first_epoch
from cnnkit._keras.graph import functional, inputs_of
from cnnkit.transfer._data_checks import count_batches, fit_arguments
from cnnkit.transfer._features import cache_features, fixed_images, last_frozen
from cnnkit.transfer._splitting import split_model

_MOST_BYTES = 2**31  # of features: more are not kept unasked
_OF_TRAINING = ("train_step", "test_step", "compute_loss", "compute_metrics", "make_train_function")


def cut_for(model: keras.Model, data: Sequence[Any], cache: str | bool) -> str | None:
    """Return where a model is cut for a stage of training, or None to train it whole.

    Args:
        model: The model, with what doesn't train frozen.
        data: Training and validation data.
        cache: As in `fine_tune`.
    """
    if cache is False or _own_training(model):
        return None
    if cache is True:
        return last_frozen(model)
    counts = [_length(part) for part in data]
    try:
        at = last_frozen(model)
    except ValueError:
        return None
    shape = split_model(model, at)[0].output_shape[1:]
    if None in counts or None in shape:
        return None
    size = 4 * math.prod(shape) * sum(count or 0 for count in counts)
    return at if size <= _MOST_BYTES else None


def check_cache(model: keras.Model, cache: str | bool) -> None:
    """Raise a ValueError if a model can't be trained on features although `cache` asks for it."""
    own = _own_training(model)
    if cache is True and own:
        msg = (
            "`cache` must be False for a model with its own training step, because only a part of "
            f"it would be trained on features. Received: cache=True, with {type(model).__name__}"
            f".{own[0]}."
        )
        raise ValueError(msg)


def _own_training(model: keras.Model) -> list[str]:
    """Return the methods of Keras's training that a model's class overrides."""
    mine, plain = type(model), keras.Model
    return [
        name for name in _OF_TRAINING if getattr(mine, name, None) is not getattr(plain, name, None)
    ]


def _length(data: Any) -> int | None:
    """Return the number of images if they are the same in every epoch, or None."""
    if isinstance(data, tuple):
        return len(data[0])
    images = fixed_images(data)
    return None if images is None else len(images)


def fit_on_features(
    model: keras.Model,
    at: str,
    train: Any,
    validation: Any,
    *,
    batch_size: int,
    epochs: int,
    initial_epoch: int,
    callbacks: Sequence[keras.callbacks.Callback],
    verbose: str | int,
) -> None:
    """Do what `model.fit` does, but run everything before the cut only once.

    Callbacks see the whole model, whose optimizer is used.
    """
    features = [
        cache_features(model, data, at=at, fixed=True, batch_size=batch_size, progress=verbose != 0)
        for data in (train, validation)
    ]
    top = split_model(model, at)[1]
    with scope_of(model):
        compile_like(top, model, model.optimizer)
        # `EarlyStopping` and its like ask the whole model which way a metric is better.
        build_metrics(model, *_like_a_batch(model, features[0]))
    top.history = None  # `fit` returns it; the history is the whole model's
    model.stop_training = False
    whole = keras.callbacks.CallbackList(
        [*callbacks, _Handing(top)],
        add_progbar=verbose != 0,
        model=model,
        epochs=epochs,
        steps=count_batches(features[0], batch_size),
        verbose=1 if verbose == "auto" else verbose,
    )
    top.fit(
        validation_data=features[1],
        epochs=epochs,
        initial_epoch=initial_epoch,
        callbacks=whole,
        verbose=verbose,
        **fit_arguments(features[0], batch_size),
    )


def _like_a_batch(model: keras.Model, features: Any) -> tuple[Any, Any]:
    """Return symbolic tensors like one image of the whole model, and like its target."""
    # Not from a batch of a dataset, because reading one counts an epoch.
    targets = np.asarray(features[1]) if isinstance(features, tuple) else features.element_spec[1]
    images = keras.tree.map_structure(_one_of, inputs_of(functional(model)))
    return images, keras.tree.map_structure(_one_of, targets)


def _one_of(batch: Any) -> keras.KerasTensor:
    dtype = getattr(batch.dtype, "name", batch.dtype)
    return keras.KerasTensor((1, *batch.shape[1:]), dtype=dtype)


class _Handing(keras.callbacks.Callback):
    """Pass on to the part that is trained what callbacks tell the whole model."""

    def __init__(self, part: keras.Model) -> None:
        super().__init__()
        self.part = part

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        set_first_epoch(self.part, first_epoch(self.model))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self.part.stop_training = self.model.stop_training
