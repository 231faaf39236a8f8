"""flow_from_tables: three iterators, of which train alone is shuffled and transformed."""

import re

import keras
import numpy as np
import pandas as pd
import pytest

from cnnkit.data import Split, flow_from_tables, list_images, read_image, split_table
from cnnkit.exceptions import ImageReadError
from cnnkit.preprocess import scale

# Levels are multiples of 10, so that inverting (255 - level) tells transformed images apart.
LEVELS = list(range(0, 240, 10))


def invert(image):
    return 255 - image


def levels_of(flow):
    """Return the first pixel of every image of an epoch, batch by batch."""
    return [int(image[0, 0, 0]) for batch in range(len(flow)) for image in flow[batch][0]]


def targets_of(flow):
    return [row for batch in range(len(flow)) for row in np.asarray(flow[batch][1]).tolist()]


@pytest.fixture
def split(level_table):
    """24 images of one level each, of two classes, split into 14, 5 and 5."""
    table = level_table(LEVELS, ["dark"] * 12 + ["light"] * 12)
    return split_table(table, random_state=0)


class TestImages:
    """Files are read by read_image and scaled by scale."""

    @pytest.mark.parametrize("mode", ["none", "tf", "torch", "caffe", "unit"])
    def test_equals_read_image_and_scale(self, make_folder, mode):
        """A validation batch is the scaled images, in the table's order."""
        table = list_images(make_folder({"cat": 2, "dog": 3}))
        pixels = np.array([read_image(path, (12, 10)) for path in table["file_paths"]])
        expected = pixels if mode == "none" else scale(pixels, mode)

        flows = flow_from_tables(Split(table, table, table), (12, 10), mode=mode)

        actual, _ = flows.validation[0]
        assert expected.dtype == actual.dtype
        np.testing.assert_array_equal(expected, actual)

    def test_grayscale(self, split):
        """Grayscale images have one channel."""
        flows = flow_from_tables(split, (4, 4), color_mode="grayscale")

        assert (5, 4, 4, 1) == flows.test[0][0].shape

    def test_only_train_is_transformed(self, split):
        """Validation and test images come as they are."""
        flows = flow_from_tables(split, (4, 4), transform=invert, seed=0)

        assert all(level % 10 == 5 for level in levels_of(flows.train))
        assert all(level % 10 == 0 for level in levels_of(flows.validation))
        assert all(level % 10 == 0 for level in levels_of(flows.test))

    def test_only_train_is_shuffled(self, split):
        """Validation and test keep the order of their tables; train does not."""
        flows = flow_from_tables(split, (4, 4), batch_size=2, seed=0)

        expected = [
            [int(path[-7:-4]) for path in table["file_paths"]]
            for table in (split.train, split.validation, split.test)
        ]
        assert expected[0] != levels_of(flows.train)
        assert expected[0] == sorted(levels_of(flows.train))
        assert expected[1] == levels_of(flows.validation)
        assert expected[2] == levels_of(flows.test)

    @pytest.mark.parametrize("part", ["train", "validation", "test"])
    @pytest.mark.parametrize("batch_size", [1, 3, 32])
    def test_targets_stay_with_their_images(self, split, part, batch_size):
        """Every image stands beside the target of its own file."""
        flow = getattr(
            flow_from_tables(split, (4, 4), batch_size=batch_size, class_mode="sparse", seed=0),
            part,
        )

        assert [int(level >= 120) for level in levels_of(flow)] == targets_of(flow)


