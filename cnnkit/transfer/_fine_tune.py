"""The five steps of fine-tuning as one call."""

from collections.abc import Sequence
from typing import Any

import keras

from cnnkit._foundation.validation import check_one_of, check_whole_number
from cnnkit._keras.distribution import check_distribution
from cnnkit._keras.graph import functional
from cnnkit.transfer._classifier import HEAD
from cnnkit.transfer._data_checks import (
    batch_size_of,
    check_data,
    check_same_classes,
    count_batches,
)
from cnnkit.transfer._freezing import unfreeze
from cnnkit.transfer._resuming import has_backup
from cnnkit.transfer._stage_on_features import check_cache
from cnnkit.transfer._stages import (
    BestWeights,
    Run,
    Stage,
    StagedHistory,
    fit_stage,
    freeze_backbone,
    keep_best,
)


def fine_tune(
    model: keras.Model,
    train: Any,
    validation: Any,
    *,
    head_epochs: int,
    epochs: int,
    head: str | None = None,
    head_learning_rate: float = 1e-2,
    learning_rate: float = 3e-3,
    layer_decay: float = 0.8,
    cache: bool | str = "auto",
    batch_size: int = 32,
    monitor: str = "auto",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
) -> keras.callbacks.History:
    """Train a new head on a frozen backbone, then the whole model, and keep the best weights.

    In the first stage, everything before the head is frozen, and the head is trained. In the second
    stage, the backbone is unfrozen, except for BatchNormalization that has been trained, and the
    whole model is trained with learning rates that decrease from the head toward the input (Howard
    & Ruder, "Universal Language Model Fine-tuning", 2018, arXiv:1801.06146). Each stage uses an
    Adam optimizer whose learning rate rises and falls once (Smith, "Super-convergence", 2018,
    arXiv:1708.07120). At the end, or if training is interrupted, the weights of the best epoch of
    both stages are restored.

    Args:
        model: A compiled classifier, for example from `build_classifier`. Its loss and metrics are
            kept.
        train: Arrays `(images, targets)`, or a dataset or PyDataset of known length. A dataset
            must be shuffled; there is a warning if its first batch has only one class.
        validation: Validation data in one of the same forms.
        head_epochs: Epochs of the first stage.
        epochs: Epochs of the second stage; 0 trains the head only.
        head: Name of the first layer of the head; not needed after `build_classifier`.
        head_learning_rate: Peak rate of the first stage.
        learning_rate: Peak rate of the head in the second stage. If the history shows that the
            second stage ends worse than the first, lower it to 3e-4.
        layer_decay: Factor of the learning rate from the head to the last block of the backbone,
            and from each block to the one before it (see `list_blocks`), down to a hundredth of the
            head's rate; 1 for the same rate everywhere.
        cache: Whether to run the frozen part once and train the head on its features. `"auto"` does
            so if the result stays the same to the bit (arrays, and datasets of `image_dataset`
            without a transform) and the features take less than 2 GB. True does so for any data,
            and uses the images of a single pass. Random layers in the backbone, such as dropout,
            are never cached: the frozen part ends before them. A model with its own `train_step`
            is always trained as a whole.
        batch_size: Images per batch, for arrays.
        monitor: The logged quantity that decides which epoch is best. `"auto"` is the validation
            accuracy, or `"val_loss"` if no accuracy is logged. For losses and errors, lower is
            better; for everything else, higher is better. If epochs tie, the last one is kept,
            because the learning rate falls. The loss grows with the confidence in wrong answers
            and therefore favors early epochs, even while the accuracy rises; use `calibrate` to
            correct the confidence afterwards.
        callbacks: Keras callbacks for both stages; they must not set the learning rate.
            `EarlyStopping` ends only the stage that it stops. A `CSVLogger` needs `append=True` to
            keep the logs of both stages. With `BackupAndRestore`, a run that was killed continues
            in its stage when it is started again. Put it last, with `double_checkpoint=True`;
            otherwise a kill may leave an incomplete file.
        verbose: As in `fit`.

    Returns:
        A Keras History of both stages. Its `"stage"` tells which stage an epoch belongs to; the
        second stage is numbered from `head_epochs`. It is also the model's `history`, which remains
        if the call is interrupted. Afterwards, the model has a standard Adam optimizer with a
        hundredth of `learning_rate` (and loss scaling, if its own optimizer had it). So have files
        that `ModelCheckpoint` writes; their rate is a schedule, and changing it takes a new
        `compile`.

    Raises:
        ValueError: If the model is not compiled; if its head can't be found; if the data has other
            classes, another class order, or another image size than the model; if the data is
            scaled although the model scales inside; if a rate or `layer_decay` is not above 0, or
            `layer_decay` is above 1; if the monitored quantity is not logged; or if `cache` is True
            for a model with its own `train_step`.
        TypeError: If the model is neither functional nor Sequential.

    Example:
        >>> import keras, numpy as np
        >>> from cnnkit.models import simple_cnn
        >>> from cnnkit.transfer import build_classifier, fine_tune
        >>> backbone = simple_cnn((8, 8, 1), 10, filters=(8,), include_top=False, mode="unit")
        >>> model = build_classifier(backbone, classes=2, mode="none")
        >>> images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 1), dtype=np.uint8)
        >>> data = images, np.eye(2)[[0, 1] * 4]
        >>> history = fine_tune(model, data, data, head_epochs=1, epochs=2, verbose=0)
        >>> history.history["stage"]
        ['head', 'all', 'all']
    """
    _check_settings(head_epochs, epochs, batch_size, cache)
    _check_rates(
        head_learning_rate=head_learning_rate,
        learning_rate=learning_rate,
        layer_decay=layer_decay,
    )
    _check_callbacks(callbacks)
    head_layers = _head_layers(model, head)
    _check_model_and_data(model, train, validation, cache, batch_size)
    batch_size = batch_size_of(train, batch_size)
    run = Run(
        model=model,
        head=head_layers,
        train=train,
        validation=validation,
        batch_size=batch_size,
        steps=count_batches(train, batch_size),
        cache=cache,
        callbacks=callbacks,
        verbose=verbose,
        last_rate=learning_rate / 100,
        best=BestWeights(monitor),
        history=StagedHistory(),
    )
    try:
        freeze_backbone(run)
        if head_epochs and not has_backup(callbacks, "all"):
            fit_stage(run, Stage("head", 0, head_epochs, head_learning_rate))
        if epochs:
            unfreeze(model)
            # From `head_epochs` even if the head was stopped early: a resumed run can't know that.
            fit_stage(run, Stage("all", head_epochs, epochs, learning_rate, layer_decay))
    finally:
        keep_best(run)
    return run.history


