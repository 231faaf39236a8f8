"""image_dataset: the same bytes at any number of workers, other draws in every epoch."""

import random
import re
import threading
import time

import albumentations as A
import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy import stats

from cnnkit.data import Split, image_dataset, list_images, read_image
from cnnkit.data._feeding import sources
from cnnkit.data._feeding.batches import ImageBatches
from cnnkit.data._feeding.sources import array_source
from cnnkit.exceptions import ImageReadError
from cnnkit.preprocess import scale

LEVELS = list(range(0, 240, 10))


def images_of(dataset):
    """Return all images of one epoch."""
    return np.concatenate([batch[0].numpy() for batch in dataset])


def levels_of(dataset):
    return images_of(dataset)[:, 0, 0, 0].tolist()


class Draws(A.ImageOnlyTransform):
    """Writes what it draws over the image: 16 numbers of 8 bytes.

    The last but one is drawn as a number of 4 bytes, of which a generator makes two at once; the
    last is Python's.
    """

    SHAPE = (16, 8, 1)

    def apply(self, img, **_):
        half = self.random_generator.random(dtype=np.float32)
        draws = [*self.random_generator.random(14), half, self.py_random.random()]
        return np.array(draws, np.float64).view(np.uint8).reshape(self.SHAPE)


def draws_of(count, epochs, **options):
    """Return the numbers that are drawn `(epochs, count, 16)`."""
    images = np.zeros((count, *Draws.SHAPE), dtype=np.uint8), np.zeros(count, dtype=int)
    dataset = image_dataset(images, transform=Draws(p=1), batch_size=100, **options)
    drawn = np.stack([images_of(dataset) for _ in range(epochs)])
    return drawn.reshape(epochs, count, -1).view(np.float64)


def flips_of(images):
    """Return how each image with its one bright corner top left has been flipped."""
    return [(bool(image[-1].any()), bool(image[:, -1].any())) for image in images]


@pytest.fixture
def arrays(rng):
    """Forty images of random pixels, of three classes."""
    return rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8), np.arange(40) % 3


@pytest.fixture
def corners():
    """400 black images, each with one bright corner top left."""
    images = np.zeros((400, 4, 4, 3), dtype=np.uint8)
    images[:, 0, 0] = 255
    return images, np.zeros(400, dtype=int)


@pytest.fixture
def table(level_table):
    """24 images of one level each, of two classes."""
    return level_table(LEVELS, ["dark"] * 12 + ["light"] * 12)


@pytest.fixture(scope="module")
def draws():
    """The numbers drawn of three seeds, in three epochs, at 400 places."""
    return np.stack([draws_of(400, 3, seed=seed) for seed in range(3)])


@pytest.fixture
def augmentation():
    """What people augment photos with: flips, colors, geometry, choices and holes."""
    return A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.VerticalFlip(p=0.5),
            A.OneOf([A.RandomBrightnessContrast(p=1), A.HueSaturationValue(p=1)], p=0.8),
            A.Affine(rotate=(-20, 20), scale=(0.8, 1.2), p=0.7),
            A.GaussNoise(p=0.5),
            A.CoarseDropout(p=0.5),
        ]
    )


