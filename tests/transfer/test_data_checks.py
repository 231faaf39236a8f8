"""Data that doesn't fit the model is refused before anything trains."""

import keras
import numpy as np
import pandas as pd
import pytest

from cnnkit.data import image_dataset
from cnnkit.models import simple_cnn
from cnnkit.preprocess import scale
from cnnkit.transfer import build_classifier, fine_tune

pytestmark = pytest.mark.usefixtures("eagerly")

HEAD = {"head_epochs": 1, "epochs": 0, "cache": False, "verbose": 0}


@pytest.mark.parametrize("mode", ["tf", "unit"])
def test_scaled_data_is_refused_for_a_model_that_scales_inside(
    mode, shared_classifier, data
) -> None:
    """Images would be scaled twice."""
    scaled = scale(data[0], mode), data[1]

    with pytest.raises(
        ValueError,
        match=r"`train` must contain raw images, 0 to 255.*Use mode='none' in the dataset, or "
        r"don't divide the arrays\.$",
    ):
        fine_tune(shared_classifier, scaled, data, head_epochs=1, epochs=1)


def test_scaled_data_is_taken_by_a_model_that_does_not_scale(data) -> None:
    """Images that are scaled only once are accepted."""
    backbone = simple_cnn((8, 8, 3), 2, filters=(4,), include_top=False)
    model = build_classifier(backbone, 3, mode="none")
    scaled = scale(data[0], "tf"), data[1]

    history = fine_tune(model, scaled, scaled, **HEAD)
    assert ["head"] == history.history["stage"]


def test_another_number_of_classes_is_refused(shared_classifier, data) -> None:
    """The error names both numbers."""
    wrong = data[0], np.eye(5)[np.arange(12) % 5]

    with pytest.raises(ValueError, match=r"`validation` must have as many classes.*3. .*5 classes"):
        fine_tune(shared_classifier, data, wrong, head_epochs=1, epochs=1)


def test_labels_that_are_too_large_are_refused(nested, data) -> None:
    """A class number must be below the number of outputs."""
    wrong = data[0], np.arange(12)

    with pytest.raises(ValueError, match=r"`train` must have labels from 0 to 2, .* from 0 to 11"):
        fine_tune(nested, wrong, wrong, head_epochs=1, epochs=1, head="flat")


def test_class_numbers_are_refused_by_a_loss_for_one_hot(shared_classifier, data) -> None:
    """The error says how to get one-hot labels."""
    wrong = data[0], data[1].argmax(axis=1)

    with pytest.raises(ValueError, match=r"`train` must have one-hot labels.*label_mode='categor"):
        fine_tune(shared_classifier, wrong, wrong, head_epochs=1, epochs=1)


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
    """A loss object and a loss function need one-hot labels, like the loss name."""
    classifier.compile("adam", loss=loss)
    wrong = data[0], data[1].argmax(axis=1)

    with pytest.raises(ValueError, match=r"one-hot labels, because.*loss is 'categorical_?cross"):
        fine_tune(classifier, wrong, wrong, head_epochs=1, epochs=1)


def test_class_numbers_are_taken_by_a_sparse_loss(classifier, data) -> None:
    """A loss object for class numbers is not mistaken for one of one-hot labels."""
    classifier.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy())
    numbers = data[0], data[1].argmax(axis=1)

    history = fine_tune(classifier, numbers, numbers, **HEAD)
    assert 1 == len(history.epoch)


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
    """A model that was built from a number can't detect swapped labels."""
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
    """The class numbers still agree; for arrays the numbers are the names."""
    classifier.compile("adam", loss="sparse_categorical_crossentropy")
    train, validation = (
        image_dataset((data[0], np.arange(12) % classes), label_mode="int") for classes in (3, 2)
    )
    history = fine_tune(classifier, train, validation, **HEAD)

    assert ["head"] == history.history["stage"]


def test_images_of_another_size_are_refused(shared_classifier, data) -> None:
    """The error tells which data, and both sizes."""
    wrong = data[0][:, :7], data[1]
    with pytest.raises(
        ValueError,
        match=r"^`validation` must yield batches of images with the model's input shape, "
        r"\(None, 8, 8, 3\)\. Received: \(12, 7, 8, 3\)\.$",
    ):
        fine_tune(shared_classifier, data, wrong, head_epochs=1, epochs=1)


