"""fine_tune: two stages, the best epoch, and clear errors before anything is trained."""

import keras
import numpy as np
import pandas as pd
import pytest

from cnnkit.data import image_dataset
from cnnkit.models import simple_cnn
from cnnkit.transfer import build_classifier, fine_tune, trainable_summary


def weights_of(model: keras.Model) -> dict[str, list[np.ndarray]]:
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def changed(before: dict[str, list[np.ndarray]], model: keras.Model) -> set[str]:
    after = weights_of(model)
    return {name for name in before if not all(map(np.array_equal, before[name], after[name]))}


class Record(keras.callbacks.Callback):
    """Note the learning rate of each step, and the weights after each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.rates: list[float] = []
        self.weights: list[list[np.ndarray]] = []

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self.rates.append(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.weights.append(self.model.get_weights())


def test_the_head_stage_trains_the_head_alone(classifier, data) -> None:
    """No weight of the backbone moves."""
    before = weights_of(classifier)
    fine_tune(classifier, data, data, head_epochs=3, epochs=0, verbose=0)

    assert {"head_predictions"} == changed(before, classifier)


def test_the_second_stage_trains_all_but_trained_batch_norm(classifier, data) -> None:
    """Everything moves, BatchNorm stays bit-equal."""
    before = weights_of(classifier)
    fine_tune(classifier, data, data, head_epochs=0, epochs=3, verbose=0)

    assert {"conv1", "conv2", "head_predictions"} == changed(before, classifier)


def test_the_history_is_one_with_its_stages(classifier, data) -> None:
    """Epochs are counted on, and each has its stage."""
    history = fine_tune(classifier, data, data, head_epochs=1, epochs=2, verbose=0)

    assert [0, 1, 2] == history.epoch
    assert ["head", "all", "all"] == history.history["stage"]
    assert {3} == {len(values) for values in history.history.values()}


def score(truth: object, guess: object) -> object:
    """A metric whose name is no loss's: the mean probability of the first class."""
    del truth
    return keras.ops.mean(guess[:, 0])


@pytest.mark.parametrize(
    ("monitor", "best_of"), [("val_loss", np.argmin), ("val_score", np.argmax)]
)
def test_the_weights_of_the_best_epoch_are_restored(monitor, best_of, classifier, data) -> None:
    """Losses are minimized, any other quantity is maximized."""
    record = Record()
    classifier.compile("adam", loss="categorical_crossentropy", metrics=[score])
    history = fine_tune(
        classifier,
        data,
        data,
        head_epochs=3,
        epochs=4,
        learning_rate=0.05,
        monitor=monitor,
        callbacks=[record],
        verbose=0,
    )
    values = history.history[monitor]

    assert min(values) < max(values)
    assert all(map(np.array_equal, record.weights[best_of(values)], classifier.get_weights()))


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
    """Three images give four different accuracies, so epochs are equal."""
    record = Record()
    few = data[0][:3], data[1][:3]
    classifier.compile("adam", loss="categorical_crossentropy", metrics=metrics)
    history = fine_tune(
        classifier, data, few, head_epochs=8, epochs=8, callbacks=[record], verbose=0
    )
    values = history.history[monitor]

    assert values.count(max(values)) > 1
    best = record.weights[last_of_the_best(values)]
    assert all(map(np.array_equal, best, classifier.get_weights()))


def test_without_accuracy_the_best_epoch_is_that_of_the_loss(classifier, data) -> None:
    """A model need not log more than its loss."""
    record = Record()
    classifier.compile("adam", loss="categorical_crossentropy")
    history = fine_tune(
        classifier, data, data, head_epochs=2, epochs=3, callbacks=[record], verbose=0
    )
    best = record.weights[int(np.argmin(history.history["val_loss"]))]

    assert all(map(np.array_equal, best, classifier.get_weights()))


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
    """On features as in `fit`; and a model that was stopped before begins anew."""
    classifier.stop_training = True
    history = fine_tune(
        classifier,
        data,
        data,
        head_epochs=4,
        epochs=2,
        cache=cache,
        callbacks=[StopAt(1)],
        verbose=0,
    )

    assert ["head", "head", "all", "all"] == history.history["stage"]


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("of_arrays", [True, False], ids=["arrays", "dataset"])
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


