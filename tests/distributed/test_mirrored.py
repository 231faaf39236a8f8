"""What `transfer` and `data` do on two devices is what they do on one, or is refused."""

from contextlib import nullcontext

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnnkit.data import image_dataset, list_images, load_images, predict_images
from cnnkit.models import simple_cnn
from cnnkit.transfer import (
    build_classifier,
    cache_features,
    calibrate,
    find_learning_rate,
    fine_tune,
    freeze,
    layerwise_learning_rates,
    trainable_summary,
    unfreeze,
)

NAMES, SIZE = ["a", "b", "c"], (16, 16)


@pytest.fixture
def table(make_folder):
    """Twenty-four images in no order: the last batch is smaller, and even, as Keras needs it."""
    folder = make_folder({"a": 8, "b": 8, "c": 8})
    return list_images(folder).sample(frac=1, random_state=0, ignore_index=True)


@pytest.fixture
def data(table):
    return image_dataset(table, SIZE, batch_size=10)


def build(**options):
    keras.utils.set_random_seed(0)
    inside = {"filters": (4,), "mode": "unit", "include_top": False}
    model = build_classifier(simple_cnn((*SIZE, 3), 3, **inside), NAMES, dropout=0)
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    options = {"optimizer": optimizer, "metrics": ["accuracy"]} | options
    model.compile(loss="categorical_crossentropy", **options)
    return model


@pytest.fixture
def one():
    return build()


@pytest.fixture
def two(strategy):
    with strategy.scope():
        return build()


def head_only(model):
    return unfreeze(freeze(model), from_layer="head_pool")


def assert_close(expected, actual):
    for mine, theirs in zip(expected, actual, strict=True):
        np.testing.assert_allclose(theirs, mine, atol=1e-6)


@pytest.fixture(params=[False, True], ids=["outside", "in the scope"])
def place(request, strategy):
    """Return where a function is called."""
    return strategy.scope if request.param else nullcontext


def test_fit_evaluate_predict(one, two, data):
    """Training on halves of each batch is training on the batch."""
    for model in (one, two):
        model.fit(data, epochs=2, shuffle=False, verbose=0)

    assert_close(one.get_weights(), two.get_weights())
    assert_close(one.evaluate(data, verbose=0), two.evaluate(data, verbose=0))
    assert_close([one.predict(data, verbose=0)], [two.predict(data, verbose=0)])


@pytest.mark.parametrize("batch_size", [1, 3, 10, 32])
def test_predict_images(one, two, table, place, batch_size):
    """Each image has one row, whatever the devices make of a batch."""
    options = {"batch_size": batch_size, "progress": False}
    expected = predict_images(one, table, **options)
    with place():
        actual = predict_images(two, table, **options)

    assert_close([expected["confidence"]], [actual["confidence"]])
    assert actual["file_paths"].tolist() == table["file_paths"].tolist()


def test_cache_features(one, two, table, place):
    """Features are those of one device, in the order of the images."""
    images = load_images(table, SIZE, progress=False).images
    expected = cache_features(head_only(one), (images, images), progress=False, batch_size=7)[0]
    with place():
        head_only(two)
        actual = cache_features(two, (images, images), progress=False, batch_size=7)[0]

    assert_close([expected], [actual])


@pytest.mark.parametrize("cache", [True, False])
def test_fine_tune(one, two, data, place, cache):
    """Both stages end with the weights of one device."""
    options = {"head_epochs": 2, "epochs": 2, "cache": cache, "verbose": 0}
    expected = fine_tune(one, data, data, **options)
    with place():
        actual = fine_tune(two, data, data, **options)

    assert actual.history["stage"] == ["head", "head", "all", "all"]
    assert_close(expected.history["val_loss"], actual.history["val_loss"])
    assert_close(one.get_weights(), two.get_weights())


def test_freezing(one, two, data, place):
    """What is frozen outside or inside the scope doesn't move, and the rest is the same."""
    head_only(one).fit(data, shuffle=False, verbose=0)
    start = two.get_layer("block1_conv1").get_weights()
    with place():
        head_only(two)
    two.fit(data, shuffle=False, verbose=0)

    assert not trainable_summary(two).attrs["stale"]
    np.testing.assert_array_equal(start[0], two.get_layer("block1_conv1").get_weights()[0])
    assert_close(one.get_weights(), two.get_weights())


def test_layerwise_learning_rates(strategy, data):
    """A tenth of the rate is a tenth of the step, on two devices too."""

    def made(rates):
        return build(optimizer=layerwise_learning_rates(keras.optimizers.SGD(0.01), rates))

    steps = []
    for rates in ({"block1_conv1": 1.0}, {"block1_conv1": 0.1}):
        with strategy.scope():
            model = made(rates)
        start = model.get_layer("block1_conv1").get_weights()[0]
        model.fit(data.take(1), shuffle=False, verbose=0)
        steps.append(model.get_layer("block1_conv1").get_weights()[0] - start)

    np.testing.assert_allclose(10 * steps[1], steps[0], rtol=1e-2, atol=1e-6)
    assert abs(steps[0]).max() > 1e-4


