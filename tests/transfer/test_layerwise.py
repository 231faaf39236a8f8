"""A layer's rate is exactly its multiplier times the optimizer's rate."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers, optimizers

from cnnkit.transfer import layerwise_learning_rates
from cnnkit._keras.optimizers import same_settings

RATE, FACTOR = 0.02, 0.25  # powers of two: multiplying by them rounds nothing
OPTIMIZERS = {
    "SGD": lambda rate, **o: optimizers.SGD(rate, momentum=0.9, nesterov=True, **o),
    "Adam": optimizers.Adam,
    "AdamW": lambda rate, **o: optimizers.AdamW(rate, **{"weight_decay": 0.1} | o),
    "RMSprop": lambda rate, **o: optimizers.RMSprop(rate, momentum=0.5, centered=True, **o),
    "Lion": optimizers.Lion,
    "Adagrad": optimizers.Adagrad,
    "Nadam": optimizers.Nadam,
    "Lamb": optimizers.Lamb,
}
SETTINGS = {
    "plain": {},
    "weight decay": {"weight_decay": 0.05},
    "clipnorm": {"clipnorm": 0.1},
    "global clipnorm": {"global_clipnorm": 0.1},
    "clipvalue": {"clipvalue": 0.01},
    "average": {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 3},
    "accumulation": {"gradient_accumulation_steps": 2},
    "loss scale": {"loss_scale_factor": 8.0},
}


def two_layers() -> keras.Model:
    """Return a model of a slow and a fast layer, always with the same weights."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    x = layers.Dense(5, name="slow")(inputs)
    return keras.Model(inputs, layers.Dense(3, name="fast")(x))


def after_steps(optimizer: optimizers.Optimizer, steps: int = 4) -> dict[str, list[np.ndarray]]:
    """Apply the same drawn gradients and return the weights of each layer."""
    model, generator = two_layers(), np.random.default_rng(0)
    for _ in range(steps):
        gradients = [
            keras.ops.convert_to_tensor(generator.standard_normal(weight.shape), "float32")
            for weight in model.trainable_variables
        ]
        optimizer.apply(gradients, model.trainable_variables)
    return {name: model.get_layer(name).get_weights() for name in ("slow", "fast")}


def assert_same(expected: list[np.ndarray], actual: list[np.ndarray]) -> None:
    for one, other in zip(expected, actual, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-7)


# Each optimizer has a step of its own; all but weight decay comes before or after the steps, in
# the base class of all.
@pytest.mark.parametrize(
    ("name", "setting"),
    [
        *((name, setting) for name in OPTIMIZERS for setting in ("plain", "weight decay")),
        *(("Adam", setting) for setting in SETTINGS if setting not in ("plain", "weight decay")),
    ],
)
def test_each_layer_moves_as_with_an_optimizer_of_its_rate(name, setting) -> None:
    """The slow layer moves as at a quarter of the rate, and the fast one as at the whole rate."""
    make, settings = OPTIMIZERS[name], SETTINGS[setting]
    whole = after_steps(make(RATE, **settings))
    quarter = after_steps(make(RATE * FACTOR, **settings))
    actual = after_steps(layerwise_learning_rates(make(RATE, **settings), {"slow": FACTOR}))

    assert not np.array_equal(whole["slow"][0], quarter["slow"][0])
    assert_same(quarter["slow"], actual["slow"])
    assert_same(whole["fast"], actual["fast"])


def test_a_schedule_is_multiplied_at_every_step() -> None:
    """Where the rate changes by itself, its share does."""

    def decay(rate: float) -> optimizers.schedules.LearningRateSchedule:
        return optimizers.schedules.ExponentialDecay(rate, decay_steps=2, decay_rate=0.5)

    quarter = after_steps(optimizers.Adam(decay(RATE * FACTOR)))
    actual = after_steps(layerwise_learning_rates(optimizers.Adam(decay(RATE)), {"slow": FACTOR}))

    assert_same(quarter["slow"], actual["slow"])


def test_zero_leaves_a_layer_where_it_is() -> None:
    """Not even weight decay moves it."""
    before = two_layers().get_layer("slow").get_weights()
    optimizer = layerwise_learning_rates(optimizers.AdamW(RATE, weight_decay=0.5), {"slow": 0})

    assert_same(before, after_steps(optimizer)["slow"])


def batch() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    return generator.standard_normal((16, 6)), generator.standard_normal((16, 3))


def trained(optimizer: optimizers.Optimizer, **options) -> tuple[keras.Model, dict]:
    """Fit four epochs of two batches each."""
    model = two_layers()
    model.compile(optimizer, loss="mse")
    history = model.fit(*batch(), batch_size=8, epochs=4, shuffle=False, verbose=0, **options)
    return model, history.history