def test_the_rate_rises_to_its_peak_and_falls(classifier, data) -> None:
    """Thirty percent of the steps rise; the last is far below the peak."""
    record = Record()
    fine_tune(
        classifier,
        data,
        data,
        head_epochs=20,
        epochs=0,
        head_learning_rate=0.5,
        batch_size=6,
        callbacks=[record],
        verbose=0,
    )
    rates = np.array(record.rates)

    assert 40 == len(rates)
    assert 12 == rates.argmax()
    assert 0.5 == pytest.approx(rates.max())
    assert (np.diff(rates)[:12] > 0).all()
    assert (np.diff(rates)[12:] < 0).all()
    assert rates[-1] < 0.01


def rate_of(optimizer: keras.optimizers.Optimizer) -> float:
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


def farthest(before: dict[str, list[np.ndarray]], model: keras.Model) -> dict[str, float]:
    """Return how far the weight of each layer that has moved most is from where it was."""
    after = weights_of(model)
    return {
        name: max(abs(x - y).max() for x, y in zip(before[name], after[name], strict=True))
        for name in before
    }


@pytest.mark.parametrize("decay", [1, 0.8, 0.1])
def test_the_rate_falls_from_block_to_block(decay, classifier, data) -> None:
    """Adam's first step is as long as the rate wherever there is a gradient."""
    before = weights_of(classifier)
    fine_tune(
        classifier,
        data,
        data,
        head_epochs=0,
        epochs=1,
        learning_rate=0.01,
        layer_decay=decay,
        verbose=0,
    )
    moved = farthest(before, classifier)
    expected = {"head_predictions": 0.01, "conv2": 0.01 * decay, "conv1": 0.01 * decay**2}

    assert expected == pytest.approx({name: moved[name] for name in expected}, rel=1e-2)
    assert 0 == moved["bn1"] == moved["bn2"]