class TestEpochs:
    """Another order and another draw in every epoch, the same for the same seed."""

    def test_train_changes_after_the_epoch(self, split):
        """on_epoch_end goes on to another order of the same images."""
        train = flow_from_tables(split, (4, 4), seed=0).train
        first = levels_of(train)

        train.on_epoch_end()

        second = levels_of(train)
        assert first != second
        assert sorted(first) == sorted(second)

    def test_epoch_stays_until_it_ends(self, split):
        """Reading a batch twice gives the same batch."""
        train = flow_from_tables(split, (4, 4), seed=0).train

        assert levels_of(train) == levels_of(train)

    def test_validation_stays(self, split):
        """The end of an epoch changes nothing for validation."""
        validation = flow_from_tables(split, (4, 4), transform=invert, seed=0).validation
        first = levels_of(validation)

        validation.on_epoch_end()

        assert first == levels_of(validation)

    def test_same_seed_same_epochs(self, split):
        """Two flows of one seed agree, epoch by epoch."""
        first, second = (flow_from_tables(split, (4, 4), seed=4).train for _ in range(2))

        for _ in range(3):
            assert levels_of(first) == levels_of(second)
            first.on_epoch_end()
            second.on_epoch_end()

    def test_other_seed_other_order(self, split):
        """Another seed gives another order."""
        first, second = (flow_from_tables(split, (4, 4), seed=seed).train for seed in (1, 2))

        assert levels_of(first) != levels_of(second)

    def test_no_seed_other_order_each_time(self, split):
        """Without a seed no run repeats another."""
        first, second = (flow_from_tables(split, (4, 4)).train for _ in range(2))

        assert levels_of(first) != levels_of(second)

    def test_seeded_transform_draws_anew_for_each_image_and_epoch(self, make_folder):
        """An albumentations transform draws by seed, epoch and place."""
        import albumentations as A

        table = list_images(make_folder({"cat": 20, "dog": 20}))
        transform = A.Compose([A.HorizontalFlip(p=0.5), A.RandomBrightnessContrast(p=1)])

        def epochs(batch_size):
            flow = flow_from_tables(
                Split(table, table, table),
                (8, 8),
                transform=transform,
                batch_size=batch_size,
                seed=3,
            ).train
            for _ in range(2):
                yield np.concatenate([flow[batch][0] for batch in range(len(flow))])
                flow.on_epoch_end()

        first, second = epochs(7)
        again_first, again_second = epochs(40)

        np.testing.assert_array_equal(first, again_first)
        np.testing.assert_array_equal(second, again_second)
        assert (first != second).any()


class TestFit:
    """The iterators work in fit, evaluate and predict."""

    @staticmethod
    def trained(split, workers):
        """Return what a model was given in two epochs, as its weights after training."""
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
        )
        model.compile(keras.optimizers.SGD(0.01), "categorical_crossentropy")
        flows = flow_from_tables(
            split,
            (4, 4),
            transform=invert,
            mode="unit",
            batch_size=4,
            seed=0,
            workers=workers,
        )
        history = model.fit(flows.train, validation_data=flows.validation, epochs=2, verbose=0)
        return model, flows, history

    def test_fit_evaluate_predict(self, split):
        """A model trains on train, and gives a row for every test image."""
        model, flows, history = self.trained(split, workers=1)

        assert 2 == len(history.history["val_loss"])
        assert (5, 2) == model.predict(flows.test, verbose=0).shape

    @staticmethod
    def epochs_seen(flow, **options):
        """Return the levels that a model is trained on: for each epoch, for each batch."""
        batches = []

        class Watcher(keras.Model):
            """Notes its batches and learns nothing."""

            def call(self, images):
                return images

            def train_step(self, data):
                batches.append(tuple(int(image[0, 0, 0]) for image in data[0]))
                return {"loss": keras.ops.zeros(())}

        model = Watcher()
        model.compile(run_eagerly=True)
        model.fit(flow, epochs=3, verbose=0, **options)
        return [batches[start : start + len(flow)] for start in range(0, 3 * len(flow), len(flow))]

    def test_every_image_once_an_epoch(self, split):
        """In fit, every epoch has all train images, and each another order."""
        train = flow_from_tables(split, (4, 4), batch_size=4, seed=0).train

        epochs = self.epochs_seen(train)

        expected = sorted(int(path[-7:-4]) for path in split.train["file_paths"])
        assert [expected] * 3 == [sorted(sum(epoch, ())) for epoch in epochs]
        assert 3 == len({frozenset(epoch) for epoch in epochs})

    @pytest.mark.parametrize("workers", [1, 2])
    def test_same_seed_same_batches_in_fit(self, split, workers):
        """Where fit doesn't reorder the batches itself, the seed decides all it is given."""
        first, second = (
            self.epochs_seen(
                flow_from_tables(split, (4, 4), batch_size=4, seed=0, workers=number).train,
                shuffle=False,
            )
            for number in (1, workers)
        )

        assert first == second

    @pytest.mark.parametrize("workers", [0, 2, 4])
    def test_same_training_at_any_number_of_workers(self, split, workers):
        """Threads change nothing in what the model is given."""
        expected, *_ = self.trained(split, workers=1)

        actual, *_ = self.trained(split, workers=workers)

        for one, other in zip(expected.get_weights(), actual.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_predictions_are_in_the_order_of_the_table(self, split):
        """Predictions for the test iterator are rows in the order of filepaths."""
        model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.GlobalMaxPooling2D()])
        test = flow_from_tables(split, (4, 4), batch_size=2).test

        levels = model.predict(test, verbose=0)[:, 0].astype(int).tolist()

        assert [int(path[-7:-4]) for path in test.filepaths] == levels


