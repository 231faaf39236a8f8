"""What `fine_tune` leaves behind: a model with a stock optimizer, and files that open."""

import keras
import numpy as np
import pytest

from cnnkit.transfer import fine_tune

pytestmark = pytest.mark.usefixtures("eagerly")


def rate_of(optimizer: keras.optimizers.Optimizer) -> float:
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(0.1, momentum=0.9),
        lambda: keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 100)),
    ],
    ids=["sgd", "schedule"],
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


@pytest.mark.parametrize(
    ("head_epochs", "epochs", "scaled"),
    [(2, 0, False), (1, 2, False), (2, 0, True)],
    ids=["head", "all", "loss scaling"],
)
def test_a_checkpoint_of_a_stage_opens(
    head_epochs, epochs, scaled, classifier, data, tmp_path
) -> None:
    """A file that ModelCheckpoint writes during a stage needs only Keras, and trains further."""
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
    before = loaded.get_layer("head_predictions").get_weights()
    loaded.fit(*data, verbose=0)
    assert not np.array_equal(before[0], loaded.get_layer("head_predictions").get_weights()[0])


def test_loss_scaling_is_kept(classifier, data) -> None:
    """What mixed_float16 wraps around an optimizer stands around each stage's."""
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
    classifier.compile(scaled, loss="categorical_crossentropy")
    fine_tune(classifier, data, data, head_epochs=1, epochs=1, verbose=0)

    assert keras.optimizers.LossScaleOptimizer is type(classifier.optimizer)
    assert keras.optimizers.Adam is type(classifier.optimizer.inner_optimizer)