def wrapped() -> keras.Model:
    """A model whose loaded copy has variables without the name of the layer around them."""
    inputs = keras.Input((4, 8, 8, 3))
    inner = keras.Sequential([keras.layers.Conv2D(4, 3, name="inner")], name="row")
    x = keras.layers.TimeDistributed(inner, name="each")(inputs)
    x = keras.layers.TimeDistributed(keras.layers.Conv2D(4, 3), name="again")(x)
    x = keras.layers.Flatten(name="flat")(x)
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="top")(x))
    model.compile("adam", loss="categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)  # or Keras warns when it loads the model
    return model


@pytest.mark.parametrize("is_loaded", [False, True])
def test_the_rate_falls_where_keras_leaves_names_out(is_loaded, rng, tmp_path) -> None:
    """It does of what a wrapper wraps, when the model is loaded."""
    model = wrapped()
    if is_loaded:
        model.save(tmp_path / "model.keras")
        model = keras.saving.load_model(tmp_path / "model.keras")
    data = rng.normal(size=(6, 4, 8, 8, 3)), np.eye(3)[np.arange(6) % 3]
    before = weights_of(model)
    options = {"head": "flat", "head_epochs": 0, "epochs": 1, "learning_rate": 0.01}
    fine_tune(model, data, data, **options, layer_decay=0.5, verbose=0)
    moved = farthest(before, model)

    expected = {"top": 0.01, "again": 0.005, "each": 0.0025}
    assert expected == pytest.approx({name: moved[name] for name in expected}, rel=1e-2)


def test_the_rate_falls_in_a_backbone_inside(nested, data) -> None:
    """Its blocks are those of the model around it."""
    inner = nested.get_layer("backbone")
    before = weights_of(inner)
    labels = data[0], data[1].argmax(axis=1)
    options = {"head": "flat", "head_epochs": 0, "epochs": 1, "learning_rate": 0.01}
    fine_tune(nested, labels, labels, **options, layer_decay=0.5, verbose=0)
    moved = farthest(before, inner)

    expected = {"conv2": 0.005, "conv1": 0.0025}
    assert expected == pytest.approx({name: moved[name] for name in expected}, rel=1e-2)


def test_the_rate_falls_from_size_to_size_where_blocks_can_not_be_told(data) -> None:
    """Nothing is said of it: nobody asked for blocks."""
    sizes = [keras.Input((8, 8, 3), name="input")]
    for number in (1, 2, 3):
        convolution = keras.layers.Conv2D(3, 3, 2, padding="same", name=f"conv{number}")
        sizes.append(convolution(sizes[-1]))
    pooled = [keras.layers.GlobalMaxPooling2D()(x) for x in sizes]  # no place to cut between
    joined = keras.layers.Concatenate(name="joined")(pooled)
    outputs = keras.layers.Dense(3, activation="softmax", name="top")(joined)
    model = keras.Model(sizes[0], outputs)
    model.compile("adam", loss="categorical_crossentropy")
    before = weights_of(model)
    scaled = data[0] / np.float32(255), data[1]
    options = {"head": "joined", "head_epochs": 0, "epochs": 1, "learning_rate": 0.01}
    fine_tune(model, scaled, scaled, **options, layer_decay=0.5, verbose=0)
    moved = farthest(before, model)

    expected = {"top": 0.01, "conv3": 0.005, "conv2": 0.0025, "conv1": 0.00125}
    assert expected == pytest.approx(moved, rel=1e-2)


def row(names: list[str], head: list[keras.layers.Layer]) -> keras.Model:
    """Convolutions in a row, one called again where its name is, and a head."""
    inputs = keras.Input((8, 8, 3))
    layers = {
        name: keras.layers.Conv2D(3, 3, padding="same", kernel_initializer="orthogonal", name=name)
        for name in names
    }
    x = inputs
    for name in names:
        x = layers[name](x)
    for layer in [keras.layers.GlobalAveragePooling2D(name="pool"), *head]:
        x = layer(x)
    model = keras.Model(inputs, x)
    model.compile("adam", loss="categorical_crossentropy")
    return model


def moved_by_a_step(model: keras.Model, data, **options) -> dict[str, float]:
    scaled = data[0] / np.float32(255), data[1]
    before = weights_of(model)
    fine_tune(model, scaled, scaled, head="pool", head_epochs=0, epochs=1, verbose=0, **options)
    return farthest(before, model)


def test_the_rate_falls_to_a_hundredth(data) -> None:
    """A network of many blocks isn't frozen in front."""
    top = keras.layers.Dense(3, activation="softmax", name="top")
    model = row([f"conv{number}" for number in range(1, 8)], [top])
    moved = moved_by_a_step(model, data, learning_rate=0.1, layer_decay=0.3)

    expected = [max(0.1 * 0.3 ** (8 - number), 0.001) for number in range(1, 8)]
    actual = [moved[f"conv{number}"] for number in range(1, 8)]
    assert expected == pytest.approx(actual, rel=1e-2)


def test_a_layer_that_is_used_twice_has_the_rate_of_its_later_use(data) -> None:
    """And what comes before isn't slower for it."""
    top = keras.layers.Dense(3, activation="softmax", name="top")
    model = row(["conv1", "conv2", "conv3", "conv2"], [top])
    moved = moved_by_a_step(model, data, learning_rate=0.01, layer_decay=0.5)

    expected = {"top": 0.01, "conv2": 0.005, "conv3": 0.0025, "conv1": 0.00125}
    assert expected == pytest.approx(moved, rel=1e-2)


class OwnHead(keras.Model):
    """A model of two layers that is a class of its own."""

    def __init__(self) -> None:
        super().__init__(name="own")
        self.dense = keras.layers.Dense(3, activation="softmax", name="top")

    def call(self, x):
        return self.dense(x)


def test_a_head_may_be_a_class_of_its_own(data) -> None:
    """It has the whole rate, and is no block of the backbone."""
    model = row(["conv1", "conv2"], [OwnHead()])
    moved = moved_by_a_step(model, data, learning_rate=0.01, layer_decay=0.5)

    assert {"own": 0.01, "conv2": 0.005, "conv1": 0.0025} == pytest.approx(moved, rel=1e-2)


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

    assert set() == changed(before, inner)


@pytest.mark.parametrize("decay", [0, -0.5, 1.5, "0.8", None, float("nan")])
def test_a_decay_that_is_none_is_refused(decay, classifier, data) -> None:
    """It is above 0 and at most 1."""
    with pytest.raises(ValueError, match="`layer_decay` must be .* Received: layer_decay="):
        fine_tune(classifier, data, data, head_epochs=1, epochs=1, layer_decay=decay)


def test_a_stock_optimizer_is_left_behind(classifier, data) -> None:
    """Training can go on, at a constant low rate, and the file needs nothing but Keras."""
    fine_tune(classifier, data, data, head_epochs=1, epochs=1, learning_rate=1e-2, verbose=0)

    assert keras.optimizers.Adam is type(classifier.optimizer)
    assert 1e-4 == pytest.approx(rate_of(classifier.optimizer))
    assert not trainable_summary(classifier).attrs["stale"]


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: "adam",
        lambda: keras.optimizers.SGD(0.1, momentum=0.9),
        lambda: keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 100)),
    ],
    ids=["adam", "sgd", "schedule"],
)
def test_a_tuned_model_is_saved_and_loaded(optimizer, classifier, data, tmp_path) -> None:
    """The file opens, optimizer and all, whatever optimizer there was before."""
    classifier.compile(optimizer(), loss="categorical_crossentropy")
    fine_tune(classifier, data, data, head_epochs=1, epochs=1, verbose=0)
    classifier.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")

    np.testing.assert_array_equal(
        classifier.predict_on_batch(data[0]), loaded.predict_on_batch(data[0])
    )
    assert classifier.optimizer.get_config() == loaded.optimizer.get_config()


