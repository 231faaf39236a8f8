"""Each thing that the room asks of Keras's private side, on the Keras that is installed."""

import keras
import numpy as np
import pytest
from keras import layers

from cnnkit._keras.compiling import build_metrics, compile_like, compiled_with, is_stale
from cnnkit._keras.distribution import scope_of
from cnnkit._keras.fitting import first_epoch, set_first_epoch
from cnnkit._keras.graph import (
    call_before,
    functional,
    has_outputs,
    inputs_of,
    names_before,
    nodes,
    outputs_of,
    place,
    was_called,
)
from cnnkit._keras.layerwise import with_factors, with_multipliers
from cnnkit._keras.layers import draws_in_training, parts_of
from cnnkit._keras.optimizers import same_settings


@pytest.fixture
def model() -> keras.Model:
    """A network of two branches."""
    inputs = keras.Input((4,), name="in")
    left = layers.Dense(3, name="left")(inputs)
    right = layers.Dense(3, name="right")(inputs)
    outputs = layers.Dense(1, name="end")(layers.Add(name="add")([left, right]))
    return keras.Model(inputs, outputs)


def test_calls_come_in_the_order_of_the_graph(model) -> None:
    """What a call needs was called before it."""
    seen: set[str] = set()
    for node in nodes(model):
        before = {call_before(tensor)[0].name for tensor in node.input_tensors}
        assert before <= seen
        seen.add(node.operation.name)

    assert {"in", "left", "right", "add", "end"} == seen


def test_a_tensor_knows_what_it_comes_from(model) -> None:
    """The operation, and what it was called on in that call."""
    add, inputs = call_before(model.get_layer("end").input)

    assert model.get_layer("add") is add
    assert [model.get_layer(name).output.name for name in ("left", "right")] == [
        tensor.name for tensor in inputs
    ]


def test_places_tell_tensors_apart(model) -> None:
    """Each output of each call has a place of its own, which stays."""
    tensors = [layer.output for layer in model.layers]

    assert len(tensors) == len({place(tensor) for tensor in tensors})
    assert place(tensors[1]) == place(model.layers[1].output)


def test_names_before_a_tensor(model) -> None:
    """All that leads to it, itself included; of a tensor of its own, nothing."""
    assert {"in", "left"} == names_before(model.get_layer("left").output)
    assert set() == names_before(np.zeros(3))


def test_structures_of_inputs_and_outputs_stay() -> None:
    """A model from a dict to a dict is copied as one."""
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    model = keras.Model({"a": a, "b": b}, {"sum": layers.add([a, b])})
    copy = functional(model)
    given = {"a": np.ones((1, 2)), "b": np.ones((1, 2))}

    assert {"a", "b"} == set(inputs_of(model))
    assert {"sum"} == set(outputs_of(model))
    assert [[2, 2]] == keras.ops.convert_to_numpy(copy(given)["sum"]).tolist()


def test_layers_that_were_called(model) -> None:
    """One that has not been called has no output."""
    assert was_called(model.layers[1])
    assert not was_called(layers.Dense(1))
    assert has_outputs(model)


def test_parts_of_a_layer() -> None:
    """A layer comes first, then those it is made of, at any depth."""
    inner = layers.Dense(2)
    outer = layers.TimeDistributed(keras.Sequential([keras.Input((2,)), inner]))

    assert outer is parts_of(outer)[0]
    assert any(part is inner for part in parts_of(outer))
    assert [] == parts_of(keras.ops.add)


