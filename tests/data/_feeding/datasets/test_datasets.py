"""image_dataset: shapes, pixels, targets, and what makes the batches."""

import time
import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from cnnkit.data import image_dataset, list_images, read_image
from cnnkit.data._feeding.batches import ImageBatches
from cnnkit.data._feeding.sources import array_source
from cnnkit.preprocess import scale
from epochs import LEVELS, images_of, levels_of


class TestShape:
    """Shapes are static, the length is known, and nothing is dropped."""

    @pytest.mark.parametrize("mode", ["none", "tf"])
    def test_element_spec(self, table, mode):
        """Height, width, channels and classes are known before anything is read."""
        images, targets = image_dataset(table, (6, 5), mode=mode).element_spec

        assert [None, 6, 5, 3] == images.shape.as_list()
        assert (tf.uint8 if mode == "none" else tf.float32) == images.dtype
        assert [None, 2] == targets.shape.as_list()

    def test_grayscale(self, table):
        """Grayscale images have one channel."""
        dataset = image_dataset(table, (6, 5), color_mode="grayscale")

        assert (24, 6, 5, 1) == images_of(dataset).shape

    @pytest.mark.parametrize(("batch_size", "length"), [(1, 40), (7, 6), (8, 5), (40, 1), (64, 1)])
    def test_length_is_the_number_of_batches(self, arrays, batch_size, length):
        """The last batch may be smaller, and no image is dropped."""
        dataset = image_dataset(arrays, batch_size=batch_size)

        assert length == len(dataset)
        assert length == sum(1 for _ in dataset)
        np.testing.assert_array_equal(arrays[0], images_of(dataset))

    @pytest.mark.parametrize("cache", [None, "memory"])
    @pytest.mark.parametrize("shuffle", [False, True])
    @pytest.mark.parametrize(
        ("label_mode", "shape"), [("categorical", [None, 3]), ("int", [None]), (None, None)]
    )
    def test_static_shapes(self, arrays, cache, shuffle, label_mode, shape):
        """Whatever is asked for, only the number of images in a batch is open."""
        options = {"label_mode": label_mode, "cache": cache, "shuffle": shuffle}
        dataset = image_dataset(arrays, batch_size=7, transform=np.flipud, **options)

        spec = dataset.element_spec

        images, *targets = spec if shape else [spec]
        assert [None, 8, 8, 3] == images.shape.as_list()
        assert ([shape] if shape else []) == [part.shape.as_list() for part in targets]
        assert 6 == len(dataset)

    def test_class_names_and_file_paths(self, table):
        """The dataset carries the names of the classes and the files in the table's order."""
        dataset = image_dataset(table, (4, 4), shuffle=True)

        assert ["dark", "light"] == dataset.class_names
        assert table["file_paths"].tolist() == dataset.file_paths

    def test_class_names_of_a_filtered_table(self, table):
        """A table without one of its classes still has its number and its column."""
        dataset = image_dataset(table[table["targets"] == 1], (4, 4))

        assert ["dark", "light"] == dataset.class_names
        assert [[0.0, 1.0]] * 12 == next(iter(dataset))[1].numpy().tolist()

    def test_names_of_arrays(self, arrays):
        """The classes of arrays are named by their numbers; there are no files."""
        dataset = image_dataset(arrays)

        assert ["0", "1", "2"] == dataset.class_names
        assert dataset.file_paths is None

    def test_works_in_fit_and_predict(self, table):
        """A model trains on the dataset and predicts row by row."""
        model = keras.Sequential(
            [
                keras.Input((4, 4, 3)),
                keras.layers.Rescaling(1 / 255),
                keras.layers.Flatten(),
                keras.layers.Dense(2, "softmax"),
            ]
        )
        model.compile("sgd", "categorical_crossentropy")
        dataset = image_dataset(table, (4, 4), batch_size=5)

        history = model.fit(dataset, validation_data=dataset, epochs=2, shuffle=False, verbose=0)

        assert 2 == len(history.history["val_loss"])
        assert (24, 2) == model.predict(dataset, verbose=0).shape