@pytest.mark.parametrize("scaled", [False, True], ids=["", "loss scaling"])
@pytest.mark.parametrize(("head_epochs", "epochs"), [(2, 0), (1, 2)])
def test_a_checkpoint_of_a_stage_opens(
    head_epochs, epochs, scaled, classifier, data, tmp_path
) -> None:
    """What ModelCheckpoint writes in mid-stage needs nothing but Keras, and trains on."""
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
        classifier.compile(optimizer, loss="categorical_crossentropy")
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "last.keras")
    counts = {"head_epochs": head_epochs, "epochs": epochs, "learning_rate": 0.01}
    fine_tune(classifier, data, data, **counts, callbacks=[checkpoint], verbose=0)
    loaded = keras.saving.load_model(tmp_path / "last.keras")
    optimizer = loaded.optimizer.inner_optimizer if scaled else loaded.optimizer

    assert keras.optimizers.Adam is type(optimizer)
    assert 1e-4 == pytest.approx(rate_of(optimizer))
    assert 2 == int(optimizer.iterations.value)
    before = weights_of(loaded)
    loaded.fit(*data, verbose=0)
    assert changed(before, loaded) >= {"head_predictions"}


def test_loss_scaling_is_kept(classifier, data) -> None:
    """What mixed_float16 wraps around an optimizer stands around each stage's."""
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
    classifier.compile(scaled, loss="categorical_crossentropy")
    fine_tune(classifier, data, data, head_epochs=1, epochs=1, verbose=0)

    assert keras.optimizers.LossScaleOptimizer is type(classifier.optimizer)
    assert keras.optimizers.Adam is type(classifier.optimizer.inner_optimizer)


def test_batch_norm_of_the_head_trains(backbone, data) -> None:
    """A head's own BatchNorm is no part of what is kept."""
    x = keras.layers.GlobalAveragePooling2D(name="head_pool")(backbone.output)
    x = keras.layers.BatchNormalization(name="head_bn")(x)
    outputs = keras.layers.Dense(3, activation="softmax", name="head_dense")(x)
    model = keras.Model(backbone.input, outputs)
    model.get_layer("head_bn").moving_mean.assign(np.ones(4))
    model.compile("adam", loss="categorical_crossentropy")
    before = weights_of(model)
    fine_tune(model, data, data, head_epochs=2, epochs=0, verbose=0)

    assert {"head_bn", "head_dense"} == changed(before, model)


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