class TestAttributes:
    """The iterators have the attributes of Keras's own."""

    def test_attributes(self, split):
        """class_indices, classes, filepaths and samples are those of the table."""
        flow = flow_from_tables(split, (4, 4)).validation

        assert {"dark": 0, "light": 1} == flow.class_indices
        assert split.validation["targets"].tolist() == list(flow.classes)
        assert split.validation["file_paths"].tolist() == list(flow.filepaths)
        assert 5 == flow.samples
        assert (4, 4, 3) == flow.image_shape

    @pytest.mark.parametrize(("batch_size", "length"), [(1, 14), (4, 4), (7, 2), (14, 1), (32, 1)])
    def test_length_is_the_number_of_batches(self, split, batch_size, length):
        """The last batch may be smaller, and no image is dropped."""
        flow = flow_from_tables(split, (4, 4), batch_size=batch_size, seed=0).train

        assert length == len(flow)
        assert 14 == len(levels_of(flow))

    @pytest.mark.parametrize("index", [2, -1, 100])
    def test_index_beyond_the_last_batch(self, split, index):
        """A batch that isn't there is an IndexError, so that plain iteration ends."""
        flow = flow_from_tables(split, (4, 4), batch_size=3).validation

        with pytest.raises(
            IndexError, match=rf"^`index` must be below 2\. Received: index={index}\.$"
        ):
            flow[index]

    @pytest.mark.parametrize(
        ("class_mode", "expected"),
        [
            ("categorical", [[1.0, 0.0], [0.0, 1.0]]),
            ("sparse", [0, 1]),
            ("binary", [[0.0], [1.0]]),
        ],
    )
    def test_class_modes(self, level_table, class_mode, expected):
        """Targets are one-hot rows, numbers, or a column of 0 and 1."""
        table = level_table([0, 10], ["a", "b"])

        flows = flow_from_tables(Split(table, table, table), (4, 4), class_mode=class_mode)

        assert expected == flows.test[0][1].tolist()

    def test_class_mode_none(self, split):
        """Without a class mode, a batch is the images alone."""
        flows = flow_from_tables(split, (4, 4), class_mode=None)

        assert (5, 4, 4, 3) == flows.test[0].shape

    def test_empty_part(self, level_table):
        """A part of no images is an iterator of no batches."""
        table = level_table([0, 10, 20, 30], ["a", "b", "a", "b"])

        flows = flow_from_tables(split_table(table, validation_size=0, test_size=2), (4, 4))

        assert 0 == len(flows.validation)