class TestSeed:
    """What is drawn for an image depends on seed, epoch and place alone."""

    def test_same_bytes_at_any_number_of_workers(self, arrays, augmentation):
        """No, one, two or four workers give the same two epochs."""
        epochs = []
        for workers in (0, 1, 2, 4):
            dataset = image_dataset(
                arrays, transform=augmentation, batch_size=4, shuffle=True, seed=1, workers=workers
            )
            epochs.append([images_of(dataset), images_of(dataset)])

        for others in epochs[1:]:
            np.testing.assert_array_equal(epochs[0], others)

    def test_same_bytes_at_any_batch_size(self, arrays, augmentation):
        """How images are batched changes none of them."""
        one, other = (
            image_dataset(arrays, transform=augmentation, batch_size=size, shuffle=True, seed=1)
            for size in (3, 40)
        )

        np.testing.assert_array_equal(images_of(one), images_of(other))

    def test_another_draw_in_another_epoch(self, arrays, augmentation):
        """The second iteration draws anew for every image."""
        dataset = image_dataset(arrays, transform=augmentation, seed=1)

        first, second = images_of(dataset), images_of(dataset)

        assert (first != second).any(axis=(1, 2, 3)).mean() > 0.9

    def test_same_epochs_in_a_second_dataset(self, arrays, augmentation):
        """A second dataset of the same seed repeats the epochs of the first."""
        first, second = (image_dataset(arrays, transform=augmentation, seed=1) for _ in range(2))

        for _ in range(3):
            np.testing.assert_array_equal(images_of(first), images_of(second))

    def test_other_seed_other_draw(self, arrays, augmentation):
        """Another seed draws otherwise."""
        first, second = (image_dataset(arrays, transform=augmentation, seed=s) for s in (1, 2))

        assert (images_of(first) != images_of(second)).any()

    def test_no_seed_other_draw_each_time(self, arrays, augmentation):
        """Without a seed no run repeats another."""
        first, second = (image_dataset(arrays, transform=augmentation) for _ in range(2))

        assert (images_of(first) != images_of(second)).any()

    def test_initial_epoch_resumes(self, arrays, augmentation):
        """A dataset begun at epoch 2 goes on where another left off."""
        options = {"transform": augmentation, "shuffle": True, "seed": 1}
        whole = image_dataset(arrays, **options)
        expected = [images_of(whole) for _ in range(4)]

        resumed = image_dataset(arrays, **options, initial_epoch=2)

        np.testing.assert_array_equal(expected[2:], [images_of(resumed), images_of(resumed)])

    def test_fit_counts_epochs(self, arrays, augmentation):
        """After two epochs of fit the dataset stands at epoch 2, where initial_epoch resumes."""
        options = {"transform": augmentation, "shuffle": True, "seed": 1}
        dataset = image_dataset(arrays, **options)
        model = keras.Sequential(
            [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")]
        )
        model.compile("sgd", "categorical_crossentropy")

        model.fit(dataset, epochs=2, shuffle=False, verbose=0)  # the dataset shuffles

        resumed = image_dataset(arrays, **options, initial_epoch=2)
        np.testing.assert_array_equal(images_of(resumed), images_of(dataset))

    def test_draws_differ_between_images(self):
        """Equal images are transformed each in its own way."""
        images = np.full((50, 4, 4, 3), 100, dtype=np.uint8)
        transform = A.Compose([A.RandomBrightnessContrast(p=1)])

        dataset = image_dataset((images, np.zeros(50, dtype=int)), transform=transform, seed=0)

        assert len(set(levels_of(dataset))) > 10

    def test_draw_belongs_to_the_place(self, corners):
        """Shuffling reorders images and leaves the draw of each as it is."""
        images = corners[0][:40].copy()
        images[:, 0, 0, 0] = np.arange(40) + 100
        options = {"transform": A.HorizontalFlip(p=0.5), "seed": 3}

        ordered = images_of(image_dataset((images, corners[1][:40]), **options))
        shuffled = images_of(image_dataset((images, corners[1][:40]), **options, shuffle=True))

        by_place = shuffled[shuffled[..., 0].max(axis=(1, 2)).argsort()]
        np.testing.assert_array_equal(ordered, by_place)

    def test_global_random_state_is_untouched(self, arrays, augmentation):
        """Python's and NumPy's global states are neither used nor changed."""
        before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002

        images_of(image_dataset(arrays, transform=augmentation, shuffle=True))

        assert before == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002

    def test_global_random_state_has_no_influence(self, arrays, augmentation):
        """Whoever sets the global seeds doesn't change a seeded dataset."""
        expected = images_of(image_dataset(arrays, transform=augmentation, seed=1))
        random.seed(5)
        np.random.seed(5)  # noqa: NPY002

        actual = images_of(image_dataset(arrays, transform=augmentation, seed=1))

        np.testing.assert_array_equal(expected, actual)

    def test_given_transform_is_left_alone(self, arrays, augmentation):
        """The transform that was handed in keeps its own random state."""
        before = augmentation.random_generator.bit_generator.state

        images_of(image_dataset(arrays, transform=augmentation, seed=1))

        assert before == augmentation.random_generator.bit_generator.state


class TestIndependentDraws:
    """The transforms of one Compose draw independently of each other."""

    def test_flips_are_independent(self, corners):
        """Of 400 images, about a quarter each is flipped not, this way, that way, both ways."""
        transform = A.Compose([A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)])

        flips = flips_of(images_of(image_dataset(corners, transform=transform, seed=0)))

        # 400 draws at 1/4: mean 100, deviation 8.7.
        for kind in [(False, False), (False, True), (True, False), (True, True)]:
            assert 60 <= flips.count(kind) <= 140

    def test_flips_in_a_nested_compose_are_independent(self, corners):
        """Nesting changes nothing."""
        transform = A.Compose(
            [A.Sequential([A.HorizontalFlip(p=0.5)], p=1), A.Compose([A.VerticalFlip(p=0.5)])]
        )

        flips = flips_of(images_of(image_dataset(corners, transform=transform, seed=0)))

        for kind in [(False, False), (False, True), (True, False), (True, True)]:
            assert 60 <= flips.count(kind) <= 140

    def test_seed_of_compose_ties_them_together(self, corners):
        """The trap is real: seeded albumentations' way, no image is flipped one way alone."""
        flips = [
            A.Compose([A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)], seed=seed)(
                image=corners[0][0]
            )["image"]
            for seed in range(200)
        ]

        assert {(False, False), (True, True)} == set(flips_of(flips))

    def test_set_random_seed_ties_them_together(self, corners):
        """The trap is real: set_random_seed for each image ties the flips too."""
        transform = A.Compose([A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)])
        flips = []
        for seed in range(200):
            transform.set_random_seed(seed)
            flips.append(transform(image=corners[0][0])["image"])

        assert {(False, False), (True, True)} == set(flips_of(flips))