def test_a_model_of_ones_own_needs_the_name_of_its_head(nested, data) -> None:
    """The head of a Sequential model is given by name."""
    images, targets = data
    labelled = images, targets.argmax(axis=1)
    before = weights_of(nested.get_layer("backbone"))
    fine_tune(nested, labelled, labelled, head_epochs=2, epochs=0, head="flat", verbose=0)

    assert set() == changed(before, nested.get_layer("backbone"))


def test_a_head_that_is_not_there_is_refused(nested, data) -> None:
    """The error lists the last layers."""
    with pytest.raises(ValueError, match=r"`head` must name the first layer.*head=None.*flat"):
        fine_tune(nested, data, data, head_epochs=1, epochs=1)


def test_an_uncompiled_model_is_refused(backbone, data) -> None:
    """Without a loss nothing can be trained."""
    with pytest.raises(ValueError, match=r"`model` must be compiled.*Call `model.compile` first"):
        fine_tune(backbone, data, data, head_epochs=1, epochs=1, head="conv2")


@pytest.mark.parametrize("mode", ["tf", "unit"])
def test_scaled_data_is_refused_for_a_model_that_scales_inside(mode, classifier, data) -> None:
    """Images would be scaled twice."""
    from cnnkit.preprocess import scale

    scaled = scale(data[0], mode), data[1]

    with pytest.raises(
        ValueError,
        match=r"`train` must give raw images, 0 to 255.*Use mode='none' in the data, or leave the "
        r"division of arrays out\.$",
    ):
        fine_tune(classifier, scaled, data, head_epochs=1, epochs=1)


def test_scaled_data_is_taken_by_a_model_that_does_not_scale(data) -> None:
    """What is scaled outside only is in order."""
    from cnnkit.preprocess import scale

    backbone = simple_cnn((8, 8, 3), 2, filters=(4,), include_top=False)
    model = build_classifier(backbone, 3, mode="none")
    scaled = scale(data[0], "tf"), data[1]

    history = fine_tune(model, scaled, scaled, head_epochs=1, epochs=0, verbose=0)
    assert ["head"] == history.history["stage"]


def test_another_number_of_classes_is_refused(classifier, data) -> None:
    """The error names both numbers."""
    wrong = data[0], np.eye(5)[np.arange(12) % 5]

    with pytest.raises(ValueError, match=r"`validation` must have as many classes.*3. .*5 classes"):
        fine_tune(classifier, data, wrong, head_epochs=1, epochs=1)


def test_labels_that_are_too_large_are_refused(nested, data) -> None:
    """A class number must be below the number of outputs."""
    wrong = data[0], np.arange(12)

    with pytest.raises(ValueError, match=r"`train` must have labels from 0 to 2, .* from 0 to 11"):
        fine_tune(nested, wrong, wrong, head_epochs=1, epochs=1, head="flat")


def test_class_numbers_are_refused_by_a_loss_for_one_hot(classifier, data) -> None:
    """The error says how to get one-hot labels."""
    wrong = data[0], data[1].argmax(axis=1)

    with pytest.raises(ValueError, match=r"`train` must have one-hot labels.*label_mode='categor"):
        fine_tune(classifier, wrong, wrong, head_epochs=1, epochs=1)


@pytest.mark.parametrize(
    "loss", ["sparse_categorical_crossentropy", keras.losses.SparseCategoricalCrossentropy()]
)
def test_one_hot_labels_are_refused_by_a_loss_for_class_numbers(loss, classifier, data) -> None:
    """The error says how to get class numbers."""
    classifier.compile("adam", loss=loss)

    with pytest.raises(
        ValueError, match=r"^`train` must have class numbers as labels, .*label_mode='int', or "
    ):
        fine_tune(classifier, data, data, head_epochs=1, epochs=1)


