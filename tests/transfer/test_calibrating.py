"""Calibrated probabilities say how often the model is right."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from keras import layers
from scipy.special import log_softmax
from sklearn.datasets import load_digits

from cnnkit.data import image_dataset, split_arrays
from cnnkit.transfer import build_classifier, calibrate, freeze, split_model


def passing_on(units: int, activation: str = "softmax", **options) -> keras.Model:
    """Return a model whose logits are its inputs."""
    inputs = keras.Input((units,))
    dense = layers.Dense(units, activation=activation, use_bias=False, name="end", **options)
    model = keras.Model(inputs, dense(inputs))
    dense.set_weights([np.eye(units)])
    return model


def drawn(units: int, temperature: float, count: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Return logits that are too large by a factor, and classes drawn by the true ones."""
    generator = np.random.default_rng(0)
    true = generator.normal(0, 2, (count, units))
    if units == 1:
        shares = 1 / (1 + np.exp(-true[:, 0]))
        return true * temperature, (generator.random(count) < shares).astype("float32")
    noise = generator.gumbel(size=true.shape)  # the largest is drawn by softmax
    return true * temperature, (true + noise).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 8.0])
@pytest.mark.parametrize(("units", "end"), [(5, "softmax"), (1, "sigmoid")])
def test_a_known_temperature_is_found(temperature, units, end) -> None:
    """Logits too large by a factor are divided by it."""
    data = drawn(units, temperature, 40_000)
    calibrated = calibrate(passing_on(units, end), data, batch_size=40_000)

    assert 1 / temperature == pytest.approx(calibrated.get_layer("temperature").scale, rel=0.05)


