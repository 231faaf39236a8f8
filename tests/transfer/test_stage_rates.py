"""The learning rates of the two stages: over their steps, and from block to block."""

import keras
import numpy as np
import pytest

from cnnkit.transfer import fine_tune

pytestmark = pytest.mark.usefixtures("eagerly")


class Record(keras.callbacks.Callback):
    """Note the learning rate of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.rates: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self.rates.append(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))


def test_the_rate_rises_to_its_peak_and_falls(classifier, data) -> None:
    """Thirty percent of the steps rise; the last is far below the peak."""
    record = Record()
    fine_tune(
        classifier,
        data,
        data,
        head_epochs=5,
        epochs=0,
        head_learning_rate=0.5,
        batch_size=3,
        callbacks=[record],
        verbose=0,
    )
    rates = np.array(record.rates)

    assert 20 == len(rates)
    assert 6 == rates.argmax()
    assert 0.5 == pytest.approx(rates.max())
    assert (np.diff(rates)[:6] > 0).all()
    assert (np.diff(rates)[6:] < 0).all()
    assert rates[-1] < 0.01


def weights_of(model: keras.Model) -> dict[str, list[np.ndarray]]:
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


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
    """In a loaded model, Keras omits the names of wrapped layers."""
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
    """There is no warning, because the user didn't ask for blocks."""
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
    """The layers before it aren't slowed down by it."""
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