@pytest.mark.parametrize(
    "loss", [keras.losses.CategoricalCrossentropy(), keras.losses.categorical_crossentropy]
)
def test_class_numbers_are_refused_by_losses_of_any_form(loss, classifier, data) -> None:
    """An object and a function want one-hot labels like their name does."""
    classifier.compile("adam", loss=loss)
    wrong = data[0], data[1].argmax(axis=1)

    with pytest.raises(ValueError, match=r"one-hot labels, because.*loss is 'categorical_?cross"):
        fine_tune(classifier, wrong, wrong, head_epochs=1, epochs=1)


def test_class_numbers_are_taken_by_a_sparse_loss(classifier, data) -> None:
    """A loss object for class numbers is not mistaken for one of one-hot labels."""
    classifier.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy())
    numbers = data[0], data[1].argmax(axis=1)

    history = fine_tune(classifier, numbers, numbers, head_epochs=1, epochs=0, verbose=0)
    assert 1 == len(history.epoch)


@pytest.mark.parametrize(
    "callback",
    [keras.callbacks.ReduceLROnPlateau(), keras.callbacks.LearningRateScheduler(lambda *_: 0.1)],
)
def test_callbacks_that_set_the_rate_are_refused(callback, classifier, data) -> None:
    """Two schedules at once are a mistake that Keras reports in mid-training only."""
    with pytest.raises(ValueError, match=r"`callbacks` must not set the learning rate.*Received: "):
        fine_tune(classifier, data, data, head_epochs=1, epochs=1, callbacks=[callback])


