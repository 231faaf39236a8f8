"""image_dataset: the same bytes at any number of workers, other draws in every epoch."""

import random
import albumentations as A
import keras
import numpy as np
import pytest
from scipy import stats
from cnnkit.data import image_dataset
from epochs import LEVELS, images_of, levels_of, draws_of, flips_of


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