@pytest.mark.parametrize(
    ("layer", "draws"),
    [
        (layers.Dropout(0.5), True),
        (layers.Dropout(0.0), False),
        (layers.RandomFlip(), True),
        (layers.GaussianNoise(0.1), True),
        (layers.MultiHeadAttention(1, 2, dropout=0.5), True),
        (layers.MultiHeadAttention(1, 2), False),
        (layers.LSTM(2, recurrent_dropout=0.5), True),
        (layers.Dense(2), False),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_layers_that_draw(layer, draws) -> None:
    """In training, unless their rate is 0."""
    assert draws == any(map(draws_in_training, parts_of(layer)))


def test_what_a_model_is_compiled_with_comes_back_as_it_was(model) -> None:
    """A lambda, which no configuration can hold, is handed on."""

    def loss(truth, predicted):
        return keras.ops.mean(keras.ops.abs(truth - predicted))

    model.compile("adam", loss=loss, metrics=["mae"])
    twin = functional(model)
    compile_like(twin, model, keras.optimizers.SGD(0.5))

    assert loss is compiled_with(model)["loss"]
    assert loss is twin.loss
    assert 0.5 == float(twin.optimizer.learning_rate)


def test_metrics_are_built_without_data(model) -> None:
    """They have their names before the first batch."""
    model.compile("adam", loss="mse", metrics=["mae"])
    build_metrics(model, keras.KerasTensor((1, 4)), keras.KerasTensor((1, 1)))

    assert "mae" in [metric.name for metric in model.metrics[1].metrics]


def test_a_train_step_goes_stale(model) -> None:
    """It is stale from a change of `trainable` on, until another optimizer is built."""
    model.compile("sgd", loss="mse")
    model.train_on_batch(np.ones((2, 4)), np.ones((2, 1)))
    before = is_stale(model)
    model.get_layer("left").trainable = False

    assert [False, True] == [before, is_stale(model)]


def test_the_first_epoch_of_a_resumed_run(model, tmp_path) -> None:
    """Keras's own callback sets what is read here."""
    model.compile("sgd", loss="mse")
    data = np.ones((2, 4)), np.ones((2, 1))

    class Killed(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    for _ in range(2):
        backup = keras.callbacks.BackupAndRestore(str(tmp_path))
        with pytest.raises(KeyboardInterrupt):
            model.fit(*data, epochs=3, callbacks=[backup, Killed()], verbose=0)
    resumed = first_epoch(model)
    set_first_epoch(model, None)

    assert [2, None] == [resumed, first_epoch(model)]


def test_the_scope_of_a_model_is_where_it_was_made() -> None:
    """Not where it is asked for."""
    import tensorflow as tf

    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    plain = keras.Sequential([keras.Input((2,)), layers.Dense(1)])

    with scope_of(model):
        assert strategy is tf.distribute.get_strategy()
    with scope_of(plain):
        assert strategy is not tf.distribute.get_strategy()


def test_what_is_excluded_from_weight_decay_stays_so() -> None:
    """No configuration tells it."""
    optimizer = keras.optimizers.SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    variables = [keras.Variable([1.0], name=name) for name in ("kernel", "bias")]
    fresh = same_settings(optimizer)
    fresh.build(variables)
    fresh.apply([keras.ops.zeros((1,))] * 2)

    assert pytest.approx([0.95, 1.0]) == [float(variable.numpy()[0]) for variable in variables]


@pytest.mark.parametrize("kind", [keras.optimizers.SGD, keras.optimizers.AdamW])
def test_rates_are_multiplied_in_the_step_and_in_the_decay(kind) -> None:
    """A variable with factor 0.5 moves half as far, and decays half as fast."""
    variables = [keras.Variable([1.0], name=name) for name in ("a", "b")]
    optimizer = with_factors(kind(0.1, weight_decay=0.5), [1.0, 0.5])
    optimizer.build(variables)
    optimizer.apply([keras.ops.ones((1,))] * 2)
    first, second = (1 - float(variable.numpy()[0]) for variable in variables)

    # The decay comes before the step, so the second isn't exactly half of the first.
    assert pytest.approx(first / 2, rel=0.05) == second


def test_multipliers_are_found_by_the_names_of_layers(model) -> None:
    """1 where a layer isn't named."""
    optimizer = with_multipliers(keras.optimizers.SGD(1.0), {"left": 0.0})
    model.compile(optimizer, loss="mse")
    before = [layer.get_weights() for layer in model.layers]
    model.train_on_batch(np.ones((2, 4)), np.full((2, 1), 9.0))
    changed = {
        layer.name
        for layer, weights in zip(model.layers, before, strict=True)
        if any((a != b).any() for a, b in zip(layer.get_weights(), weights, strict=True))
    }

    assert {"right", "end"} == changed