class TestErrors:
    """What can't be right is refused with the rule, what was received, and what to do."""

    def test_different_class_orders(self, level_table):
        """Tables that number their classes differently are refused."""
        one, other = level_table([0, 10], ["a", "b"]), level_table([0, 10], ["a", "c"])
        text = (
            r"^`split` must have one class order in all its tables\. Received: \['a', 'b'\], "
            r"\['a', 'c'\] and \['a', 'b'\]\. Use `split_table` or `list_splits`\.$"
        )

        with pytest.raises(ValueError, match=text):
            flow_from_tables(Split(one, other, one), (4, 4))

    def test_same_classes_in_another_order(self, level_table):
        """The same names in another order are another order."""
        one = level_table([0, 10], ["a", "b"])
        names = one["target_names"].cat.reorder_categories(["b", "a"])
        other = one.assign(target_names=names, targets=names.cat.codes)

        with pytest.raises(ValueError, match=r"Received: \['a', 'b'\], \['a', 'b'\] and \['b'"):
            flow_from_tables(Split(one, one, other), (4, 4))

    def test_unknown_class_mode(self, split):
        """Class modes are ImageDataGenerator's."""
        text = (
            r"^`class_mode` must be one of 'categorical', 'sparse', 'binary' or None\. "
            r"Received: class_mode='int'\."
        )

        with pytest.raises(ValueError, match=text):
            flow_from_tables(split, (4, 4), class_mode="int")

    def test_unknown_mode(self, split):
        """Modes are those of scale."""
        with pytest.raises(ValueError, match=r"^`mode` must be one of .*Received: mode='255'"):
            flow_from_tables(split, (4, 4), mode="255")

    def test_unknown_color_mode(self, split):
        """Color modes are those of read_image."""
        with pytest.raises(ValueError, match=r"^`color_mode` must be one of .*'rgba'"):
            flow_from_tables(split, (4, 4), color_mode="rgba")

    @pytest.mark.parametrize("image_size", [224, (4, 4, 3), (4.0, 4.0), "44", (0, 4), None])
    def test_image_size_of_the_wrong_form(self, split, image_size):
        """A size is a pair of whole numbers."""
        text = (
            r"^`image_size` must be a pair of whole numbers, .*Received: "
            rf"image_size={re.escape(repr(image_size))}\.$"
        )

        with pytest.raises(ValueError, match=text):
            flow_from_tables(split, image_size)

    def test_one_table_is_no_split(self, split):
        """The error says what makes a Split."""
        text = r"^`split` must be a Split of three tables\. Received: DataFrame\. `split_table` and"

        with pytest.raises(TypeError, match=text):
            flow_from_tables(split.train, (4, 4))

    @pytest.mark.parametrize(
        ("workers", "error"), [(-1, ValueError), (1.5, TypeError), (None, TypeError)]
    )
    def test_workers_of_the_wrong_form(self, split, workers, error):
        """The number of threads is a whole number."""
        text = rf"^`workers` must be a whole number.*Received: workers={workers}\.$"

        with pytest.raises(error, match=text):
            flow_from_tables(split, (4, 4), workers=workers)

    @pytest.mark.parametrize(
        ("batch_size", "error", "text"),
        [
            (0, ValueError, r"must be a whole number of at least 1\. Received: batch_size=0"),
            (2.5, TypeError, r"must be a whole number\. Received: batch_size=2\.5"),
        ],
    )
    def test_batch_size_of_the_wrong_form(self, split, batch_size, error, text):
        """A batch holds a whole number of images."""
        with pytest.raises(error, match=text):
            flow_from_tables(split, (4, 4), batch_size=batch_size)

    @pytest.mark.parametrize(
        ("seed", "error"), [(-1, ValueError), (1.5, TypeError), ("0", TypeError)]
    )
    def test_seed_of_the_wrong_form(self, split, seed, error):
        """A seed is a whole number of at least 0."""
        with pytest.raises(error, match=rf"^`seed` must be .*Received: seed={seed!r}"):
            flow_from_tables(split, (4, 4), seed=seed)

    def test_binary_needs_two_classes(self, level_table):
        """Three classes are no yes and no."""
        table = level_table([0, 10, 20], ["a", "b", "c"])
        text = r"^Binary labels need two classes\. Received: 3 classes\. Use 'categorical'\.$"

        with pytest.raises(ValueError, match=text):
            flow_from_tables(Split(table, table, table), (4, 4), class_mode="binary")

    def test_unlabelled_tables(self, level_table):
        """Tables without labels are refused by their columns where labels are needed."""
        table = level_table([0, 10], ["a", "b"])[["file_paths"]]
        text = (
            r"^`table` must be a DataFrame with the columns file_paths, target_names, targets\. "
            r"Received: \['file_paths'\]\. `list_images` makes one\.$"
        )

        with pytest.raises(ValueError, match=text):
            flow_from_tables(Split(table, table, table), (4, 4))

    def test_unreadable_image(self, split):
        """The error names the file and its place in its table."""
        path = split.validation["file_paths"].iloc[1]
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(b"no image")
        flows = flow_from_tables(split, (4, 4))

        with pytest.raises(ImageReadError, match=rf"{re.escape(path)}.*\(file 2 of 5\)"):
            flows.validation[0]

    def test_transform_that_changes_the_shape(self, split):
        """A transform must keep the shape."""
        flows = flow_from_tables(split, (4, 4), transform=lambda image: image[:2])

        text = r"^`transform` must keep the shape .*Received: \(4, 4, 3\) became \(2, 4, 3\)"
        with pytest.raises(ValueError, match=text):
            flows.train[0]

    def test_tables_are_unchanged(self, split):
        """The given tables get no further column."""
        before = [table.copy() for table in split]

        flow_from_tables(split, (4, 4)).test[0]

        for expected, actual in zip(before, split, strict=True):
            pd.testing.assert_frame_equal(expected, actual)
