"""image_dataset: what it refuses, and how it says so."""

import re
import threading
import time
import albumentations as A
import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from cnnkit.data import Split, image_dataset
from epochs import images_of, levels_of


class TestErrors:
    """What can't be right is refused with the rule, what was received, and what to do."""

    @pytest.mark.parametrize("workers", [0, 1, 4])
    def test_unreadable_image_is_named(self, table, workers):
        """A damaged file in mid-epoch stops the iteration with its path and place."""
        path = table["file_paths"][13]
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(b"no image")
        dataset = image_dataset(table, (4, 4), batch_size=4, workers=workers)

        with pytest.raises(tf.errors.OpError, match=rf"{re.escape(path)}.*\(file 14 of 24\)"):
            levels_of(dataset)

    def test_unreadable_image_is_named_in_fit(self, table):
        """Training stops with the path, not with a riddle."""
        path = table["file_paths"][13]
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(b"no image")
        model = keras.Sequential(
            [keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
        )
        model.compile("sgd", "mse")

        with pytest.raises(tf.errors.OpError, match=rf"{re.escape(path)}.*\(file 14 of 24\)"):
            model.fit(image_dataset(table, (4, 4), batch_size=4), shuffle=False, verbose=0)

    def test_transform_that_changes_the_shape(self, arrays):
        """A transform must keep the shape; the message says how."""
        dataset = image_dataset(arrays, transform=A.Resize(4, 4))

        text = r"`transform` must keep the shape .*Received: \(8, 8, 3\) became \(4, 4, 3\)"
        with pytest.raises(tf.errors.OpError, match=text):
            images_of(dataset)

    def test_transform_that_drops_the_channel(self):
        """OpenCV does so, and a resize doesn't help."""
        images = np.zeros((4, 8, 8, 1), dtype=np.uint8)
        dataset = image_dataset((images, np.zeros(4, int)), transform=lambda image: image[..., 0])

        with pytest.raises(tf.errors.OpError, match=r"became \(8, 8\)\. Give the channel back"):
            images_of(dataset)

    @pytest.mark.parametrize("layer", [keras.layers.MixUp(), keras.layers.CutMix()])
    @pytest.mark.parametrize("inside", [False, True])
    def test_layers_that_mix_images(self, arrays, layer, inside):
        """The labels would stay as they are."""
        layer = keras.Sequential([keras.layers.RandomFlip(), layer]) if inside else layer

        with pytest.raises(ValueError, match="Received: (MixUp|CutMix), which mixes images"):
            image_dataset(arrays, transform=layer)

    @pytest.mark.parametrize("row", [[1, 1, 0], [0, 0, 0], [0, 0.4, 0.6], [0, 2, 0]])
    def test_rows_that_are_no_class(self, row):
        """Several labels or shares aren't made a class in silence."""
        images = np.zeros((2, 8, 8, 3), dtype=np.uint8)

        with pytest.raises(ValueError, match=r"must hold one class for each image.* in row 1\."):
            image_dataset((images, np.array([[0, 1, 0], row])))

    def test_class_that_is_in_no_row(self):
        """One-hot rows tell how many classes there are."""
        images = np.zeros((4, 8, 8, 3), dtype=np.uint8)
        dataset = image_dataset((images, np.eye(3)[[0, 1, 0, 1]]))

        assert ["0", "1", "2"] == dataset.class_names
        assert (None, 3) == tuple(dataset.element_spec[1].shape)

    @pytest.mark.parametrize("workers", [0, 4])
    def test_random_state_of_ones_own(self, workers):
        """A transform that keeps one goes on with it: copies would draw the same."""

        class Own:
            def __init__(self):
                self.generator, self.lock = np.random.default_rng(0), threading.Lock()

            def __call__(self, image):
                with self.lock:
                    return np.full_like(image, self.generator.integers(256))

        images = np.zeros((64, 4, 4, 1), dtype=np.uint8), np.zeros(64, int)
        drawn = levels_of(image_dataset(images, batch_size=4, transform=Own(), workers=workers))

        assert sorted(drawn) == sorted(np.random.default_rng(0).integers(256, size=64).tolist())

    def test_object_is_called_by_one_worker_at_a_time(self):
        """It may keep its draw on itself while it lets others run."""

        class Own:
            def __call__(self, image):
                self.level = int(image.max())
                time.sleep(0.001)
                return np.full_like(image, self.level)

        images = np.arange(256, dtype=np.uint8)[:, None, None, None].repeat(4, axis=1)
        dataset = image_dataset((images, np.arange(256)), batch_size=1, transform=Own(), workers=8)

        assert list(range(256)) == levels_of(dataset)

    def test_functions_are_called_side_by_side(self):
        """They keep nothing, and would wait for each other in vain."""
        together = threading.Barrier(2, timeout=10)

        def meet(image):
            together.wait()
            return image

        images = np.zeros((64, 4, 4, 1), dtype=np.uint8), np.zeros(64, int)
        dataset = image_dataset(images, batch_size=1, transform=meet, workers=2)

        assert 64 == len(list(dataset))

    @pytest.mark.parametrize("transform", ["flip", [A.HorizontalFlip()]])
    def test_transform_that_is_none(self, arrays, transform):
        """A name or a list is no transform; the message says how several make one."""
        text = r"^`transform` must be a function .*Received: (str|list)\. .*\.Compose\(\[...\]\)\.$"

        with pytest.raises(TypeError, match=text):
            image_dataset(arrays, transform=transform)

    @pytest.mark.parametrize("scaling", [A.Normalize(), A.ToFloat()])
    def test_scaling_in_the_transform_is_refused(self, arrays, scaling):
        """A transform that ends in floats is refused: cut to uint8 they are no picture."""
        transform = A.Compose([A.HorizontalFlip(p=0.5), scaling])

        with pytest.raises(
            (tf.errors.OpError, TypeError, ValueError), match=r"`transform` must .*float"
        ):
            images_of(image_dataset(arrays, transform=transform))

    def test_table_without_a_size(self, table):
        """Batches of files need one size."""
        text = (
            r"^`image_size` must be given for a table, because batches need one size\. "
            r"Received: image_size=None\.$"
        )

        with pytest.raises(ValueError, match=text):
            image_dataset(table)

    @pytest.mark.parametrize("image_size", [224, (4, 4, 3), (4.0, 4.0), "44", (0, 4)])
    def test_image_size_of_the_wrong_form(self, table, image_size):
        """A size is a pair of whole numbers."""
        text = (
            r"^`image_size` must be a pair of whole numbers, .*Received: "
            rf"image_size={re.escape(repr(image_size))}\.$"
        )

        with pytest.raises(ValueError, match=text):
            image_dataset(table, image_size)

    def test_size_of_arrays_is_never_ignored(self, arrays):
        """Arrays have their size; another one is refused, not ignored."""
        with pytest.raises(ValueError, match="image_size"):
            image_dataset(arrays, (4, 4))

    @pytest.mark.parametrize(
        ("option", "value", "text"),
        [
            ("mode", "keras", "'tf', 'torch', 'caffe', 'unit' or 'none'"),
            ("color_mode", "bgr", "'rgb' or 'grayscale'"),
            ("label_mode", "onehot", "'categorical', 'int', 'binary' or None"),
        ],
    )
    def test_unknown_option(self, table, option, value, text):
        """An unknown word is refused with those that are known."""
        match = rf"^`{option}` must be one of {text}\. Received: {option}='{value}'\."

        with pytest.raises(ValueError, match=match):
            image_dataset(table, (4, 4), **{option: value})

    @pytest.mark.parametrize(
        ("option", "value", "error"),
        [
            ("batch_size", 0, ValueError),
            ("batch_size", 2.5, TypeError),
            ("seed", -1, ValueError),
            ("seed", 0.5, TypeError),
            ("initial_epoch", -1, ValueError),
            ("initial_epoch", "2", TypeError),
            ("workers", -1, ValueError),
            ("workers", -2, ValueError),
            ("workers", 1.5, TypeError),
        ],
    )
    def test_numbers_of_the_wrong_form(self, arrays, option, value, error):
        """Counts and seeds are whole numbers in their range, refused at the call."""
        text = rf"^`{option}` must be a whole number.*Received: {option}={value!r}\.$"

        with pytest.raises(error, match=text):
            image_dataset(arrays, **{option: value})

    @pytest.mark.parametrize("mode", ["torch", "caffe"])
    def test_mode_for_colors_on_grayscale(self, table, mode):
        """A mode that needs three channels is refused at the call, not in mid-epoch."""
        text = rf"^`mode='{mode}'` scales each of three RGB channels by its own figures\. "

        with pytest.raises(ValueError, match=text):
            image_dataset(table, (4, 4), color_mode="grayscale", mode=mode)

    def test_binary_needs_two_classes(self, arrays):
        """Three classes are no yes and no."""
        text = r"^Binary labels need two classes\. Received: 3 classes\. Use 'categorical'\.$"

        with pytest.raises(ValueError, match=text):
            image_dataset(arrays, label_mode="binary")

    def test_unlabelled_table_where_labels_are_needed(self, table):
        """Labels that aren't there are missed by their columns."""
        text = (
            r"^`table` must be a DataFrame with the columns file_paths, target_names, targets\. "
            r"Received: \['file_paths'\]\. `list_images` makes one\.$"
        )

        with pytest.raises(ValueError, match=text):
            image_dataset(table[["file_paths"]], (4, 4))

    def test_no_table(self):
        """Something else than a table or a pair of arrays is refused by its type."""
        with pytest.raises(ValueError, match=r"must be a DataFrame .*Received: str\."):
            image_dataset("folder", (4, 4))

    def test_empty_table(self, table):
        """A dataset of no images is refused."""
        text = r"^`source` must hold at least one image that can be read\. Received: none\.$"

        with pytest.raises(ValueError, match=text):
            image_dataset(table[:0], (4, 4))

    @pytest.mark.parametrize(
        ("images", "targets", "received"),
        [
            (
                np.zeros((4, 8, 8, 3)),
                np.zeros(4, dtype=int),
                r"uint8 images.*float64 images of .*\(4, 8",
            ),
            (
                np.zeros((4, 8, 8), dtype=np.uint8),
                np.zeros(4, dtype=int),
                r"uint8 images.*\(4, 8, 8\)",
            ),
            (
                np.zeros((4, 8, 8, 3), dtype=np.uint8),
                np.zeros(3, dtype=int),
                r"a class number.*\(3,\)",
            ),
        ],
    )
    def test_arrays_of_the_wrong_form(self, images, targets, received):
        """Arrays are uint8 images and as many targets."""
        text = rf"^`source` must hold .*{received}"

        with pytest.raises(ValueError, match=text):
            image_dataset((images, targets))

    def test_table_is_unchanged(self, table):
        """The given table gets no further column."""
        before = table.copy()

        levels_of(image_dataset(table, (4, 4), shuffle=True))

        pd.testing.assert_frame_equal(before, table)


def test_a_split_is_no_source(table):
    """The error says to pass one of its parts."""
    with pytest.raises(TypeError, match=r"Received: a Split\. Pass split\.train"):
        image_dataset(Split(table, table, table), (4, 4))
