"""The scan suggests a rate that works, and leaves no trace in the model."""

import random
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits

from cnnkit.transfer import find_learning_rate, freeze
from cnnkit.transfer._rate_scan import _diverged

eager = pytest.mark.usefixtures("eagerly")


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    images, targets = load_digits(return_X_y=True)
    return (images / 16).astype("float32"), targets


def some_digits() -> tuple[np.ndarray, np.ndarray]:
    """Two batches."""
    images, targets = digits()
    return images[:64], targets[:64]


def classifier(learning_rate: float = 1e-3) -> keras.Model:
    """Return a network with all that has a state: BatchNorm, dropout, an optimizer."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((64,)),
            layers.Dense(32),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.2),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def state(model: keras.Model) -> list[bytes]:
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(variable).tobytes() for variable in variables]


def trained_before() -> keras.Model:
    model = classifier()
    model.fit(*some_digits(), epochs=1, shuffle=False, verbose=0)
    return model


def scan(model: keras.Model, data=None, **options):
    return find_learning_rate(
        model, some_digits() if data is None else data, **{"progress": False} | options
    )


class Scanned(NamedTuple):
    """The state of a trained model before and after a scan with compiled steps."""

    is_same_optimizer: bool
    before: list[bytes]
    after: list[bytes]
    history: dict[str, list[float]]  # of the epochs after it


@pytest.fixture(scope="module")
def scanned() -> Scanned:
    """One scan, and the two epochs after it."""
    model = trained_before()
    optimizer, before = model.optimizer, state(model)
    scan(model)
    is_same, after = optimizer is model.optimizer, state(model)
    history = model.fit(*some_digits(), epochs=2, shuffle=False, verbose=0)
    return Scanned(is_same, before, after, history.history)


def test_everything_is_as_before_bit_for_bit(scanned) -> None:
    """Weights, statistics, the seeds of dropout, and the optimizer itself with its momentum."""
    assert scanned.is_same_optimizer
    assert scanned.before == scanned.after


def test_training_goes_on_as_if_there_had_been_no_scan(scanned) -> None:
    """The next epochs log the same losses."""
    history = trained_before().fit(*some_digits(), epochs=2, shuffle=False, verbose=0)

    assert history.history == scanned.history


class Drawn(keras.utils.PyDataset):
    """Batches chosen by the global random generators, as in much existing code."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        images, targets = digits()
        first = random.randrange(1000) + np.random.randint(500)  # noqa: NPY002
        return images[first : first + 32], targets[first : first + 32]


@eager
def test_the_random_state_of_other_code_is_not_touched() -> None:
    """The scan restores Python's and NumPy's global generators, even if the data uses them."""
    model = classifier()
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    expected = random.random(), np.random.random()  # noqa: NPY002
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    scan(model, Drawn(), steps=10)

    assert expected == (random.random(), np.random.random())  # noqa: NPY002


@eager
def test_each_loss_is_that_of_its_own_batch() -> None:
    """At rates too low to change the model, the losses of two batches alternate."""
    images, targets = some_digits()
    model = keras.Sequential([keras.Input((64,)), layers.Dense(10, activation="softmax")])
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    halves = [slice(0, 32), slice(32, 64)]
    expected = [model.evaluate(images[x], targets[x], verbose=0) for x in halves]
    found = scan(model, steps=10, lowest=1e-12, highest=2e-12)

    assert abs(expected[0] - expected[1]) > 1e-3
    np.testing.assert_allclose(np.tile(expected, 5), found.losses, rtol=1e-5)


@eager
@pytest.mark.parametrize("fails", [KeyboardInterrupt, RuntimeError])
def test_all_is_restored_after_an_interruption_too(fails, monkeypatch) -> None:
    """After an interruption the model is as before."""
    model = trained_before()
    before, calls, step = state(model), [], model.train_on_batch

    def interrupted(*args, **options):
        calls.append(1)
        if len(calls) > 4:
            raise fails
        return step(*args, **options)

    monkeypatch.setattr(model, "train_on_batch", interrupted)
    with pytest.raises(fails):
        scan(model, lowest=1e-2)

    assert before == state(model)


@eager
def test_the_rates_rise_by_equal_factors() -> None:
    """From the lowest on, up to the highest if the loss stays small."""
    found = scan(classifier(), lowest=1e-5, highest=1e-3, steps=11)

    np.testing.assert_allclose(found.learning_rates, np.geomspace(1e-5, 1e-3, 11))
    assert (11,) == found.losses.shape