@pytest.mark.parametrize(
    "callback",
    [
        lambda: keras.callbacks.LearningRateScheduler(lambda _, rate: rate * 0.5),
        lambda: keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=0, min_delta=1e9),
    ],
    ids=["LearningRateScheduler", "ReduceLROnPlateau"],
)
@pytest.mark.usefixtures("eagerly")
def test_callbacks_set_the_rate_of_all_layers(callback) -> None:
    """The history shows the one rate; with equal multipliers it is a plain optimizer's run."""
    halved = layerwise_learning_rates(optimizers.SGD(RATE), {"slow": 0.5, "fast": 0.5})
    model, history = trained(halved, callbacks=[callback()])
    plain, expected = trained(optimizers.SGD(RATE / 2), callbacks=[callback()])

    assert expected["loss"] == pytest.approx(history["loss"], rel=1e-6)
    assert [2 * rate for rate in expected["learning_rate"]] == pytest.approx(
        history["learning_rate"]
    )
    assert len(set(history["learning_rate"])) > 2
    assert_same(plain.get_weights(), model.get_weights())


def test_dynamic_loss_scaling_goes_around_it() -> None:
    """mixed_float16 wraps an optimizer in a LossScaleOptimizer."""
    inner = layerwise_learning_rates(optimizers.Adam(RATE), {"slow": FACTOR})
    _, expected = trained(layerwise_learning_rates(optimizers.Adam(RATE), {"slow": FACTOR}))
    _, history = trained(optimizers.LossScaleOptimizer(inner, initial_scale=8.0))

    assert expected["loss"] == pytest.approx(history["loss"], rel=1e-5)


def test_a_saved_model_goes_on_as_if_never_stopped(tmp_path) -> None:
    """Rates, momentum and steps are in the file."""
    whole = two_layers()
    whole.compile(layerwise_learning_rates(optimizers.AdamW(RATE), {"slow": FACTOR}), loss="mse")
    options = {"batch_size": 8, "shuffle": False, "verbose": 0}
    whole.fit(*batch(), epochs=2, **options)
    whole.save(tmp_path / "half.keras")
    resumed = keras.saving.load_model(tmp_path / "half.keras")
    losses = [model.fit(*batch(), epochs=3, **options).history for model in (whole, resumed)]

    assert losses[0] == losses[1]
    assert {"slow": FACTOR} == resumed.optimizer.multipliers


def test_the_given_optimizer_is_not_changed() -> None:
    """It can be used elsewhere, and so can its class."""
    given = optimizers.Adam(RATE)
    layerwise_learning_rates(given, {"slow": FACTOR})

    assert type(given) is optimizers.Adam
    assert not given.built
    assert isinstance(layerwise_learning_rates(given, {}), optimizers.Adam)


def test_an_optimizer_of_ones_own_is_taken() -> None:
    """Any class that is derived from Keras's."""

    class Own(optimizers.SGD):
        """Goes twice as far."""

        def update_step(self, gradient, variable, learning_rate):
            super().update_step(gradient, variable, 2 * learning_rate)

    quarter = after_steps(Own(RATE * FACTOR))
    actual = after_steps(layerwise_learning_rates(Own(RATE), {"slow": FACTOR}))

    assert_same(quarter["slow"], actual["slow"])


@pytest.mark.usefixtures("eagerly")
def test_layers_of_a_model_inside_are_found(nested, data) -> None:
    """A layer is found by its name inside a nested model, too."""
    images, targets = data
    before = nested.get_layer("backbone").get_layer("conv1").get_weights()
    optimizer = layerwise_learning_rates(optimizers.SGD(0.1), {"conv1": 0})
    nested.compile(optimizer, loss="sparse_categorical_crossentropy")
    nested.fit(images, targets.argmax(axis=1), verbose=0)

    assert_same(before, nested.get_layer("backbone").get_layer("conv1").get_weights())


@pytest.mark.usefixtures("eagerly")
def test_a_layer_that_is_made_of_others_is_found(rng) -> None:
    """Its name stands for all parts, and the name of a part for that part."""
    inputs = keras.Input((4, 6))
    attention = layers.MultiHeadAttention(2, 3, name="mha")
    model = keras.Model(inputs, layers.Dense(1, name="end")(attention(inputs, inputs)))
    rates = {"mha": 0.0, "query": 0.5}
    model.compile(layerwise_learning_rates(optimizers.SGD(0.1), rates), loss="mse")
    before = {weight.path: np.array(weight) for weight in model.weights}
    model.fit(rng.random((8, 4, 6)), rng.random((8, 4, 1)), verbose=0)
    moved = {w.path for w in model.weights if not np.array_equal(before[w.path], np.array(w))}

    assert {path.split("/")[-2] for path in moved} == {"query", "end"}