class TestNumbers:
    """What a transform draws is as good as from one generator in one run."""

    def test_no_number_comes_twice(self, draws):
        """No two of seed, epoch and place share a part of their numbers."""
        # 54,000 draws of 53 bits: two are equal in one of six million runs.
        whole = np.delete(draws, 14, axis=-1)

        assert whole.size == np.unique(whole).size

    @pytest.mark.parametrize("number", [0, 1, 13, 14, 15])
    def test_numbers_are_uniform(self, draws, number):
        """The first numbers of each image, the last, and Python's fill 0 to 1 evenly."""
        assert stats.kstest(draws[..., number].ravel(), "uniform").pvalue > 1e-5
        for seed in range(3):
            for epoch in range(3):
                assert stats.kstest(draws[seed, epoch, :, number], "uniform").pvalue > 1e-5

    @pytest.mark.parametrize("axis", [0, 1, 2, 3], ids=["seed", "epoch", "place", "number"])
    def test_neighbours_are_independent(self, draws, axis):
        """Numbers of neighbouring seeds, epochs and places don't go together."""
        sides = np.moveaxis(draws, axis, 0)
        if axis < 3:
            sides = sides[..., [0, 15]]  # what an image's first transforms see
        one, other = sides[:-1].ravel(), sides[1:].ravel()

        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(one.size)
        table, *_ = np.histogram2d(one, other, bins=4)
        assert stats.chisquare(table.ravel()).pvalue > 1e-5

    def test_seed_is_no_epoch(self):
        """Seed 1 in epoch 2 isn't seed 2 in epoch 1."""
        (one,) = draws_of(10, 1, seed=1, initial_epoch=2)
        (other,) = draws_of(10, 1, seed=2, initial_epoch=1)

        assert not np.isin(one, other).any()

    def test_epoch_is_the_epoch(self):
        """An epoch draws what it draws, whichever epochs came before."""
        expected = draws_of(10, 4, seed=1)

        np.testing.assert_array_equal(expected[3:], draws_of(10, 1, seed=1, initial_epoch=3))

    @pytest.mark.parametrize("seed", [2**63, 2**64 - 1, 2**64, 2**64 + 1, 2**100 + 3])
    def test_large_seed(self, seed):
        """Seeds may be as large as any; each has its own draws, the same again and again."""
        draws = draws_of(10, 2, seed=seed, shuffle=True)

        np.testing.assert_array_equal(draws, draws_of(10, 2, seed=seed, shuffle=True))
        assert not np.isin(draws, draws_of(10, 2, seed=seed - 1)).any()

    @pytest.mark.parametrize("bits", [31, 32, 63, 64, 128])
    def test_large_seed_is_whole(self, bits):
        """No part of a large seed is cut off."""
        assert not np.isin(draws_of(10, 1, seed=1), draws_of(10, 1, seed=2**bits + 1)).any()


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