@pytest.mark.parametrize("name", ["learning_rate", "head_learning_rate"])
@pytest.mark.parametrize("rate", [0, -1.0, "1e-3", None, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused_before_anything_trains(
    name, rate, classifier, data
) -> None:
    """Not only when its stage begins."""
    before = [weight.tobytes() for weight in classifier.get_weights()]
    with pytest.raises(ValueError, match=rf"^`{name}` must be a number above 0\. Received"):
        fine_tune(classifier, data, data, head_epochs=1, epochs=1, **{name: rate})

    assert before == [weight.tobytes() for weight in classifier.get_weights()]


@pytest.mark.parametrize("callbacks", [keras.callbacks.TerminateOnNaN(), ["x"], None])
def test_what_is_no_list_of_callbacks_is_refused(callbacks, classifier, data) -> None:
    """One alone, or something else."""
    with pytest.raises(TypeError, match=r"^`callbacks` must be a list of Keras callbacks\. Rec"):
        fine_tune(classifier, data, data, head_epochs=1, epochs=1, callbacks=callbacks)


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("names", [["b", "a", "c"], ["a", "b", "d"]])
def test_classes_in_another_order_are_refused(part, names, backbone, data) -> None:
    """A model keeps its class names, and a dataset has some: all labels would be swapped."""
    model = build_classifier(backbone, ["a", "b", "c"])
    images, targets = data
    datasets = [
        image_dataset((images, targets.argmax(axis=1)), class_names=these)
        for these in (["a", "b", "c"], names)
    ]
    given = datasets if part else datasets[::-1]
    name = "validation" if part else "train"
    with pytest.raises(
        ValueError,
        match=rf"^`{name}` must have the classes of the model, in their order: a, b, c\. "
        rf"Received: {', '.join(names)}\. Build the model with `train\.class_names`\.",
    ):
        fine_tune(model, *given, head_epochs=1, epochs=1, verbose=0)


@pytest.mark.parametrize("classes", [1, 2])
def test_train_and_validation_number_their_classes_alike(classes, backbone, data) -> None:
    """A model that was built from a number can't tell that the labels are swapped."""
    mode = "binary" if classes == 1 else "categorical"
    train, validation = (
        image_dataset((data[0], np.arange(12) % 2), class_names=names, label_mode=mode)
        for names in (["cat", "dog"], ["dog", "cat"])
    )
    with pytest.raises(
        ValueError,
        match=r"^`validation` must have the classes of `train`, in their order: cat, dog\. "
        r"Received: dog, cat\.",
    ):
        fine_tune(build_classifier(backbone, classes), train, validation, head_epochs=1, epochs=1)


def test_validation_may_lack_the_last_class(classifier, data) -> None:
    """Its numbers are the same; of arrays the numbers are the names."""
    classifier.compile("adam", loss="sparse_categorical_crossentropy")
    train, validation = (
        image_dataset((data[0], np.arange(12) % classes), label_mode="int") for classes in (3, 2)
    )
    history = fine_tune(classifier, train, validation, head_epochs=1, epochs=0, verbose=0)

    assert ["head"] == history.history["stage"]


def test_images_of_another_size_are_refused(classifier, data) -> None:
    """The error tells which data, and both sizes."""
    wrong = data[0][:, :7], data[1]
    with pytest.raises(
        ValueError,
        match=r"^`validation` must give batches of images of the model's input shape, "
        r"\(None, 8, 8, 3\)\. Received: \(12, 7, 8, 3\)\.$",
    ):
        fine_tune(classifier, data, wrong, head_epochs=1, epochs=1)


def test_a_dataset_of_single_images_is_refused(classifier, data) -> None:
    """`.unbatch()` leaves images without the axis of the batch."""
    dataset = image_dataset((data[0], data[1].argmax(axis=1))).unbatch()
    with pytest.raises(ValueError, match=r"^`train` must give batches of .* Received: \(8, 8, 3\)"):
        fine_tune(classifier, dataset, data, head_epochs=1, epochs=1)


@pytest.mark.parametrize("shape", [(12, 8, 8), (12, 8, 8, 1)])
@pytest.mark.parametrize("side", [8, None])
def test_a_channel_that_keras_adds_may_be_left_out(shape, side, data) -> None:
    """Gray images come without it from `load_digits` and its like."""
    backbone = simple_cnn((8, 8, 1), 2, filters=(4,), include_top=False, mode="unit")
    if side is None:
        inputs = keras.Input((None, None, 1))
        backbone = keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs))
    model = build_classifier(backbone, 3, mode="none")
    gray = data[0][..., :1].reshape(shape), data[1]

    history = fine_tune(model, gray, gray, head_epochs=1, epochs=0, verbose=0)
    assert ["head"] == history.history["stage"]


def test_images_without_labels_are_refused(classifier, data) -> None:
    """The second image would be taken for the labels."""
    alone = image_dataset((data[0], data[1].argmax(axis=1)), label_mode=None)
    with pytest.raises(ValueError, match=r"^`train` must give images and targets\. Received: imag"):
        fine_tune(classifier, alone, data, head_epochs=1, epochs=1)


def test_a_head_without_a_backbone_is_refused(classifier, data) -> None:
    """All layers would train at the head's rate, BatchNorm too."""
    with pytest.raises(ValueError, match=r"`head` must name the first layer of the head, behind"):
        fine_tune(classifier, data, data, head_epochs=1, epochs=1, head="scale")


def test_an_empty_validation_set_is_refused(classifier, data) -> None:
    """The best epoch can't be known without validation."""
    empty = data[0][:0], data[1][:0]

    with pytest.raises(ValueError, match=r"`validation` must hold at least one image"):
        fine_tune(classifier, data, empty, head_epochs=1, epochs=1)


def test_an_unknown_monitor_is_refused(classifier, data) -> None:
    """The error lists what is logged."""
    with pytest.raises(ValueError, match=r"`monitor` must be one of accuracy, loss, val_accuracy"):
        fine_tune(classifier, data, data, head_epochs=1, epochs=1, monitor="val_acc", verbose=0)


