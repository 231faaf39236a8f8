"""Which epoch's weights `fine_tune` keeps, and what callbacks see of its two stages."""

import keras
import numpy as np
import pytest

from cnnkit.data import image_dataset
from cnnkit.transfer import build_classifier, fine_tune

pytestmark = pytest.mark.usefixtures("eagerly")


class Record(keras.callbacks.Callback):
    """Note the weights after each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[list[np.ndarray]] = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.weights.append(self.model.get_weights())


def score(truth: object, guess: object) -> object:
    """A metric whose name is no loss's: the mean probability of the first class."""
    del truth
    return keras.ops.mean(guess[:, 0])


# Rates at which the loss falls in the first stage and rises again in the second.
RATES = {"head_learning_rate": 3.0, "learning_rate": 0.05, "head_epochs": 2, "epochs": 3}


@pytest.mark.parametrize(
    ("monitor", "best_of"), [("val_loss", np.argmin), ("val_score", np.argmax)]
)
def test_the_weights_of_the_best_epoch_are_restored(monitor, best_of, classifier, data) -> None:
    """Losses are minimized, any other quantity is maximized."""
    record = Record()
    classifier.compile("adam", loss="categorical_crossentropy", metrics=[score])
    options = {"monitor": monitor, "callbacks": [record], "cache": False, "verbose": 0}
    history = fine_tune(classifier, data, data, **RATES, **options)
    best = best_of(history.history[monitor])

    assert 0 < best < 4
    assert all(map(np.array_equal, record.weights[best], classifier.get_weights()))


def last_of_the_best(values: list[float]) -> int:
    return max(range(len(values)), key=lambda epoch: (values[epoch], epoch))


@pytest.mark.parametrize(
    ("metrics", "monitor"),
    [
        ([score, "accuracy"], "val_accuracy"),
        (["acc"], "val_acc"),
        (["categorical_accuracy"], "val_categorical_accuracy"),
    ],
)
def test_the_best_epoch_is_that_of_the_accuracy_and_of_equal_ones_the_last(
    metrics, monitor, classifier, data
) -> None:
    """Three images have few accuracies, so epochs tie; the best isn't the last of all here."""
    record = Record()
    few = data[0][:3], data[1][:3]
    classifier.compile("adam", loss="categorical_crossentropy", metrics=metrics)
    options = {"learning_rate": 0.05, "callbacks": [record], "cache": False, "verbose": 0}
    history = fine_tune(classifier, data, few, head_epochs=2, epochs=2, **options)
    values = history.history[monitor]
    best = last_of_the_best(values)

    assert values.count(max(values)) > 1
    assert best < 3
    assert all(map(np.array_equal, record.weights[best], classifier.get_weights()))


def test_without_accuracy_the_best_epoch_is_that_of_the_loss(classifier, data) -> None:
    """A model need not log more than its loss."""
    record = Record()
    model = keras.Model(classifier.inputs, classifier.outputs)  # `compile` keeps old metrics
    model.compile("adam", loss="categorical_crossentropy")
    options = {"callbacks": [record], "cache": False, "verbose": 0}
    history = fine_tune(model, data, data, **RATES, **options)
    best = int(np.argmin(history.history["val_loss"]))

    assert {"loss", "val_loss", "stage"} == set(history.history)
    assert 0 < best < 4
    assert all(map(np.array_equal, record.weights[best], model.get_weights()))


class StopAt(keras.callbacks.Callback):
    """Stop as EarlyStopping does, at the end of an epoch."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.last = epoch

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if epoch == self.last:
            self.model.stop_training = True


@pytest.mark.parametrize("cache", ["auto", False])
def test_a_stage_that_a_callback_ends_goes_over_to_the_next(cache, classifier, data) -> None:
    """This works on features as in `fit`, and for a model that was stopped before."""
    classifier.stop_training = True
    history = fine_tune(
        classifier,
        data,
        data,
        head_epochs=3,
        epochs=2,
        cache=cache,
        callbacks=[StopAt(1)],
        verbose=0,
    )

    assert ["head", "head", "all", "all"] == history.history["stage"]


@pytest.mark.parametrize(
    ("of_arrays", "cache"), [(True, True), (False, True), (True, False)], ids=str
)
def test_keras_callbacks_know_which_way_a_metric_is_better(
    of_arrays, cache, backbone, data, tmp_path
) -> None:
    """They ask the whole model, which is not the one that trains on features."""
    model = build_classifier(backbone, 3)
    auc = keras.metrics.AUC(name="area")
    model.compile("adam", loss="categorical_crossentropy", metrics=["accuracy", auc])
    given = data if of_arrays else image_dataset((data[0], data[1].argmax(axis=1)))
    stopping = keras.callbacks.EarlyStopping("val_accuracy", min_delta=1.0)
    keeping = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.keras", monitor="val_area", save_best_only=True
    )
    history = fine_tune(
        model,
        given,
        given,
        head_epochs=3,
        epochs=1,
        cache=cache,
        callbacks=[stopping, keeping],
        verbose=0,
    )

    assert ["head", "head", "all"] == history.history["stage"]
    assert keeping.best == max(history.history["val_area"])


def test_an_interrupted_run_keeps_the_best_weights(classifier, data) -> None:
    """Ctrl-C in the second stage leaves the best epoch so far."""
    record = Record()

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
            if epoch == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fine_tune(
            classifier,
            data,
            data,
            head_epochs=2,
            epochs=4,
            monitor="val_loss",
            cache=False,
            callbacks=[record, Interrupt()],
            verbose=0,
        )
    kept = classifier.get_weights()
    losses = []
    for weights in record.weights:
        classifier.set_weights(weights)
        losses.append(classifier.evaluate(*data, verbose=0)[0])

    assert 3 == len(record.weights)
    assert all(map(np.array_equal, record.weights[int(np.argmin(losses))], kept))


def test_an_unknown_monitor_is_refused(classifier, data) -> None:
    """The error lists what is logged."""
    with pytest.raises(ValueError, match=r"`monitor` must be one of accuracy, loss, val_accuracy"):
        fine_tune(classifier, data, data, head_epochs=1, epochs=1, monitor="val_acc", verbose=0)