def test_a_dataset_of_single_images_is_refused(shared_classifier, data) -> None:
    """`.unbatch()` leaves images without the axis of the batch."""
    dataset = image_dataset((data[0], data[1].argmax(axis=1))).unbatch()
    with pytest.raises(
        ValueError, match=r"^`train` must yield batches of .* Received: \(8, 8, 3\)"
    ):
        fine_tune(shared_classifier, dataset, data, head_epochs=1, epochs=1)


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

    history = fine_tune(model, gray, gray, **HEAD)
    assert ["head"] == history.history["stage"]


def test_images_without_labels_are_refused(shared_classifier, data) -> None:
    """The second image would be taken for the labels."""
    alone = image_dataset((data[0], data[1].argmax(axis=1)), label_mode=None)
    with pytest.raises(
        ValueError, match=r"^`train` must yield images and targets\. Received: imag"
    ):
        fine_tune(shared_classifier, alone, data, head_epochs=1, epochs=1)


def test_an_empty_validation_set_is_refused(shared_classifier, data) -> None:
    """The best epoch can't be known without validation."""
    empty = data[0][:0], data[1][:0]

    with pytest.raises(ValueError, match=r"`validation` must hold at least one image"):
        fine_tune(shared_classifier, data, empty, head_epochs=1, epochs=1)


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
def test_data_of_another_kind_is_refused(name, wrong, received, shared_classifier, data) -> None:
    """The error names the argument and says what makes a dataset of a table."""
    parts = {"train": data, "validation": data, name: wrong}

    with pytest.raises(ValueError, match=rf"`{name}` must be a pair of arrays.*: {received}.*`cnn"):
        fine_tune(shared_classifier, **parts, head_epochs=1, epochs=1)


def test_an_endless_dataset_is_refused(shared_classifier, data) -> None:
    """Validation would never end."""
    import tensorflow as tf

    endless = tf.data.Dataset.from_tensor_slices(data).batch(4).repeat()

    with pytest.raises(ValueError, match=r"`validation` must be finite.*Leave `.repeat\(\)` out"):
        fine_tune(shared_classifier, data, endless, head_epochs=1, epochs=1)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # how Keras finds the end
def test_validation_may_be_of_unknown_length(classifier, data) -> None:
    """Only training needs to know its steps."""
    import tensorflow as tf

    filtered = tf.data.Dataset.from_tensor_slices(data).batch(4).filter(lambda *_: True)

    history = fine_tune(classifier, data, filtered, **HEAD)
    assert 1 == len(history.history["val_loss"])


@pytest.mark.parametrize("labels", [[-1, 1], [0, 2]])
def test_labels_of_one_unit_are_0_and_1(labels, backbone, data) -> None:
    """A sigmoid has no other classes."""
    wrong = data[0], np.resize(labels, 12)

    with pytest.raises(ValueError, match=r"`train` must have labels from 0 to 1, .*1 output"):
        fine_tune(build_classifier(backbone, 1), wrong, wrong, head_epochs=1, epochs=1)


@pytest.mark.parametrize("shape", [(12,), (12, 1)])
def test_one_unit_trains_on_labels_of_both_shapes(shape, backbone, data) -> None:
    """A row or a column of 0 and 1."""
    binary = data[0], (np.arange(12) % 2).reshape(shape).astype("float32")

    history = fine_tune(
        build_classifier(backbone, 1),
        binary,
        binary,
        head_epochs=1,
        epochs=0,
        cache=False,
        verbose=0,
    )
    assert ["head"] == history.history["stage"]


def test_a_dataset_of_unknown_length_is_refused(shared_classifier, data) -> None:
    """The rate can't rise and fall over an unknown number of steps."""
    import tensorflow as tf

    endless = tf.data.Dataset.from_tensor_slices(data).batch(4).filter(lambda *_: True)

    with pytest.raises(ValueError, match=r"`train` must know its number of batches.*assert_card"):
        fine_tune(shared_classifier, endless, data, head_epochs=1, epochs=1)


@pytest.mark.parametrize("shuffle", [True, False])
def test_sorted_training_data_are_warned_of(shuffle, recwarn) -> None:
    """A table is sorted by class: unshuffled, each batch has one class and accuracy falls apart."""
    images = np.zeros((64, 8, 8, 1), dtype=np.uint8)
    pair = images, np.arange(64) // 32
    train = image_dataset(pair, batch_size=16, shuffle=shuffle, seed=0)
    backbone = simple_cnn((8, 8, 1), 2, filters=(4,), include_top=False, mode="unit")
    model = build_classifier(backbone, 2, mode="none")
    fine_tune(model, train, image_dataset(pair), **HEAD)
    told = [
        w for w in recwarn if "in the first batch of `train` have the same class" in str(w.message)
    ]

    assert ([] if shuffle else [__file__]) == [warning.filename for warning in told]
