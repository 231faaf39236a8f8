"""fine_tune: what trains in its two stages, and where the head begins."""

from typing import NamedTuple

import keras
import numpy as np
import pytest

from cnnkit.transfer import build_classifier, fine_tune, trainable_summary


def weights_of(model: keras.Model) -> dict[str, list[np.ndarray]]:
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def changed(before: dict[str, list[np.ndarray]], after: dict[str, list[np.ndarray]]) -> set[str]:
    return {name for name in before if not all(map(np.array_equal, before[name], after[name]))}


class Tuned(NamedTuple):
    """A classifier that `fine_tune` has trained, and its weights along the way."""

    model: keras.Model
    history: keras.callbacks.History
    weights: list[dict[str, list[np.ndarray]]]  # before, and after each epoch


@pytest.fixture(scope="module")
def tuned(new_backbone) -> Tuned:
    """One run of two epochs a stage, with compiled steps."""
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    data = images, np.eye(3, dtype="float32")[np.arange(12) % 3]
    model = build_classifier(new_backbone(), 3)
    weights = [weights_of(model)]
    record = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: weights.append(weights_of(model))
    )
    counts = {"head_epochs": 2, "epochs": 2, "learning_rate": 1e-2}
    history = fine_tune(model, data, data, **counts, callbacks=[record], verbose=0)
    return Tuned(model, history, weights)


def test_the_head_stage_trains_the_head_alone(tuned) -> None:
    """No weight of the backbone moves."""
    assert {"head_predictions"} == changed(tuned.weights[0], tuned.weights[2])


def test_the_second_stage_trains_all_but_trained_batch_norm(tuned) -> None:
    """Everything moves, BatchNorm stays bit-equal."""
    assert {"conv1", "conv2", "head_predictions"} == changed(tuned.weights[2], tuned.weights[4])


def test_the_history_is_one_with_its_stages(tuned) -> None:
    """The epochs are numbered over both stages, and each has its stage."""
    assert [0, 1, 2, 3] == tuned.history.epoch
    assert ["head", "head", "all", "all"] == tuned.history.history["stage"]
    assert {4} == {len(values) for values in tuned.history.history.values()}


def test_a_stock_optimizer_is_left_behind(tuned) -> None:
    """Training can go on, at a constant low rate, and the file needs nothing but Keras."""
    optimizer = tuned.model.optimizer

    assert keras.optimizers.Adam is type(optimizer)
    assert 1e-4 == pytest.approx(float(keras.ops.convert_to_numpy(optimizer.learning_rate)))
    assert not trainable_summary(tuned.model).attrs["stale"]


@pytest.mark.usefixtures("eagerly")
def test_batch_norm_of_the_head_trains(backbone, data) -> None:
    """BatchNorm in the head isn't frozen with the backbone."""
    x = keras.layers.GlobalAveragePooling2D(name="head_pool")(backbone.output)
    x = keras.layers.BatchNormalization(name="head_bn")(x)
    outputs = keras.layers.Dense(3, activation="softmax", name="head_dense")(x)
    model = keras.Model(backbone.input, outputs)
    model.get_layer("head_bn").moving_mean.assign(np.ones(4))
    model.compile("adam", loss="categorical_crossentropy")
    before = weights_of(model)
    fine_tune(model, data, data, head_epochs=2, epochs=0, verbose=0)

    assert {"head_bn", "head_dense"} == changed(before, weights_of(model))


@pytest.mark.usefixtures("eagerly")
def test_a_layer_of_the_backbone_may_be_called_as_one_of_the_head(data) -> None:
    """It is frozen in the first stage all the same."""
    inner = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 3, name="dense")], name="inner"
    )
    top = keras.layers.Dense(3, activation="softmax", name="dense")
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), inner, keras.layers.Flatten(name="flat"), top]
    )
    model.compile("adam", loss="categorical_crossentropy")
    before = weights_of(inner)
    fine_tune(model, data, data, head="flat", head_epochs=1, epochs=0, verbose=0)

    assert set() == changed(before, weights_of(inner))


@pytest.mark.usefixtures("eagerly")
def test_datasets_and_arrays_train_alike(backbone, data) -> None:
    """A dataset of the same batches gives the same losses."""
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(data).batch(12)
    losses = []
    for train in (data, dataset):
        copy = keras.models.clone_model(backbone)
        copy.set_weights(backbone.get_weights())
        model = build_classifier(copy, 3, dropout=0)
        model.get_layer("head_predictions").kernel.assign(np.full((4, 3), 0.1))
        history = fine_tune(model, train, train, head_epochs=2, epochs=2, verbose=0)
        losses.append(history.history["loss"])

    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


@pytest.mark.usefixtures("eagerly")
def test_a_model_of_ones_own_needs_the_name_of_its_head(nested, data) -> None:
    """The head of a Sequential model is given by name."""
    images, targets = data
    labelled = images, targets.argmax(axis=1)
    before = weights_of(nested.get_layer("backbone"))
    fine_tune(nested, labelled, labelled, head_epochs=2, epochs=0, head="flat", verbose=0)

    assert set() == changed(before, weights_of(nested.get_layer("backbone")))