@eager
def test_the_losses_are_those_of_single_batches() -> None:
    """Keras logs running means, which would hide where the loss turns."""
    images, targets = digits()
    still = {"steps": 10, "lowest": 1e-12, "highest": 2e-12}
    found = scan(classifier(), digits(), batch_size=50, **still)
    model, expected = classifier(1e-12), []
    for start in range(0, 500, 50):
        model.reset_metrics()
        batch = images[start : start + 50], targets[start : start + 50]
        expected.append(float(model.train_on_batch(*batch, return_dict=True)["loss"]))

    assert len(set(expected)) == 10
    np.testing.assert_allclose(found.losses, expected, rtol=1e-6)


def test_it_stops_where_the_loss_explodes() -> None:
    """Higher rates would show nothing more."""
    found = scan(classifier(), digits(), highest=1e3, steps=200)

    assert len(found.losses) < 200
    assert len(found.losses) == len(found.learning_rates)
    assert found.suggestion < found.learning_rates[-1]


def test_noise_of_single_batches_does_not_stop_it() -> None:
    """After training, some batches have no mistake and some have one."""
    model = classifier(1e-2)
    images, targets = digits()
    some = images[:600], targets[:600]
    model.fit(*some, epochs=15, verbose=0)
    found = scan(model, some, batch_size=8, highest=1e-3)

    assert found.losses.max() > 4 * found.losses.min()
    assert 100 == len(found.losses)


@eager
def test_a_loss_below_zero_does_not_stop_it() -> None:
    """For negative losses, four times the lowest loss is lower still."""
    model = classifier()
    model.compile("adam", loss=keras.losses.CosineSimilarity())
    images, targets = some_digits()
    found = scan(model, (images, np.eye(10)[targets]), highest=1e-3, steps=20)

    assert found.losses.max() < 0
    assert 20 == len(found.losses)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([1.0] * 11 + [5.0], True),
        ([1.0] * 11 + [3.0], False),  # not far enough
        ([5.0] + [1.0] * 10 + [4.5], False),  # no higher than at the start
        ([-1.0] * 11 + [-0.5], False),  # far above four times the lowest, -4
        ([1.0] * 5 + [9.0], False),  # too early to tell
    ],
    ids=["far", "near", "noise", "below zero", "early"],
)
def test_a_loss_has_diverged_beyond_four_times_the_lowest_and_the_noise(losses, expected) -> None:
    """Both bounds count, and the first ten steps show the noise."""
    assert expected == _diverged(np.array(losses))


@eager
def test_loss_scaling_is_as_before() -> None:
    """The optimizer inside has the rate; the scale and its count stay."""
    model = trained_before()
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-3), initial_scale=8.0)
    model.compile(scaled, loss="sparse_categorical_crossentropy")
    model.fit(*some_digits(), epochs=1, verbose=0)
    before = state(model)
    found = scan(model, steps=20)

    assert 1e-6 < found.suggestion < 1
    assert before == state(model)
    assert scaled is model.optimizer


@eager
def test_an_optimizer_without_a_state_gets_none() -> None:
    """It is built when training begins, because the trainable layers may change until then."""
    model = classifier()
    scan(model, steps=10)

    assert not model.optimizer.built


@pytest.fixture(scope="module")
def accuracy() -> Callable[[float], float]:
    """Return a function from a rate to the accuracy after five epochs, always of one network."""
    model = classifier()
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    start = [keras.ops.convert_to_numpy(variable).copy() for variable in variables]

    def after_training(rate: float) -> float:
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        model.optimizer.learning_rate = rate
        images, targets = digits()
        model.fit(images[:900], targets[:900], epochs=5, shuffle=False, verbose=0)
        return model.evaluate(images[:900], targets[:900], batch_size=900, verbose=0)[1]

    return after_training


@pytest.fixture(scope="module")
def best(accuracy) -> float:
    return max(accuracy(rate) for rate in (1e-4, 1e-3, 1e-2, 1e-1))


@pytest.mark.parametrize("steps", [60, pytest.param(300, marks=pytest.mark.slow)])
def test_the_suggestion_trains_about_as_well_as_any_rate(steps, accuracy, best) -> None:
    """Five epochs reach what the best of four powers of ten reaches, less five points at most."""
    assert best > 0.9
    assert accuracy(scan(classifier(), digits(), steps=steps).suggestion) >= best - 0.05


@eager
def test_datasets_of_any_kind_are_begun_again() -> None:
    """Two batches are enough data for ten steps; the losses are the same for each kind."""
    import tensorflow as tf

    class Rows(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int):
            return tuple(part[32 * index : 32 * index + 32] for part in small)

    small = some_digits()
    dataset = tf.data.Dataset.from_tensor_slices(small).batch(32)
    losses = [scan(classifier(), data, steps=10).losses for data in (small, dataset, Rows())]

    assert 10 == len(losses[0])
    np.testing.assert_array_equal(losses[0], losses[1])
    np.testing.assert_array_equal(losses[0], losses[2])


