"""`freeze` leaves no stale train step behind, and keeps what the model was compiled with."""

import inspect

import keras
import numpy as np
import pytest

from cnnkit.transfer import freeze, trainable_summary, unfreeze


def passes_training(mended: bool):
    """Return how a functional model calls its layers: up to Keras 3.15, or as it was mended."""

    def operation_fn(operation, training=None, **_):
        def call(*args, **kwargs):
            given = mended and kwargs.get("training") is not None
            takes = "training" in inspect.signature(operation.call).parameters
            if takes and not given and training is not None:
                kwargs["training"] = training
            return operation(*args, **kwargs)

        return call

    return operation_fn


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("mended", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_batch_norm_stays_whatever_training_false_means(
    mended, frozen, backbone, data, monkeypatch
) -> None:
    """`fit` overrides `backbone(x, training=False)` up to Keras 3.15 and not in 3.16 (keras#20285).

    Frozen statistics stay in both; without freezing they move in the first.
    """
    monkeypatch.setattr("keras.src.models.functional.operation_fn", passes_training(mended))
    inputs = keras.Input((8, 8, 3))
    outputs = keras.layers.Flatten()(backbone(inputs, training=False))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(outputs))
    model.compile("adam", "categorical_crossentropy")
    if frozen:
        unfreeze(freeze(model))
    norm, convolution = backbone.get_layer("bn2"), backbone.get_layer("conv2")
    before = [layer.get_weights() for layer in (norm, convolution)]
    model.fit(*data, verbose=0)

    statistics, kernel = norm.get_weights()[2:], convolution.get_weights()[0]
    stayed = all(map(np.array_equal, before[0][2:], statistics))
    assert (frozen or mended) == stayed
    assert not np.array_equal(before[1][0], kernel)


def test_the_naive_way_goes_on_training_frozen_layers(classifier, data, changes) -> None:
    """The trap: Keras ignores `trainable = False` after the first `fit`."""
    changes(classifier, *data)
    classifier.get_layer("conv1").trainable = False

    assert "conv1" in changes(classifier, *data)


@pytest.mark.usefixtures("eagerly")
def test_a_stale_step_is_reported(classifier, data, changes) -> None:
    """The summary warns when `trainable` was set behind the train step's back."""
    changes(classifier, *data)
    classifier.get_layer("conv1").trainable = False

    with pytest.warns(UserWarning, match=r"train step is stale: .* Use `cnnkit.transfer.freeze`"):
        table = trainable_summary(classifier)
    assert table.attrs["stale"]


@pytest.mark.usefixtures("eagerly")
def test_freezing_mends_a_stale_step(classifier, data, changes) -> None:
    """After any call the train step knows the current state."""
    changes(classifier, *data)
    classifier.get_layer("conv1").trainable = False
    freeze(classifier, names=[])

    assert not trainable_summary(classifier).attrs["stale"]


def test_the_optimizer_keeps_its_settings(classifier) -> None:
    """The fresh optimizer is of the same kind, rate and decay."""
    classifier.compile(keras.optimizers.SGD(0.25, momentum=0.5, weight_decay=1e-3), loss="mse")
    before = classifier.optimizer
    freeze(classifier, names=["conv1"])

    assert before is not classifier.optimizer
    assert before.get_config() == classifier.optimizer.get_config()


@pytest.mark.usefixtures("eagerly")
def test_a_lambda_loss_and_the_metrics_are_kept(classifier, data) -> None:
    """Losses that no configuration can restore survive."""
    classifier.compile(
        "adam",
        loss=lambda truth, guess: keras.ops.mean((truth - guess) ** 2) + 100,
        metrics=["accuracy"],
    )
    freeze(classifier, names=["conv1"])
    history = classifier.fit(*data, verbose=0).history

    assert history["loss"][0] > 100
    assert "accuracy" in history


def test_what_has_no_weight_decay_keeps_none(backbone) -> None:
    """The exclusion isn't part of the optimizer's configuration."""
    optimizer = keras.optimizers.AdamW(1e-3, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model = backbone
    model.compile(optimizer, loss="mse")
    freeze(model, names=["conv1"])
    bias, kernel = model.get_layer("conv2").bias, model.get_layer("conv2").kernel

    assert not model.optimizer._use_weight_decay(bias)
    assert model.optimizer._use_weight_decay(kernel)


def test_a_failed_renewal_changes_nothing(classifier) -> None:
    """An optimizer that can't be made again leaves the layers as they were."""

    class Local(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.1

        def get_config(self):
            return {}

    classifier.compile(keras.optimizers.SGD(Local()), loss="mse")
    before = [layer.trainable for layer in classifier.layers]
    with pytest.raises(Exception, match="Local"):
        freeze(classifier)

    assert before == [layer.trainable for layer in classifier.layers]


@pytest.mark.usefixtures("eagerly")
def test_the_saved_optimizer_is_the_fresh_one(classifier, data, tmp_path) -> None:
    """A file saved after a change opens without a warning, with the settings kept."""
    classifier.compile(keras.optimizers.SGD(0.25, momentum=0.5), loss="mse")
    classifier.fit(*data, verbose=0)
    freeze(classifier, names=["conv1"])
    classifier.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")

    assert classifier.optimizer.get_config() == loaded.optimizer.get_config()


def test_loss_scaling_is_kept(backbone) -> None:
    """What mixed_float16 wraps around the optimizer stays around the fresh one."""
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.25))
    backbone.compile(scaled, loss="mse")
    freeze(backbone, names=["conv1"])

    assert isinstance(backbone.optimizer, keras.optimizers.LossScaleOptimizer)
    assert 0.25 == float(keras.ops.convert_to_numpy(backbone.optimizer.learning_rate))
