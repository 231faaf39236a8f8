"""fine_tune: two stages, the best epoch, and clear errors before anything is trained."""

import keras
import numpy as np
import pytest

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


def test_the_weights_of_the_best_epoch_are_restored(classifier, data) -> None:
    """The model ends with the weights of the lowest validation loss."""
    record = Record()
    history = fine_tune(
        classifier,
        data,
        data,
        head_epochs=2,
        epochs=4,
        learning_rate=0.5,
        callbacks=[record],
        verbose=0,
    )
    best = int(np.argmin(history.history["val_loss"]))

    assert all(map(np.array_equal, record.weights[best], classifier.get_weights()))


def test_the_best_accuracy_is_the_highest(classifier, data) -> None:
    """A monitored accuracy is the better the higher."""
    record = Record()
    history = fine_tune(
        classifier,
        data,
        data,
        head_epochs=2,
        epochs=4,
        monitor="val_accuracy",
        callbacks=[record],
        verbose=0,
    )
    best = int(np.argmax(history.history["val_accuracy"]))

    assert all(map(np.array_equal, record.weights[best], classifier.get_weights()))


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


def test_a_stock_optimizer_is_left_behind(classifier, data) -> None:
    """Training can go on, at a constant low rate, and the file needs nothing but Keras."""
    fine_tune(classifier, data, data, head_epochs=1, epochs=1, learning_rate=1e-2, verbose=0)

    assert keras.optimizers.Adam is type(classifier.optimizer)
    assert 1e-3 == pytest.approx(
        float(keras.ops.convert_to_numpy(classifier.optimizer.learning_rate))
    )
    assert not trainable_summary(classifier).attrs["stale"]


def test_a_tuned_model_is_saved_and_loaded(classifier, data, tmp_path) -> None:
    """The file opens, optimizer and all, and computes the same."""
    fine_tune(classifier, data, data, head_epochs=1, epochs=1, verbose=0)
    classifier.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")

    np.testing.assert_array_equal(
        classifier.predict_on_batch(data[0]), loaded.predict_on_batch(data[0])
    )


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
        ValueError, match=r"`train` must give raw images, 0 to 255.*Use mode='none'"
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

    with pytest.raises(ValueError, match=r"labels below the number of the model's outputs, 3.* 11"):
        fine_tune(nested, wrong, wrong, head_epochs=1, epochs=1, head="flat")


def test_class_numbers_are_refused_by_a_loss_for_one_hot(classifier, data) -> None:
    """The error says how to get one-hot labels."""
    wrong = data[0], data[1].argmax(axis=1)

    with pytest.raises(ValueError, match=r"`train` must have one-hot labels.*label_mode='categor"):
        fine_tune(classifier, wrong, wrong, head_epochs=1, epochs=1)


def test_an_empty_validation_set_is_refused(classifier, data) -> None:
    """The best epoch can't be known without validation."""
    empty = data[0][:0], data[1][:0]

    with pytest.raises(ValueError, match=r"`validation` must hold at least one image"):
        fine_tune(classifier, data, empty, head_epochs=1, epochs=1)


def test_an_unknown_monitor_is_refused(classifier, data) -> None:
    """The error lists what is logged."""
    with pytest.raises(ValueError, match=r"`monitor` must be one of accuracy, loss, val_accuracy"):
        fine_tune(classifier, data, data, head_epochs=1, epochs=1, monitor="val_acc", verbose=0)


def test_a_dataset_of_unknown_length_is_refused(classifier, data) -> None:
    """The rate can't rise and fall over an unknown number of steps."""
    import tensorflow as tf

    endless = tf.data.Dataset.from_tensor_slices(data).batch(4).filter(lambda *_: True)

    with pytest.raises(ValueError, match=r"`train` must know its number of batches.*assert_card"):
        fine_tune(classifier, endless, data, head_epochs=1, epochs=1)