def test_what_gives_its_batches_once_is_refused() -> None:
    """The scan reads the data several times."""
    images, targets = digits()
    once = ((images[n : n + 8], targets[n : n + 8]) for n in range(0, 80, 8))
    with pytest.raises(ValueError, match=r"`data` must be iterable more than once\."):
        scan(classifier(), once)


def test_a_list_of_images_is_refused() -> None:
    """Its length is no number of images."""
    images, targets = digits()
    with pytest.raises(ValueError, match=r"The images of `data` must be one array\. Received: lis"):
        scan(classifier(), ([images, images], targets))


def test_no_data_is_refused() -> None:
    """The scan would restart an empty dataset forever."""
    images, targets = digits()
    with pytest.raises(ValueError, match=r"`data` must hold at least one image\. Received: none\."):
        scan(classifier(), (images[:0], targets[:0]))


def test_an_uncompiled_model_is_refused() -> None:
    """Without a loss nothing can be measured."""
    model = keras.Sequential([keras.Input((64,)), layers.Dense(10)])
    with pytest.raises(ValueError, match=r"`model` must be compiled\."):
        scan(model)


def test_a_schedule_is_refused() -> None:
    """The test sets the rate, which a schedule would too."""
    model = classifier()
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, 10)
    model.compile(keras.optimizers.Adam(schedule), loss="sparse_categorical_crossentropy")
    with pytest.raises(
        ValueError,
        match=r"`model` must be compiled with a number as learning rate.*Received: a schedule\. "
        r"Compile the model with any number first\.",
    ):
        scan(model)


@eager
def test_a_loss_that_is_no_number_is_refused() -> None:
    """Images with NaNs give no finite loss at any rate."""
    images, targets = digits()
    with pytest.raises(ValueError, match=r"The loss must be a number at the first step\. Received"):
        scan(classifier(), (np.full_like(images, np.nan), targets))


@pytest.mark.parametrize(("lowest", "highest"), [(0, 1), (1, 1), (1e-2, 1e-3), (-1, 1)])
def test_bounds_must_rise(lowest, highest) -> None:
    """From a rate above 0 to a higher one."""
    with pytest.raises(ValueError, match=r"`lowest` must be above 0 and below `highest`\. Rec"):
        scan(classifier(), lowest=lowest, highest=highest)


def test_too_few_steps_are_refused() -> None:
    """Fewer steps don't show where the loss falls."""
    with pytest.raises(ValueError, match=r"`steps` must be a whole number of at least 10"):
        scan(classifier(), steps=9)


@eager
def test_nothing_is_shown_without_progress(capfd) -> None:
    """The progress bar can be turned off."""
    scan(classifier(), steps=10)

    assert ("", "") == tuple(capfd.readouterr())


def test_a_frozen_model_is_refused() -> None:
    """Whatever the rate, its loss would stay the same."""
    model = classifier()
    freeze(model)
    with pytest.raises(ValueError, match=r"^`model` must have trainable weights\. Received: a mod"):
        scan(model)


def test_images_alone_are_refused() -> None:
    """A loss needs targets."""
    import tensorflow as tf

    with pytest.raises(ValueError, match=r"^`data` must be a pair of arrays"):
        scan(classifier(), digits()[0])
    with pytest.raises(ValueError, match=r"^`data` must yield images and targets\."):
        scan(classifier(), tf.data.Dataset.from_tensor_slices(digits()[0]).batch(32))


@eager
def test_a_model_that_knows_no_shape_is_taken() -> None:
    """Of a class of its own nobody can tell what it takes."""

    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(10, activation="softmax")

        def call(self, x):
            return self.dense(x)

    model = Own()
    model.compile("adam", loss="sparse_categorical_crossentropy")
    model(np.zeros((1, 64)))

    assert 10 == len(scan(model, steps=10).losses)


@eager
def test_a_model_of_two_inputs_and_outputs_is_taken() -> None:
    """The scan doesn't restrict the structure of inputs and outputs."""
    images, targets = digits()
    inputs = [keras.Input((64,)), keras.Input((32,))]
    x = layers.Concatenate()(inputs)
    ends = layers.Dense(10, activation="softmax"), layers.Dense(1)
    model = keras.Model(inputs, [end(x) for end in ends])
    model.compile("adam", loss=["sparse_categorical_crossentropy", "mse"])
    parts = [
        ((images[:32], images[:32, :32]), (targets[:32], images[:32, :1])),
        ((images[32:], images[32:, :32]), (targets[32:], images[32:, :1])),
    ]

    class Parts(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, place):
            return parts[place]

    assert 10 == len(scan(model, Parts(), steps=10).losses)


def test_images_that_do_not_fit_are_refused() -> None:
    """The error of Keras would name a layer inside the model."""
    with pytest.raises(
        ValueError, match=r"^`data` must yield batches of images with the model's i"
    ):
        scan(classifier(), (digits()[0][:, :63], digits()[1]))