def test_calibrate(one, two, table, place):
    """The temperature is the same, and none of the ends: a quarter of the predictions is wrong."""
    images = load_images(table, SIZE, progress=False).images
    targets = one.predict(images, verbose=0).argmax(axis=1)
    data = images, np.where(np.arange(24) % 4, targets, (targets + 1) % 3)
    with place():
        scale = calibrate(two, data).get_layer("temperature").scale

    assert 1 / 20 < 0.9 * scale < scale < 0.9 * 20
    np.testing.assert_allclose(scale, calibrate(one, data).get_layer("temperature").scale)


def test_find_learning_rate(one, two, data, place):
    """The losses are the same, and the model is put back."""
    options = {"steps": 12, "progress": False}
    start = two.get_weights()
    with place():
        actual = find_learning_rate(two, data, **options)

    np.testing.assert_allclose(actual.losses, find_learning_rate(one, data, **options).losses, 1e-4)
    assert_close(start, two.get_weights())


def test_save_and_load(two, data, table, tmp_path):
    """A model that was trained on two devices opens on one."""
    fine_tune(two, data, data, head_epochs=1, epochs=1, verbose=0)
    two.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")

    assert loaded.distribute_strategy.num_replicas_in_sync == 1
    expected = predict_images(two, table, progress=False)
    assert_close(
        [expected["confidence"]], [predict_images(loaded, table, progress=False)["confidence"]]
    )


def test_backbone_of_the_scope(strategy, data):
    """A classifier on a backbone of the scope belongs to the scope."""
    with strategy.scope():
        backbone = simple_cnn((*SIZE, 3), 3, filters=(4,), mode="unit", include_top=False)
    model = build_classifier(backbone, NAMES)
    model.fit(data, shuffle=False, verbose=0)

    assert model.distribute_strategy is strategy


class TestRefused:
    """What Keras fails at with an assertion, or another error that explains nothing."""

    def tune(self, model, data):
        return fine_tune(model, data, data, head_epochs=1, epochs=0, verbose=0)

    def scan(self, model, data):
        return find_learning_rate(model, data, progress=False)

    @pytest.mark.parametrize("train", [tune, scan])
    def test_made_outside(self, one, data, strategy, train):
        """A model that was made outside, trained in the scope."""
        with strategy.scope(), pytest.raises(ValueError, match="made in the scope"):
            train(self, one, data)

    @pytest.mark.parametrize("train", [tune, scan])
    def test_a_backbone_made_outside(self, data, strategy, train):
        """Only the head was made in the scope."""
        backbone = simple_cnn((*SIZE, 3), 3, filters=(4,), mode="unit", include_top=False)
        with strategy.scope():
            model = build_classifier(backbone, NAMES)
        with pytest.raises(ValueError, match=r"with 'block1_conv1/kernel' that was made outside"):
            train(self, model, data)

    @pytest.mark.parametrize("train", [tune, scan])
    @pytest.mark.parametrize("options", [{"steps_per_execution": 2}, {"jit_compile": True}])
    def test_settings(self, data, strategy, train, options):
        """Settings of `compile` that Keras can't do on several devices."""
        with strategy.scope():
            model = build(**options)
        with pytest.raises(ValueError, match=f"Received: {next(iter(options))}="):
            train(self, model, data)

    def test_gradient_accumulation(self, data, strategy):
        """The same of an optimizer."""
        with strategy.scope():
            model = build(optimizer=keras.optimizers.SGD(gradient_accumulation_steps=2))
        with pytest.raises(ValueError, match="gradient_accumulation_steps=2"):
            self.scan(model, data)

    @pytest.mark.parametrize("train", [tune, scan])
    @pytest.mark.parametrize(
        ("rows", "batch_size", "told"),
        [
            (24, 9, "batches of 9 images, the last of 6"),
            (24, 3, "batches of 3 images"),
            (21, 10, "batches of 10 images, the last of 1"),
            (9, 10, "batches of 9 images"),
        ],
    )
    def test_batches(self, table, two, train, rows, batch_size, told):
        """Batches that two devices can't share; Keras's own error tells nothing, or it crashes."""
        data = image_dataset(table[:rows], SIZE, batch_size=batch_size)
        with pytest.raises(ValueError, match=rf"that 2 devices can share: .* Received: {told}\. "):
            train(self, two, data)

    def test_batches_of_arrays(self, table, two):
        """The same of arrays, whose batches `fine_tune` makes."""
        images = np.zeros((21, *SIZE, 3), dtype=np.uint8), np.eye(3)[np.arange(21) % 3]
        options = {"head_epochs": 1, "epochs": 0, "batch_size": 10}
        with pytest.raises(ValueError, match="the last of 1"):
            fine_tune(two, images, images, **options)

    @pytest.mark.parametrize("rows", [20, 22, 23])
    def test_last_batches_that_are_fine(self, table, two, rows):
        """Even or not, if no device is without an image."""
        self.tune(two, image_dataset(table[:rows], SIZE, batch_size=10))

    @pytest.mark.parametrize("options", [{"steps_per_execution": 2}, {"jit_compile": True}])
    def test_on_one_device(self, data, options):
        """On one device they are fine."""
        self.tune(build(**options), data)


def test_keras_still_fails(one, data, strategy):
    """The reason for refusing: should Keras learn it, this fails."""
    with strategy.scope(), pytest.raises((AssertionError, RuntimeError)):
        one.fit(data, shuffle=False, verbose=0)


def test_two_devices_are_there():
    """Or nothing here tests anything."""
    assert len(tf.config.list_logical_devices("CPU")) == 2
