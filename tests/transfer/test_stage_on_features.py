"""Training on cached features is training the model, bit for bit."""

import keras
import pytest
from keras import layers

from cnnkit.data import image_dataset
from cnnkit.transfer import build_classifier, cache_features, fine_tune, split_model
from cnnkit.transfer import _stage_on_features
from cnnkit.transfer._features import last_frozen


def losses_of(model: keras.Model, data, **options) -> list[float]:
    """Train four epochs and return every loss."""
    keras.utils.set_random_seed(1)
    model.compile("adam", loss="categorical_crossentropy")
    images = {"x": data[0], "y": data[1]} if isinstance(data, tuple) else {"x": data}
    return model.fit(**images, epochs=4, shuffle=False, verbose=0, **options).history["loss"]


def losses_both_ways(model: keras.Model, data, features) -> tuple[list[float], list[float]]:
    """Train the whole model and, from the same start, its second half on features."""
    start = model.get_weights()
    whole = losses_of(model, data)
    model.set_weights(start)
    _, top = split_model(model, "relu2")
    return whole, losses_of(top, features)


def test_losses_on_features_of_arrays_are_the_same_bits(frozen, data) -> None:
    """Four epochs of the head, with and without the frozen part."""
    features = cache_features(frozen, data, at="relu2", progress=False)
    whole, on_features = losses_both_ways(frozen, data, features)

    assert len(set(whole)) == 4
    assert whole == on_features


def test_losses_on_features_of_a_seeded_dataset_are_the_same_bits(frozen, tables) -> None:
    """Order, seed and batches are the dataset's own, epoch by epoch."""

    def dataset():
        return image_dataset(tables, (8, 8), batch_size=4, shuffle=True, seed=3, progress=False)

    features = cache_features(frozen, dataset(), at="relu2", progress=False)
    whole, on_features = losses_both_ways(frozen, dataset(), features)

    assert len(set(whole)) == 4
    assert whole == on_features


class Whole(keras.Model):
    """A backbone that is a class of its own."""

    def __init__(self):
        super().__init__(name="whole")
        self.conv = layers.Conv2D(2, 3)

    def call(self, x):
        return self.conv(x)


@pytest.mark.usefixtures("eagerly")
def test_a_backbone_that_is_a_class_is_one_piece(data) -> None:
    """Its layers can't be read, but its outputs can be cached."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Flatten(name="flat")(Whole()(inputs))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax", name="end")(x))
    model.compile("adam", loss="categorical_crossentropy")
    history = fine_tune(model, data, data, head_epochs=2, epochs=1, head="flat", verbose=0)

    assert ["head", "head", "all"] == history.history["stage"]


class Own(keras.Model):
    """A model with a training step of its own, which counts."""

    steps = 0

    def train_step(self, data):
        type(self).steps += 1
        return super().train_step(data)


@pytest.mark.usefixtures("eagerly")
def test_a_training_step_of_its_own_is_taken(backbone, data) -> None:
    """On features a part of the model would be trained in the usual way."""
    built = build_classifier(backbone, 3, dropout=0)
    model = Own(built.input, built.output)
    model.compile("adam", loss="categorical_crossentropy", run_eagerly=True)
    fine_tune(model, data, data, head_epochs=2, epochs=0, verbose=0)

    assert 2 == Own.steps
    optimizer = model.optimizer
    with pytest.raises(ValueError, match=r"`cache` must be False .* Own\.train_step"):
        fine_tune(model, data, data, head_epochs=2, epochs=0, cache=True, verbose=0)
    assert optimizer is model.optimizer  # nothing has changed


@pytest.mark.parametrize(
    ("kind", "compiled"), [("arrays", False), ("dataset", True)], ids=["arrays", "dataset"]
)
def test_fine_tune_gives_the_same_bits_with_and_without_cache(
    kind, compiled, new_backbone, data, tables, request
) -> None:
    """The history, every weight, and what callbacks see, dropout and shuffling included."""
    if not compiled:
        request.getfixturevalue("eagerly")

    def tuned(cache):
        keras.utils.set_random_seed(2)
        model = build_classifier(new_backbone(), 3)
        seen: list[tuple[int, dict[str, float]]] = []
        look = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: seen.append((epoch, dict(logs)))
        )
        given = data
        if kind == "dataset":
            given = image_dataset(tables, (8, 8), batch_size=4, shuffle=True, seed=5)
        history = fine_tune(
            model, given, given, head_epochs=2, epochs=2, cache=cache, callbacks=[look], verbose=0
        )
        return history.history, seen, [weight.tobytes() for weight in model.get_weights()]

    cached = tuned("auto")

    assert tuned(cache=False) == cached
    assert [0, 1, 2, 3] == [epoch for epoch, _ in cached[1]]


@pytest.mark.usefixtures("eagerly")
def test_fine_tune_runs_the_frozen_part_once(backbone, data, monkeypatch) -> None:
    """Three epochs of the head cost one pass over training and one over validation data."""
    calls = []
    run = keras.Model.predict_on_batch
    monkeypatch.setattr(
        keras.Model, "predict_on_batch", lambda self, x: calls.append(len(x)) or run(self, x)
    )
    fine_tune(build_classifier(backbone, 3), data, data, head_epochs=3, epochs=0, verbose=0)

    assert [12, 12] == calls


def forbidden(*_):
    msg = "the frozen part must not run again"
    raise AssertionError(msg)


@pytest.mark.usefixtures("eagerly")
def test_fine_tune_does_not_cache_what_may_change(backbone, rows, monkeypatch) -> None:
    """Unknown data isn't cached unless the caller asks for it."""
    monkeypatch.setattr(keras.Model, "predict_on_batch", forbidden)
    model = build_classifier(backbone, 3)
    fine_tune(model, rows, rows, head_epochs=1, epochs=0, verbose=0)
    with pytest.raises(AssertionError, match="must not run again"):
        fine_tune(model, rows, rows, head_epochs=1, epochs=0, cache=True, verbose=0)


@pytest.mark.usefixtures("eagerly")
def test_stopping_early_stops_the_head(backbone, data) -> None:
    """EarlyStopping works on the model although a part of it is trained."""
    stop = keras.callbacks.EarlyStopping("loss", patience=0, min_delta=1e9)
    history = fine_tune(
        build_classifier(backbone, 3),
        data,
        data,
        head_epochs=5,
        epochs=5,
        callbacks=[stop],
        verbose=0,
    )

    stages = history.history["stage"]  # of the second, Keras 3.12 trains one epoch, 3.15 two
    assert 2 == stages.count("head")
    assert 0 < stages.count("all") < 5


@pytest.mark.parametrize(("spare", "cached"), [(0, True), (-1, False)])
def test_features_that_take_much_memory_are_not_kept_unasked(
    spare, cached, frozen, data, monkeypatch
) -> None:
    """Four bytes a value, of training and validation images; `cache=True` keeps them anyway."""
    at = last_frozen(frozen)
    values = split_model(frozen, at)[0].predict(data[0], verbose=0).size
    monkeypatch.setattr(_stage_on_features, "_MOST_BYTES", 2 * 4 * values + spare)

    assert (at if cached else None) == _stage_on_features.cut_for(frozen, (data, data), "auto")
    assert at == _stage_on_features.cut_for(frozen, (data, data), True)