class TestOrder:
    """Without shuffling the order is the table's; with it, all rows, still aligned."""

    def test_order_of_the_table(self, table):
        """Rows follow the table, whatever its index."""
        mixed = table.sample(frac=1, random_state=0)

        levels = levels_of(image_dataset(mixed, (4, 4), batch_size=5))

        assert [int(path[-7:-4]) for path in mixed["file_paths"]] == levels

    def test_shuffle_is_a_permutation(self, table):
        """Every image comes once, in another order than the table's."""
        levels = levels_of(image_dataset(table, (4, 4), batch_size=5, shuffle=True, seed=0))

        assert LEVELS != levels
        assert sorted(levels) == LEVELS

    def test_shuffle_mixes_the_whole_table(self, arrays):
        """The order isn't confined to a buffer: first and last rows change places."""
        order = images_of(image_dataset(arrays, shuffle=True, seed=0))
        places = [
            int(np.flatnonzero((arrays[0] == image).all(axis=(1, 2, 3)))[0]) for image in order
        ]

        assert min(places[20:]) < 10
        assert max(places[:20]) > 30

    @pytest.mark.parametrize("batch_size", [1, 5, 32])
    @pytest.mark.parametrize("workers", [0, 1, 4])
    def test_targets_stay_with_their_images(self, table, batch_size, workers):
        """Every image stands beside the target of its own file, in every epoch."""
        dataset = image_dataset(
            table,
            (4, 4),
            batch_size=batch_size,
            label_mode="int",
            shuffle=True,
            seed=0,
            workers=workers,
        )

        for _ in range(2):
            for images, targets in dataset:
                assert (images[:, 0, 0, 0].numpy() >= 120).astype(int).tolist() == list(targets)

    def test_another_order_in_each_epoch(self, table):
        """The order changes from epoch to epoch."""
        dataset = image_dataset(table, (4, 4), shuffle=True, seed=0)

        assert levels_of(dataset) != levels_of(dataset)