@pytest.mark.parametrize("outer", ["wrapper", "block"])
@pytest.mark.usefixtures("eagerly")
def test_a_saved_model_keeps_the_rates_of_outer_layers(outer, rng, tmp_path) -> None:
    """In a loaded model, Keras omits the names of these layers."""
    inputs = keras.Input((4, 6))
    x = layers.TimeDistributed(layers.Dense(3, name="inner"), name="wrapper")(inputs)
    x = keras.Sequential([layers.Dense(2, name="part")], name="block")(x)
    model = keras.Model(inputs, layers.Dense(1, name="end")(x))
    optimizer = layerwise_learning_rates(optimizers.AdamW(0.1), {outer: 0.1})
    model.compile(optimizer, loss="mse")
    data = rng.random((8, 4, 6)), rng.random((8, 4, 1))
    model.fit(*data, verbose=0)
    model.save(tmp_path / "model.keras")
    resumed = keras.saving.load_model(tmp_path / "model.keras")
    for some in (model, resumed):
        some.fit(*data, epochs=2, verbose=0)

    for ours, theirs in zip(model.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.usefixtures("eagerly")
def test_rates_of_what_has_trained_are_not_taken_for_others() -> None:
    """A fresh optimizer asks for names, also where as many weights train as before."""
    model = two_layers()
    model.compile(layerwise_learning_rates(optimizers.SGD(RATE), {"slow": 0.1}), loss="mse")
    model.fit(*batch(), verbose=0)
    others = [weight for weight in two_layers().weights if "slow" not in weight.path]

    with pytest.raises(ValueError, match="must name layers that train"):
        same_settings(model.optimizer).build([*others, *others])


def test_what_has_no_weight_decay_keeps_none() -> None:
    """The exclusion isn't part of the optimizer's configuration."""
    model, optimizer = two_layers(), optimizers.AdamW(0.1, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    layerwise = layerwise_learning_rates(optimizer, {"slow": 0.5})
    layerwise.build(model.trainable_variables)

    assert not layerwise._use_weight_decay(model.get_layer("slow").bias)
    assert layerwise._use_weight_decay(model.get_layer("slow").kernel)


def test_a_name_that_trains_nowhere_is_refused() -> None:
    """The layers are known at the first step; the error lists the closest name."""
    optimizer = layerwise_learning_rates(optimizers.SGD(RATE), {"slwo": 0.1})
    with pytest.raises(
        ValueError,
        match=r"`multipliers` must name layers that train\. Received: \['slwo'\]\. "
        r"The closest: slow\. Leave frozen layers out, or freeze before the optimizer is made\.$",
    ):
        after_steps(optimizer)


@pytest.mark.parametrize("factor", [-0.1, float("nan"), "0.1", None])
def test_a_negative_multiplier_is_refused(factor) -> None:
    """It would increase the loss."""
    with pytest.raises(ValueError, match=r"`multipliers` must be numbers of at least 0\. Received"):
        layerwise_learning_rates(optimizers.SGD(), {"slow": factor})


def test_multipliers_are_a_dict_of_numbers_of_any_type() -> None:
    """NumPy's are numbers, too."""
    layerwise_learning_rates(optimizers.SGD(), {"slow": np.float32(0.1)})
    with pytest.raises(TypeError, match=r"^`multipliers` must be a dict that maps .*: list\.$"):
        layerwise_learning_rates(optimizers.SGD(), [("slow", 0.1)])


@pytest.mark.parametrize(
    "given",
    [
        "adam",
        optimizers.LossScaleOptimizer(optimizers.SGD()),
        layerwise_learning_rates(optimizers.SGD(), {}),
    ],
)
def test_what_has_no_rate_of_its_own_is_refused(given) -> None:
    """A name, or an optimizer around another."""
    with pytest.raises(TypeError, match=r"`optimizer` must be a Keras optimizer with one learn"):
        layerwise_learning_rates(given, {})


MIRRORED = """
import keras, numpy as np, tensorflow as tf
from cnnkit.transfer import layerwise_learning_rates

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
images, targets = np.random.default_rng(0).random((8, 6)), np.zeros((8, 3))

def weights(strategy, rate, multipliers):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = keras.Sequential(
            [keras.Input((6,)), keras.layers.Dense(5, name="slow"), keras.layers.Dense(3)]
        )
        optimizer = keras.optimizers.AdamW(rate, weight_decay=0.1)
        model.compile(layerwise_learning_rates(optimizer, multipliers), loss="mse")
    model.fit(images, targets, batch_size=8, epochs=3, shuffle=False, verbose=0)
    return model.get_weights()

one = weights(tf.distribute.get_strategy(), 0.1, {"slow": 0.25})
mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert mirrored.num_replicas_in_sync == 2
for a, b in zip(one, weights(mirrored, 0.1, {"slow": 0.25}), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
"""


def test_two_devices_train_as_one() -> None:
    """Under MirroredStrategy every replica takes the same step."""
    subprocess.run([sys.executable, "-c", MIRRORED], check=True)