class TestImages:
    """Images are read by read_image and scaled by scale."""

    @pytest.mark.parametrize("color_mode", ["rgb", "grayscale"])
    def test_equals_read_image(self, make_folder, color_mode):
        """Every image is what read_image gives for its file."""
        table = list_images(make_folder({"cat": 3, "dog": 4}))
        paths = table["file_paths"]
        expected = [read_image(path, (10, 12), color_mode=color_mode) for path in paths]

        actual = images_of(image_dataset(table, (10, 12), batch_size=3, color_mode=color_mode))

        np.testing.assert_array_equal(expected, actual)

    @pytest.mark.parametrize("mode", ["tf", "torch", "caffe", "unit"])
    def test_scaling_equals_scale(self, arrays, mode):
        """A mode gives exactly what scale gives, as float32."""
        actual = images_of(image_dataset(arrays, mode=mode))

        assert np.float32 == actual.dtype
        np.testing.assert_array_equal(scale(arrays[0], mode), actual)

    def test_raw_pixels_by_default(self, arrays):
        """Without a mode the pixels come as uint8."""
        actual = images_of(image_dataset(arrays))

        assert np.uint8 == actual.dtype
        np.testing.assert_array_equal(arrays[0], actual)

    def test_transform_acts_before_scaling(self, arrays):
        """The transform sees uint8 pixels, the scaling its result."""
        seen = set()

        def invert(image):
            seen.add(image.dtype)
            return 255 - image

        actual = images_of(image_dataset(arrays, transform=invert, mode="torch"))

        assert {np.dtype(np.uint8)} == seen
        np.testing.assert_array_equal(scale(255 - arrays[0], "torch"), actual)

    def test_plain_function_may_name_its_argument_freely(self, arrays):
        """A function of an array is called with the array, whatever it calls it."""
        actual = images_of(image_dataset(arrays, transform=np.flipud))

        np.testing.assert_array_equal(arrays[0][:, ::-1], actual)

    @pytest.mark.parametrize("cache", [None, "memory"])
    def test_transform_in_place_spoils_nothing(self, arrays, cache):
        """A transform that writes into its image leaves the source as it was."""
        before = arrays[0].copy()

        def blacken(image):
            image[:2] = 0
            return image

        images_of(image_dataset(arrays, transform=blacken, cache=cache))

        np.testing.assert_array_equal(before, arrays[0])

    def test_transform_in_place_spoils_no_cache(self, table):
        """What a transform writes in one epoch isn't there in the next."""

        def brighten(image):
            image += 5
            return image

        dataset = image_dataset(table, (4, 4), transform=brighten, cache="memory")
        first, second = levels_of(dataset), levels_of(dataset)

        assert [level + 5 for level in LEVELS] == first
        assert first == second


class TestTargets:
    """Targets come in the form a loss wants."""

    @pytest.mark.parametrize(
        ("label_mode", "expected", "dtype"),
        [
            ("categorical", [[1, 0], [0, 1], [1, 0]], np.float32),
            ("int", [0, 1, 0], np.int32),
            ("binary", [[0], [1], [0]], np.float32),
        ],
    )
    def test_label_modes(self, level_table, label_mode, expected, dtype):
        """One-hot rows, numbers, or a column of 0 and 1."""
        dataset = image_dataset(
            level_table([1, 2, 3], ["a", "b", "a"]), (4, 4), label_mode=label_mode
        )

        _, targets = next(iter(dataset))

        assert dtype == targets.dtype
        assert expected == targets.numpy().tolist()

    def test_label_mode_none(self, table):
        """Without a label mode, a batch is the images alone."""
        batch = next(iter(image_dataset(table, (4, 4), label_mode=None)))

        assert (24, 4, 4, 3) == batch.shape

    def test_unlabelled_table(self, table):
        """An unlabelled table has no class names, and needs none for label_mode=None."""
        dataset = image_dataset(table[["file_paths"]], (4, 4), label_mode=None)

        assert dataset.class_names is None
        assert 24 == len(next(iter(dataset)))

    @pytest.mark.parametrize(
        "targets", [np.eye(3)[[0, 1, 2, 0]], np.eye(3, dtype=int)[[0, 1, 2, 0]]]
    )
    def test_one_hot_arrays_are_never_encoded_twice(self, arrays, targets):
        """One-hot targets stay one-hot, or are refused by name."""
        try:
            dataset = image_dataset((arrays[0][:4], targets))
        except ValueError as error:
            assert "targets" in str(error)  # noqa: PT017  # either way will do
            return

        assert [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]] == next(iter(dataset))[
            1
        ].numpy().tolist()

    def test_column_of_targets_is_never_encoded_to_three_axes(self, arrays):
        """A column of class numbers, as CIFAR-10 has it, gives rows, or is refused by name."""
        try:
            dataset = image_dataset((arrays[0], arrays[1][:, None]))
        except ValueError as error:
            assert "targets" in str(error)  # noqa: PT017  # either way will do
            return

        assert (32, 3) == next(iter(dataset))[1].shape

    def test_negative_targets_are_refused(self, arrays):
        """Class numbers begin at 0; -1 isn't the last class."""
        with pytest.raises(ValueError, match="targets"):
            image_dataset((arrays[0], arrays[1] - 1))

    def test_list_of_targets(self, arrays):
        """A list of class numbers does as well as an array."""
        dataset = image_dataset((arrays[0], arrays[1].tolist()), label_mode="int")

        assert arrays[1][:32].tolist() == next(iter(dataset))[1].numpy().tolist()