def _check_model_and_data(
    model: keras.Model, train: Any, validation: Any, cache: bool | str, batch_size: int
) -> None:
    check_cache(model, cache)
    check_distribution(model)
    for name, data in (("train", train), ("validation", validation)):
        check_data(model, name, data, batch_size)
    check_same_classes(train, validation)


def _check_settings(head_epochs: int, epochs: int, batch_size: int, cache: bool | str) -> None:
    check_whole_number("head_epochs", head_epochs, least=0)
    check_whole_number("epochs", epochs, least=0)
    check_whole_number("batch_size", batch_size)
    if not isinstance(cache, bool):
        check_one_of("cache", cache, ("auto", True, False))


def _check_rates(**rates: Any) -> None:
    for name, rate in rates.items():
        if not isinstance(rate, int | float) or not 0 < rate < float("inf"):
            msg = f"`{name}` must be a number above 0. Received: {name}={rate!r}."
            raise ValueError(msg)
    if rates["layer_decay"] > 1:
        msg = (
            "`layer_decay` must be at most 1, which means one rate for all layers. "
            f"Received: layer_decay={rates['layer_decay']!r}."
        )
        raise ValueError(msg)


def _check_callbacks(callbacks: Any) -> None:
    if not isinstance(callbacks, Sequence) or not all(
        isinstance(callback, keras.callbacks.Callback) for callback in callbacks
    ):
        msg = f"`callbacks` must be a list of Keras callbacks. Received: callbacks={callbacks!r}."
        raise TypeError(msg)
    rivals = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)
    rival = next((callback for callback in callbacks if isinstance(callback, rivals)), None)
    if rival is not None:
        msg = (
            "`callbacks` must not set the learning rate, because `fine_tune` does. "
            f"Received: {type(rival).__name__}. Leave it out, or train with `fit`."
        )
        raise ValueError(msg)


def _head_layers(model: keras.Model, head: str | None) -> list[Any]:
    """Return the layers from the head on."""
    functional(model)  # or an error that says so
    if len(model.outputs) != 1:
        msg = f"`model` must have one output, the classes. Received: {len(model.outputs)} outputs."
        raise ValueError(msg)
    if not model.compiled:
        msg = (
            "`model` must be compiled. Received: a model without loss. Call `model.compile` first."
        )
        raise ValueError(msg)
    names = [layer.name for layer in model.layers]
    if head is None:
        head = next((name for name in names if name.startswith(HEAD)), None)
    if head not in names:
        msg = (
            "`head` must name the first layer of the head. Received: "
            f"head={head!r}. The last layers are {', '.join(names[-4:])}. After `build_classifier` "
            "leave `head` out."
        )
        raise ValueError(msg)
    place = names.index(head)
    if not any(layer.weights for layer in model.layers[:place]):
        msg = (
            "`head` must name the first layer of the head, after the backbone. Received: "
            f"head={head!r}, with no weights before it."
        )
        raise ValueError(msg)
    return list(model.layers[place:])