class TestCache:
    """cache="memory" reads each file once and changes no byte."""

    @pytest.fixture
    def reads(self, monkeypatch):
        """The files that have been read, in a list that goes on growing."""
        paths = []

        def read(path, *args, **options):
            paths.append(path)
            return read_image(path, *args, **options)

        monkeypatch.setattr(sources, "read_image", read)
        return paths

    @pytest.mark.parametrize("workers", [0, 4])
    def test_same_bytes(self, make_folder, augmentation, workers):
        """Two epochs with and without the cache are equal."""
        table = list_images(make_folder({"cat": 10, "dog": 10}))
        options = {"transform": augmentation, "shuffle": True, "seed": 1, "batch_size": 6}
        plain = image_dataset(table, (12, 12), **options)
        cached = image_dataset(table, (12, 12), **options, cache="memory", workers=workers)

        for _ in range(2):
            np.testing.assert_array_equal(images_of(plain), images_of(cached))

    def test_files_are_read_once(self, table):
        """After one epoch the files may go."""
        dataset = image_dataset(table, (4, 4), cache="memory")
        first = levels_of(dataset)
        for path in table["file_paths"]:
            tf.io.gfile.remove(path)

        assert first == levels_of(dataset)

    @pytest.mark.parametrize("mode", ["none", "torch"])
    @pytest.mark.parametrize("cropped", [False, True])
    def test_finished_batches_are_kept(self, make_folder, reads, monkeypatch, mode, cropped):
        """Without draws, nothing of ours runs in the second epoch, and its bytes are the same."""
        table = list_images(make_folder({"cat": 5, "dog": 6}, size=(20, 30)))
        options = {"mode": mode, "batch_size": 4, "crop_to_aspect_ratio": cropped}
        expected = images_of(image_dataset(table, (8, 8), **options))
        reads.clear()
        dataset = image_dataset(table, (8, 8), **options, cache="memory")
        assert [] == reads
        first = images_of(dataset)
        assert table["file_paths"].tolist() == sorted(reads)

        def fail(*_):
            raise AssertionError

        monkeypatch.setattr(ImageBatches, "__call__", fail)
        second = images_of(dataset)

        np.testing.assert_array_equal(expected, first)
        np.testing.assert_array_equal(expected, second)
        assert 11 == len(reads)

    def test_finished_batches_of_arrays_are_kept(self, arrays, monkeypatch):
        """Arrays are scaled once."""
        dataset = image_dataset(arrays, mode="torch", cache="memory", batch_size=7)
        images_of(dataset)
        monkeypatch.delattr(ImageBatches, "__call__")

        np.testing.assert_array_equal(scale(arrays[0], "torch"), images_of(dataset))

    def test_targets_are_kept_with_their_batches(self, table):
        """The second epoch has the targets of the first."""
        dataset = image_dataset(table, (4, 4), cache="memory", label_mode="int", batch_size=5)

        for _ in range(2):
            for images, targets in dataset:
                assert (images[:, 0, 0, 0].numpy() >= 120).astype(int).tolist() == list(targets)

    @pytest.mark.parametrize("how", ["shuffled", "by a function", "by a layer"])
    def test_drawn_batches_are_not_kept(self, table, reads, how):
        """What is drawn, or ordered, is made in each epoch, from files that were read before."""
        options = {
            "shuffled": {"shuffle": True},
            "by a function": {"transform": np.flipud},
            "by a layer": {"transform": keras.layers.RandomFlip(seed=0)},
        }
        dataset = image_dataset(table, (4, 4), cache="memory", **options[how])

        assert table["file_paths"].tolist() == sorted(reads)
        for _ in range(2):
            assert sorted(levels_of(dataset)) == LEVELS
        assert 24 == len(reads)

    @pytest.mark.parametrize("options", [{"shuffle": True}, {"transform": np.flipud}])
    def test_unreadable_image_is_an_error_at_the_call(self, table, options):
        """Where all files are read beforehand, the first that can't be is named at once."""
        path = table["file_paths"][13]
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(b"no image")

        with pytest.raises(ImageReadError, match=rf"{re.escape(path)}.*\(file 14 of 24\)\.$"):
            image_dataset(table, (4, 4), cache="memory", **options)

    def test_without_a_cache_files_are_read_each_time(self, table):
        """Without the cache a file that has gone is an error in the next epoch."""
        dataset = image_dataset(table, (4, 4))
        levels_of(dataset)
        tf.io.gfile.remove(table["file_paths"][0])

        with pytest.raises(tf.errors.OpError, match="No such file"):
            levels_of(dataset)


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


