"""One stage of fine-tuning, and what the stages share."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from cnnkit._keras.compiling import renew_train_step
from cnnkit._keras.distribution import scope_of
from cnnkit._keras.fitting import set_first_epoch
from cnnkit._keras.graph import leaves_of
from cnnkit._keras.metric_names import lower_is_better
from cnnkit.transfer._data_checks import fit_arguments
from cnnkit.transfer._freezing import freeze, unfreeze
from cnnkit.transfer._resuming import callbacks_of_stage
from cnnkit.transfer._stage_on_features import cut_for, fit_on_features
from cnnkit.transfer._stage_rates import constant, decayed, one_cycle

_ACCURACY = re.compile(r"val_(\w+_)?acc(uracy)?$")


class BestWeights(keras.callbacks.Callback):
    """Keep the weights of the best epoch of several `fit` calls."""

    def __init__(self, monitor: str) -> None:
        super().__init__()
        self.monitor = monitor
        self.sign = 1.0 if lower_is_better(monitor) else -1.0
        self.best = float("inf")
        self.weights: Any = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        logs = logs or {}
        if self.monitor == "auto":
            self.monitor = next((name for name in logs if _ACCURACY.match(name)), "val_loss")
            self.sign = 1.0 if lower_is_better(self.monitor) else -1.0
        if self.monitor not in logs:
            msg = (
                f"`monitor` must be one of {', '.join(sorted(logs))}. "
                f"Received: monitor={self.monitor!r}."
            )
            raise ValueError(msg)
        value = self.sign * logs[self.monitor]
        if value <= self.best:
            self.best, self.weights = value, self.model.get_weights()

    def restore(self, model: keras.Model) -> None:
        if self.weights is not None:
            model.set_weights(self.weights)


class StagedHistory(keras.callbacks.History):
    """A History that continues over several `fit` calls and notes the stage of each epoch."""

    stage = ""

    def __init__(self) -> None:
        super().__init__()
        self.epoch: list[int] = []

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Keep the logs of earlier stages, which Keras's own method would delete."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        super().on_epoch_end(epoch, {**(logs or {}), "stage": self.stage})


@dataclass(frozen=True)
class Run:
    """What the stages of a run share.

    Attributes:
        model: The whole model.
        head: The layers of its head.
        train: Training data.
        validation: Validation data.
        batch_size: Images per batch.
        steps: Batches per epoch.
        cache: Whether to train the head on features, as in `fine_tune`.
        callbacks: The user's callbacks.
        verbose: As in `fit`.
        last_rate: The learning rate of the optimizer that the run leaves behind.
        best: Keeps the weights of the best epoch.
        history: Keeps the logs of all stages.
    """

    model: keras.Model
    head: Sequence[Any]
    train: Any
    validation: Any
    batch_size: int
    steps: int
    cache: bool | str
    callbacks: Sequence[keras.callbacks.Callback]
    verbose: str | int
    last_rate: float
    best: BestWeights
    history: StagedHistory


@dataclass(frozen=True)
class Stage:
    """What a stage of a run has of its own.

    Attributes:
        name: "head" or "all".
        initial_epoch: The number of its first epoch.
        epochs: How many epochs it has.
        learning_rate: Its peak learning rate.
        layer_decay: The factor of the rate from each block to the one before it.
    """

    name: str
    initial_epoch: int
    epochs: int
    learning_rate: float
    layer_decay: float = 1.0


def freeze_backbone(run: Run) -> None:
    """Freeze everything in front of the head."""
    freeze(run.model)
    # By their number: a layer of the backbone may have the name of one in the head.
    unfreeze(run.model, last=sum(1 for top in run.head for _ in leaves_of(top)), batch_norm=True)


def fit_stage(run: Run, stage: Stage) -> None:
    """Train what isn't frozen with a fresh optimizer, on features if that is possible."""
    _renew_optimizer(run, stage)
    run.history.stage = stage.name
    running: dict[str, Any] = {
        "initial_epoch": stage.initial_epoch,
        "epochs": stage.initial_epoch + stage.epochs,
        "callbacks": [*callbacks_of_stage(run.callbacks, stage.name), run.best, run.history],
        "verbose": run.verbose,
    }
    data = run.train, run.validation
    cut = cut_for(run.model, data, run.cache) if stage.name == "head" else None
    try:
        if cut is not None:
            fit_on_features(run.model, cut, *data, batch_size=run.batch_size, **running)
        else:
            options = fit_arguments(run.train, run.batch_size)
            run.model.fit(validation_data=run.validation, **options, **running)
    finally:
        set_first_epoch(run.model, None)


def _renew_optimizer(run: Run, stage: Stage) -> None:
    """Give the model a fresh optimizer, whose rate has one cycle over the steps of the stage."""
    with scope_of(run.model):
        optimizer = one_cycle(stage.learning_rate, run.steps * stage.epochs)
        optimizer = decayed(optimizer, run.model, run.head, stage.layer_decay)
        renew_train_step(run.model, optimizer, saved_as=constant(run.last_rate))


def keep_best(run: Run) -> None:
    """Restore the weights of the best epoch, and leave a stock optimizer behind."""
    run.best.restore(run.model)
    with scope_of(run.model):
        renew_train_step(run.model, keras.optimizers.Adam(run.last_rate))