def expected_calibration_error(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Guo et al. 2017, equation 3, with their fifteen bins."""
    confidences, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    bins = np.ceil(15 * confidences)
    gaps = [
        (bins == bin_).mean() * abs(right[bins == bin_].mean() - confidences[bins == bin_].mean())
        for bin_ in np.unique(bins)
    ]
    return float(sum(gaps))


def test_an_overconfident_network_of_digits_is_mended() -> None:
    """The error falls by 30 % and more on images that neither step has seen."""
    images, targets = load_digits(return_X_y=True)
    noisy = images + np.random.default_rng(0).normal(0, 6, images.shape)
    split = split_arrays(noisy, targets, validation_size=0.4, test_size=0.4, random_state=0)
    model = keras.Sequential(
        [keras.Input((64,)), layers.Dense(64, "relu"), layers.Dense(10, "softmax")]
    )
    model.compile(keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
    model.fit(*split.train, epochs=20, batch_size=128, verbose=0)
    calibrated = calibrate(model, split.validation, batch_size=1000)
    before, after = (x.predict(split.test[0], verbose=0) for x in (model, calibrated))
    errors = [expected_calibration_error(x, split.test[1]) for x in (before, after)]

    assert errors[0] > 0.05
    assert errors[1] <= 0.7 * errors[0]
    np.testing.assert_array_equal(before.argmax(axis=1), after.argmax(axis=1))


ignored = pytest.mark.filterwarnings("ignore:The temperature reached")  # labels are drawn at random


@ignored
@example(scale=0.05, seed=0)
@example(scale=20, seed=0)
@given(scale=st.floats(0.05, 20), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_the_loss_never_rises_and_no_prediction_changes(scale, seed) -> None:
    """Temperature 1 is among the choices, and division keeps the order."""
    generator = np.random.default_rng(seed)
    logits, targets = scale * generator.normal(0, 1, (60, 4)), generator.integers(0, 4, 60)
    calibrated = calibrate(passing_on(4), (logits, targets), batch_size=60)
    before = log_softmax(logits, axis=1)
    after = np.log(np.array(calibrated([logits])) + 1e-30)
    rows = np.arange(60)

    assert -after[rows, targets].mean() <= -before[rows, targets].mean() + 1e-4
    np.testing.assert_array_equal(logits.argmax(axis=1), after.argmax(axis=1))


def test_one_rescaling_layer_is_all_that_is_added(classifier, data) -> None:
    """It stands in front of the softmax; the backbone's layers are the model's own."""
    calibrated = calibrate(classifier, data)
    names = [layer.name for layer in classifier.layers]

    assert [*names, "temperature", "calibrated"] == [layer.name for layer in calibrated.layers]
    assert isinstance(calibrated.get_layer("temperature"), layers.Rescaling)
    assert classifier.get_layer("conv1") is calibrated.get_layer("conv1")


def test_the_given_model_is_not_changed(classifier, data) -> None:
    """Its probabilities and weights are the same after."""
    before = classifier.predict(data[0], verbose=0)
    weights = [weight.tobytes() for weight in classifier.get_weights()]
    calibrate(classifier, data)

    np.testing.assert_array_equal(before, classifier.predict(data[0], verbose=0))
    assert weights == [weight.tobytes() for weight in classifier.get_weights()]


@ignored
def test_calibrating_again_replaces_the_temperature(data, classifier) -> None:
    """No second layer is put on the first."""
    once = calibrate(classifier, data)
    twice = calibrate(once, data)

    assert [x.name for x in once.layers] == [x.name for x in twice.layers]
    assert once.get_layer("temperature").scale == pytest.approx(
        twice.get_layer("temperature").scale, rel=1e-4
    )


def test_a_compiled_model_stays_compiled(classifier, data) -> None:
    """The loss and the metrics are the same, and it can be evaluated."""
    classifier.evaluate(*data, verbose=0)
    calibrated = calibrate(classifier, data)

    assert {"loss", "accuracy"} == set(calibrated.evaluate(*data, verbose=0, return_dict=True))


def test_class_names_are_kept(backbone, data) -> None:
    """Predictions of folders still find them."""
    from cnnkit._keras.class_names import class_names_in

    calibrated = calibrate(build_classifier(backbone, ["cat", "dog", "horse"]), data)

    assert ["cat", "dog", "horse"] == list(class_names_in(calibrated))


def test_datasets_and_one_hot_targets_are_taken(classifier, data) -> None:
    """The temperature is the same from arrays, one-hot or not, and from a dataset."""
    import tensorflow as tf

    images, targets = data
    kinds = [
        data,
        (images, targets.argmax(axis=1)),
        tf.data.Dataset.from_tensor_slices(data).batch(5),
    ]
    scales = [calibrate(classifier, kind).get_layer("temperature").scale for kind in kinds]

    assert [scales[0]] * 3 == pytest.approx(scales, rel=1e-4)


OPEN = """
import sys
sys.modules["cnnkit"] = None
import keras, numpy as np
model = keras.saving.load_model(sys.argv[1] + "/model.keras")
np.save(sys.argv[1] + "/out.npy", model.predict(np.load(sys.argv[1] + "/in.npy"), verbose=0))
"""


def test_the_saved_model_opens_where_cnnkit_is_not_installed(classifier, data, tmp_path) -> None:
    """It contains only layers of Keras."""
    calibrated = calibrate(classifier, data)
    calibrated.save(tmp_path / "model.keras")
    np.save(tmp_path / "in.npy", data[0])
    subprocess.run([sys.executable, "-P", "-c", OPEN, str(tmp_path)], check=True)

    expected = calibrated.predict(data[0], verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-6)


def test_a_softmax_layer_of_its_own_is_found() -> None:
    """Logits and a softmax behind them are two layers."""
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Softmax()(layers.Dense(4, name="logits")(inputs)))
    vectors = np.random.default_rng(0).normal(0, 1, (50, 4)), np.arange(50) % 4
    calibrated = calibrate(model, vectors)
    logits = keras.Model(inputs, model.get_layer("logits").output).predict(vectors[0], verbose=0)
    scaled = np.exp(logits * calibrated.get_layer("temperature").scale)
    expected = scaled / scaled.sum(axis=1, keepdims=True)

    np.testing.assert_allclose(calibrated.predict(vectors[0], verbose=0), expected, rtol=1e-5)


def test_a_model_that_ends_with_logits_is_refused() -> None:
    """There is no softmax in front of which to put the temperature."""
    with pytest.raises(
        ValueError,
        match=r"`model` must end with a softmax or with one sigmoid unit\. Received: a model that "
        r"ends with 'end'\. Add keras\.layers\.Softmax after the logits\.",
    ):
        calibrate(passing_on(3, "linear"), drawn(3, 1))


def test_labels_beside_each_other_are_refused() -> None:
    """One temperature can't calibrate several independent classes."""
    with pytest.raises(ValueError, match=r"Received: a model that ends with 3 sigmoid units\."):
        calibrate(passing_on(3, "sigmoid"), drawn(3, 1))


def test_a_classifier_inside_is_told() -> None:
    """The advice isn't to add a second softmax."""
    model = keras.Sequential([keras.Input((3,)), layers.Rescaling(2.0), passing_on(3, "softmax")])
    with pytest.raises(ValueError, match=r"ends with the nested model '.*'\. Calibrate the n"):
        calibrate(model, drawn(3, 1))


@ignored
@pytest.mark.parametrize("exit_of", [0, 1])
def test_a_head_that_two_exits_share(exit_of) -> None:
    """Each exit is calibrated as it is, whichever was called first."""
    head = layers.Dense(3, activation="softmax", name="head")
    inputs = keras.Input((3,))
    exits = [head(layers.Rescaling(factor)(inputs)) for factor in (1.0, -5.0)]
    model = keras.Model(inputs, exits[exit_of])
    images, targets = drawn(3, 1)
    calibrated = calibrate(model, (images, targets))

    expected, actual = (
        np.log(part.predict(images, verbose=0)).argsort(axis=1) for part in (model, calibrated)
    )
    np.testing.assert_array_equal(actual, expected)


def test_the_second_part_of_a_split_model(classifier, data) -> None:
    """Its layers have been called before, in the whole model."""
    freeze(classifier, names=["conv1", "bn1", "conv2", "bn2"])
    bottom, top = split_model(classifier, "relu2")
    features = bottom.predict(data[0], verbose=0)
    calibrated = calibrate(top, (features, data[1]))

    expected = calibrate(classifier, data).predict(data[0], verbose=0)
    np.testing.assert_allclose(calibrated.predict(features, verbose=0), expected, rtol=1e-4)


def test_sample_weights_are_refused(shared_classifier, data) -> None:
    """They would be ignored silently."""
    import tensorflow as tf

    weighted = tf.data.Dataset.from_tensor_slices((*data, np.ones(12))).batch(4)
    with pytest.raises(ValueError, match=r"`validation` must yield images and targets only"):
        calibrate(shared_classifier, weighted)


def test_no_images_are_refused(shared_classifier, data) -> None:
    """A temperature can't be found from nothing."""
    with pytest.raises(ValueError, match=r"`validation` must hold at least one image\."):
        calibrate(shared_classifier, tuple(part[:0] for part in data))


@pytest.mark.parametrize(
    ("targets", "match"),
    [
        (np.eye(4)[np.arange(12) % 4], r"as many classes as the model has outputs, 3"),
        (np.arange(12), r"labels from 0 to 2.* Received: labels from 0 to 11"),
        (-np.ones(12, dtype=int), r"labels from 0 to 2"),
    ],
)
def test_targets_of_other_classes_are_refused(targets, match, shared_classifier, data) -> None:
    """The temperature would be meaningless."""
    with pytest.raises(ValueError, match=rf"^`validation` must have {match}"):
        calibrate(shared_classifier, (data[0], targets))


def test_classes_in_another_order_are_refused(backbone, data) -> None:
    """Otherwise all probabilities would silently be wrong."""
    model = build_classifier(backbone, ["a", "b", "c"])
    swapped = image_dataset((data[0], data[1].argmax(axis=1)), class_names=["c", "b", "a"])
    with pytest.raises(ValueError, match=r"^`validation` must have the classes of the model, in"):
        calibrate(model, swapped)


def test_scaled_images_are_refused_for_a_model_that_scales_inside(shared_classifier, data) -> None:
    """Images scaled twice are nearly black."""
    with pytest.raises(ValueError, match=r"^`validation` must contain raw images, 0 to 255"):
        calibrate(shared_classifier, ((data[0] / 255).astype("float32"), data[1]))


def test_labels_that_have_nothing_to_do_with_the_predictions_are_warned_of() -> None:
    """The best temperature is without end, as all classes are equally likely."""
    logits, targets = drawn(3, 1.0, 300)
    with pytest.warns(UserWarning, match="The temperature reached its upper bound, 20") as caught:
        calibrate(passing_on(3), (logits, (targets + 1) % 3))
    assert __file__ == caught[0].filename


@pytest.mark.parametrize("validation", [None, "photos", np.zeros((4, 8, 8, 3))])
def test_data_without_targets_are_refused(validation, shared_classifier) -> None:
    """Images alone can't tell how often the model is right."""
    with pytest.raises(ValueError, match=r"^`validation` must be a pair of arrays"):
        calibrate(shared_classifier, validation)