class TestKerasLayers:
    """Keras's augmentation layers, alone or one after another, are transforms too."""

    def test_flips(self, corners):
        """A layer draws for each image, and targets stay."""
        layer = keras.layers.RandomFlip("horizontal", seed=0)

        dataset = image_dataset(corners, transform=layer, label_mode="int")

        flips = flips_of(images_of(dataset))
        assert 120 < sum(horizontal for _, horizontal in flips) < 280
        assert not any(vertical for vertical, _ in flips)
        assert [0] * 400 == [int(label) for _, labels in dataset for label in labels]

    def test_equals_the_layer(self, arrays):
        """The pixels are what the layer makes of the batch, as float32 in 0..255."""
        layer = keras.layers.RandomRotation((0.25, 0.25), interpolation="nearest", seed=0)
        expected = np.asarray(layer(arrays[0][:8].astype("float32"), training=True))

        dataset = image_dataset(arrays, batch_size=8, transform=layer, label_mode=None)

        np.testing.assert_allclose(expected, next(iter(dataset)).numpy(), atol=1e-4)

    @pytest.mark.parametrize("workers", [0, 1, 2, 4])
    def test_same_seed_same_images(self, arrays, workers):
        """A fresh layer of one seed gives the same run, at any number of workers."""

        def run(workers):
            layers = [keras.layers.RandomFlip(seed=1), keras.layers.RandomContrast(0.5, seed=2)]
            dataset = image_dataset(
                arrays,
                batch_size=7,
                transform=keras.Sequential(layers),
                label_mode=None,
                shuffle=True,
                seed=3,
                workers=workers,
            )
            return [np.concatenate([batch.numpy() for batch in dataset]) for _ in range(2)]

        first, second = run(1), run(workers)

        np.testing.assert_array_equal(first, second)
        assert not np.array_equal(*first)

    def test_scaling_comes_after(self, arrays):
        """The layer sees raw pixels, the network scaled ones."""
        layer = keras.layers.RandomFlip("horizontal", seed=0)
        raw, scaled = (
            image_dataset(arrays, transform=layer.from_config(layer.get_config()), mode=mode)
            for mode in ("none", "torch")
        )

        np.testing.assert_allclose(scale(images_of(raw), "torch"), images_of(scaled), atol=1e-5)
        assert tf.TensorShape([None, 8, 8, 3]) == scaled.element_spec[0].shape
        assert tf.float32 == scaled.element_spec[0].dtype

    def test_trains(self, table):
        """A model trains on it."""
        dataset = image_dataset(table, (8, 8), transform=keras.layers.RandomFlip(seed=0), seed=0)
        model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
        model.compile("sgd", loss="categorical_crossentropy")

        history = model.fit(dataset, epochs=2, shuffle=False, verbose=0)

        assert 2 == len(history.history["loss"])

    def test_other_shape(self, arrays):
        """A layer that changes the shape is refused at the call."""
        text = r"must keep the shape .* Received: \(8, 8, 3\) became \(4, 4, 3\)\. End it with a"

        with pytest.raises(ValueError, match=text):
            image_dataset(arrays, transform=keras.layers.RandomCrop(4, 4))


class TestSkip:
    """Files that can't be read are left out beforehand on request."""

    @pytest.fixture
    def broken(self, table, tmp_path):
        """The table with a text and a missing file among the images."""
        (tmp_path / "text.png").write_text("no image")
        paths = table["file_paths"].tolist()
        paths[3], paths[20] = str(tmp_path / "text.png"), str(tmp_path / "gone.png")
        return table.assign(file_paths=paths)

    @pytest.mark.parametrize("cache", [None, "memory"])
    def test_the_others_are_there(self, broken, cache):
        """Images and labels are those of the rows that can be read."""
        dataset = image_dataset(
            broken, (8, 8), label_mode="int", on_error="skip", cache=cache, progress=False
        )

        readable = [row for row in range(24) if row not in (3, 20)]
        for _ in range(2):
            assert [LEVELS[row] for row in readable] == levels_of(dataset)
        labels = [int(label) for _, batch in dataset for label in batch]
        assert broken["targets"].iloc[readable].tolist() == labels
        assert broken["file_paths"].iloc[readable].tolist() == dataset.file_paths
        assert 1 == len(dataset)

    def test_what_was_skipped(self, broken):
        """The rows that were left out are told with the reason."""
        skipped = image_dataset(broken, (8, 8), on_error="skip", progress=False).skipped

        assert [broken.index[3], broken.index[20]] == list(skipped.index)
        assert "text.png" in skipped["reason"].iloc[0]
        assert "No such file" in skipped["reason"].iloc[1]

    def test_nothing_to_skip(self, table):
        """Where all can be read, nothing is skipped; without reading, nothing is known."""
        for on_error in ("raise", "skip"):
            dataset = image_dataset(table, (8, 8), on_error=on_error, progress=False)

            assert 0 == len(dataset.skipped)
            assert 24 == len(dataset.file_paths)

    def test_nothing_can_be_read(self, table):
        """A table of no readable images is refused."""
        with pytest.raises(ValueError, match="at least one image that can be read"):
            image_dataset(
                table.assign(file_paths="gone.png"), (8, 8), on_error="skip", progress=False
            )

    def test_unknown_word(self, table):
        """on_error is one of two words."""
        with pytest.raises(ValueError, match="`on_error` must be one of 'raise' or 'skip'"):
            image_dataset(table, (8, 8), on_error="ignore")


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