class TestPipeline:
    """What makes the batches has no part that holds them up."""

    @pytest.mark.parametrize("mode", ["none", "tf", "torch", "caffe", "unit"])
    def test_batches_are_aligned(self, rng, mode):
        """Batches begin at a multiple of 64 bytes: TensorFlow takes over no others."""
        images = rng.integers(0, 256, (20, 5, 7, 3), dtype=np.uint8)
        make = ImageBatches(array_source((images, None), None, None), None, mode, seed=0)

        batches = [make(0, np.arange(size)) for size in range(1, 21)]  # all at one time

        assert {0} == {batch.ctypes.data % 64 for batch in batches}
        for size, batch in enumerate(batches, 1):
            np.testing.assert_array_equal(scale(images[:size], mode), batch)

    @pytest.mark.parametrize("cache", [None, "memory"])
    @pytest.mark.parametrize("by_layer", [False, True])
    def test_no_generator_and_no_tuner(self, arrays, monkeypatch, cache, by_layer):
        """from_generator makes memory slow on Python 3.11, the tuner ends epochs late."""

        def fail(*_, **__):
            raise AssertionError

        monkeypatch.setattr(tf.data.Dataset, "from_generator", fail)

        layer = keras.layers.RandomFlip(seed=0) if by_layer else None
        dataset = image_dataset(arrays, transform=layer, cache=cache)

        assert arrays[0].shape == images_of(dataset).shape
        assert dataset.options().autotune.enabled is False

    @pytest.mark.parametrize("workers", [1, 3])
    def test_threads(self, arrays, workers):
        """The dataset has as many threads of its own as batches are made at the same time."""
        dataset = image_dataset(arrays, workers=workers)

        assert workers == dataset.options().threading.private_threadpool_size

    @pytest.mark.parametrize(("processors", "threads"), [(None, 1), (3, 3), (64, 16)])
    def test_threads_by_default(self, arrays, monkeypatch, processors, threads):
        """By default there is one for each processor, up to 16."""
        monkeypatch.setattr("os.cpu_count", lambda: processors)

        dataset = image_dataset(arrays)

        assert threads == dataset.options().threading.private_threadpool_size

    @pytest.mark.parametrize(("size", "threads"), [((8, 8), 1), ((64, 64), 3)])
    def test_one_thread_for_tiny_files(self, rng, write_image, monkeypatch, size, threads):
        """Files of less than 3,000 bytes are read by one thread, which is faster; any may lack."""
        monkeypatch.setattr("os.cpu_count", lambda: 3)
        noise = rng.integers(0, 256, (4, *size, 3), dtype=np.uint8)
        paths = [str(write_image(f"{row}.png", image)) for row, image in enumerate(noise)]
        table = pd.DataFrame({"file_paths": [*paths, "gone.png"]})

        dataset = image_dataset(table, (8, 8), label_mode=None)

        assert threads == dataset.options().threading.private_threadpool_size

    def test_no_worker_makes_what_is_asked_for(self, arrays):
        """With workers=0, no batch is made before it is asked for."""
        seen = []

        def note(image):
            seen.append(image)
            return image

        dataset = image_dataset(arrays, transform=note, batch_size=2, workers=0)
        iterator = iter(dataset)
        for asked in (1, 2, 3):
            next(iterator)
            time.sleep(0.1)

            assert 2 * asked == len(seen)

    def test_epochs_of_two_iterators(self, arrays, augmentation):
        """Each iterator has one epoch throughout, even if two take turns."""
        options = {"transform": augmentation, "seed": 1, "shuffle": True, "batch_size": 4}
        dataset = image_dataset(arrays, **options)
        expected = [images_of(dataset), images_of(dataset)]

        other = image_dataset(arrays, **options)
        pairs = list(zip(other, other, strict=True))

        for epoch in range(2):
            actual = np.concatenate([pair[epoch][0].numpy() for pair in pairs])
            np.testing.assert_array_equal(expected[epoch], actual)