@pytest.mark.parametrize(
    ("wrong", "received"),
    [
        (None, "NoneType"),
        ([1, 2], "list of 2"),
        ((1, 2, 3), "tuple of 3"),
        (pd.DataFrame({"file_paths": []}), "DataFrame"),
    ],
    ids=["nothing", "list", "sample weights", "table"],
)
@pytest.mark.parametrize("name", ["train", "validation"])
def test_data_of_another_kind_is_refused(name, wrong, received, classifier, data) -> None:
    """The error names the argument and says what makes a dataset of a table."""
    parts = {"train": data, "validation": data, name: wrong}

    with pytest.raises(ValueError, match=rf"`{name}` must be a pair of arrays.*: {received}.*`cnn"):
        fine_tune(classifier, **parts, head_epochs=1, epochs=1)


def test_an_endless_dataset_is_refused(classifier, data) -> None:
    """Validation would never end."""
    import tensorflow as tf

    endless = tf.data.Dataset.from_tensor_slices(data).batch(4).repeat()

    with pytest.raises(ValueError, match=r"`validation` must be finite.*Leave `.repeat\(\)` out"):
        fine_tune(classifier, data, endless, head_epochs=1, epochs=1)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # how Keras finds the end
def test_validation_may_be_of_unknown_length(classifier, data) -> None:
    """Only training needs to know its steps."""
    import tensorflow as tf

    filtered = tf.data.Dataset.from_tensor_slices(data).batch(4).filter(lambda *_: True)

    history = fine_tune(classifier, data, filtered, head_epochs=1, epochs=0, verbose=0)
    assert 1 == len(history.history["val_loss"])


@pytest.mark.parametrize("labels", [[-1, 1], [0, 2]])
def test_labels_of_one_unit_are_0_and_1(labels, backbone, data) -> None:
    """A sigmoid knows no other."""
    wrong = data[0], np.resize(labels, 12)

    with pytest.raises(ValueError, match=r"`train` must have labels from 0 to 1, .*1 output"):
        fine_tune(build_classifier(backbone, 1), wrong, wrong, head_epochs=1, epochs=1)


@pytest.mark.parametrize("shape", [(12,), (12, 1)])
def test_one_unit_trains_on_labels_of_both_shapes(shape, backbone, data) -> None:
    """A row or a column of 0 and 1."""
    binary = data[0], (np.arange(12) % 2).reshape(shape).astype("float32")

    history = fine_tune(
        build_classifier(backbone, 1), binary, binary, head_epochs=1, epochs=0, verbose=0
    )
    assert ["head"] == history.history["stage"]


def test_two_outputs_are_refused(backbone, data) -> None:
    """A classifier has one output."""
    model = keras.Model(backbone.input, [backbone.output, backbone.output])
    model.compile("adam", loss=["mse", "mse"])

    with pytest.raises(ValueError, match=r"`model` must have one output.*Received: 2 outputs"):
        fine_tune(model, data, data, head_epochs=1, epochs=1, head="conv2")


def test_a_dataset_of_unknown_length_is_refused(classifier, data) -> None:
    """The rate can't rise and fall over an unknown number of steps."""
    import tensorflow as tf

    endless = tf.data.Dataset.from_tensor_slices(data).batch(4).filter(lambda *_: True)

    with pytest.raises(ValueError, match=r"`train` must know its number of batches.*assert_card"):
        fine_tune(classifier, endless, data, head_epochs=1, epochs=1)


@pytest.mark.parametrize("shuffle", [True, False])
def test_sorted_training_data_are_warned_of(shuffle, recwarn) -> None:
    """A table is sorted by class: unshuffled, each batch has one class and accuracy falls apart."""
    images = np.zeros((64, 8, 8, 1), dtype=np.uint8)
    pair = images, np.arange(64) // 32
    train = image_dataset(pair, batch_size=16, shuffle=shuffle, seed=0)
    backbone = simple_cnn((8, 8, 1), 2, filters=(4,), include_top=False, mode="unit")
    model = build_classifier(backbone, 2, mode="none")
    fine_tune(model, train, image_dataset(pair), head_epochs=1, epochs=0, verbose=0)
    told = [
        w for w in recwarn if "of the first batch of `train` are of one class" in str(w.message)
    ]

    assert ([] if shuffle else [__file__]) == [warning.filename for warning in told]
