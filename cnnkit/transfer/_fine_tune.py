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
    """Train a new head on a frozen backbone, then all of it, and keep the best.

    Everything in front of the head is frozen and the head trained; then the backbone is unfrozen,
    its trained BatchNormalization excepted, and all is trained on, the slower the farther from the
    head (Howard & Ruder, "Universal Language Model Fine-tuning", 2018, arXiv:1801.06146). Each
    stage has an Adam optimizer whose rate rises and falls once (Smith, "Super-convergence", 2018,
    arXiv:1708.07120). The weights of the best epoch of both stages are restored at the end, also
    when training is interrupted.

    Args:
        model: A compiled classifier, for example from `build_classifier`. Loss and metrics are
            kept.
        train: Arrays `(images, targets)`, a dataset or a PyDataset that knows its length. A dataset
            must be shuffled; a first batch of one class only is warned of.
        validation: The same for validation.
        head_epochs: Epochs of the first stage.
        epochs: Epochs of the second stage; 0 trains the head only.
        head: Name of the first layer of the head; not needed after `build_classifier`.
        head_learning_rate: Peak rate of the first stage.
        learning_rate: Peak rate of the head in the second stage; if that ends worse than the
            first, which the history shows, lower it to 3e-4.
        layer_decay: Factor of the rate from the head to the last block of the backbone, and from
            each block to the one in front of it (`list_blocks`), down to a hundredth of the head's;
            1 for one rate.
        cache: Whether to run the frozen part once and train the head on what it gives: `"auto"`
            where that can't change a bit of the result (arrays, datasets of `image_dataset` without
            a transform) and the features take less than 2 GB; True for any data, whose images are
            then taken as they come in one pass; or False. What draws at random, as dropout in the
            backbone, is never cached: the frozen part ends in front of it. A model with a
            `train_step` of its own is trained whole.
        batch_size: Images a batch, for arrays.
        monitor: What the best epoch is best in, a logged quantity; `"auto"` is the accuracy on the
            validation data, or `"val_loss"` where none is logged. Losses and errors are the better
            the lower, all else the higher; of equal epochs the last is the best, as the rate falls.
            A loss grows with the confidence in wrong answers and so favors early epochs, also
            while the accuracy rises; `calibrate` mends confidence afterwards.
        callbacks: Keras callbacks, used in both stages; none that sets the learning rate.
            `EarlyStopping` ends the stage that it stops, and no other. A `CSVLogger` needs
            `append=True` to keep both. With `BackupAndRestore` (the last, and with
            `double_checkpoint=True`, or a kill may leave half a file) a run that was killed goes on
            in its stage when it is started again.
        verbose: As in `fit`.

    Returns:
        A Keras History over both stages; its `"stage"` says which epoch belongs to which, and the
        second is numbered from `head_epochs` on.
        It is the model's `history` too, which an interrupted call leaves behind. Afterwards the
        model holds a stock Adam optimizer at a hundredth of `learning_rate` (with loss scaling, if
        its own optimizer had that). So do files that `ModelCheckpoint` writes; there the rate is a
        schedule, and to set it takes a new `compile`.

    Raises:
        ValueError: If the model is not compiled, its head can't be found, the classes of the data
            are others or in another order, images have another size, the data is scaled although
            the model scales inside, a rate or `layer_decay` is not above 0 or the latter above 1,
            the monitored quantity is not logged, or `cache` is True for a model with a `train_step`
            of its own.
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
    head_stage = Stage("head", 0, head_epochs, head_learning_rate)
    # It starts there even if the head was stopped early, which a resumed run can't know.
    all_stage = Stage("all", head_epochs, epochs, learning_rate, layer_decay)
    try:
        if head_epochs and not has_backup(callbacks, "all"):
            freeze_backbone(run)
            fit_stage(run, head_stage)
        if epochs:
            freeze_backbone(run)
            unfreeze(model)
            fit_stage(run, all_stage)
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
            "`layer_decay` must be at most 1, which is one rate for all. "
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
            "`callbacks` must not set the learning rate, because the stages do. "
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
            "`head` must name the first layer of the head, behind the backbone. Received: "
            f"head={head!r}, with no weights in front of it."
        )
        raise ValueError(msg)
    return list(model.layers[place:])
