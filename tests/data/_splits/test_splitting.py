"""split_table and split_arrays: disjoint, exhaustive, stratified to the image."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnnkit.data import Split, split_arrays, split_table

class_sizes_drawn = st.lists(st.integers(3, 80), min_size=1, max_size=8)
fractions = st.floats(0.05, 0.45)


def table_of(counts):
    """A labelled table with so many rows of each class, mixed and oddly indexed."""
    names = [name for name, count in counts.items() for _ in range(count)]
    order = np.random.default_rng(3).permutation(len(names))
    target_names = pd.Categorical([names[row] for row in order], categories=list(counts))
    return pd.DataFrame(
        {"file_paths": [f"{row}.png" for row in order], "target_names": target_names},
        index=[f"row {row}" for row in order],
    ).assign(targets=target_names.codes.astype("int64"))


def counts_by_class(table):
    return table["target_names"].value_counts(sort=False).to_dict()


class TestPartition:
    """The three parts are a partition of the table."""

    @settings(deadline=None, max_examples=40)  # a busy machine is no failure
    @given(class_sizes_drawn, fractions, fractions, st.booleans(), st.integers(0, 2**32))
    def test_disjoint_and_exhaustive(self, class_sizes, validation, test, stratify, seed):
        """Every row is in exactly one part, whatever the sizes."""
        table = table_of({f"class {code}": size for code, size in enumerate(class_sizes)})
        rows = len(table)
        assume(round(validation * rows) + round(test * rows) < rows)
        try:
            split = split_table(
                table,
                validation_size=validation,
                test_size=test,
                stratify=stratify,
                random_state=seed,
            )
        except ValueError as error:
            assume("Every class must have an image" not in str(error))
            assume("must be 0 or give at least one image" not in str(error))
            raise

        parts = [set(part.index) for part in split]
        assert set(table.index) == set.union(*parts)
        assert rows == sum(map(len, parts))
        assert [round(validation * rows), round(test * rows)] == [len(parts[1]), len(parts[2])]

    @settings(deadline=None, max_examples=40)  # a busy machine is no failure
    @given(class_sizes_drawn, st.integers(0, 60), st.integers(0, 60), st.integers(0, 2**32))
    def test_stratified_counts_are_within_one(self, class_sizes, validation, test, seed):
        """Each class's count in each part is within one image of its exact share."""
        table = table_of({f"class {code}": size for code, size in enumerate(class_sizes)})
        rows = len(table)
        assume(validation + test < rows)
        try:
            split = split_table(
                table, validation_size=validation, test_size=test, random_state=seed
            )
        except ValueError as error:
            assume("Every class must have an image" not in str(error))
            assume("must be 0 or give at least one image" not in str(error))
            raise

        for part, size in zip(split, (rows - validation - test, validation, test), strict=True):
            for name, count in counts_by_class(part).items():
                share = Fraction(counts_by_class(table)[name] * size, rows)
                assert size == len(part)
                assert abs(count - share) <= 1

    def test_rows_keep_order_and_index(self):
        """Rows of a part stand in the table's order, unchanged."""
        table = table_of({"a": 30, "b": 20})

        split = split_table(table, random_state=0)

        for part in split:
            pd.testing.assert_frame_equal(table[table.index.isin(part.index)], part)

    def test_classes_are_kept(self):
        """Every part knows all classes, in the table's order, not the alphabet's."""
        table = table_of({"z": 20, "a": 20, "m": 20})

        split = split_table(table, random_state=0)

        assert [["z", "a", "m"]] * 3 == [
            list(part["target_names"].cat.categories) for part in split
        ]

    def test_further_columns_are_kept(self):
        """Additional columns are kept."""
        table = table_of({"a": 10}).assign(patient=range(10))

        split = split_table(table, random_state=0)

        assert set(range(10)) == {patient for part in split for patient in part["patient"]}

    def test_repeated_index_is_no_obstacle(self):
        """Rows are told apart by place, not by index."""
        table = table_of({"a": 10}).set_axis([0] * 10)

        split = split_table(table, random_state=0)

        assert set(table["file_paths"]) == {path for part in split for path in part["file_paths"]}

    def test_class_without_images_is_no_obstacle(self):
        """A category that no row has needs no image in any part."""
        table = table_of({"a": 10, "unseen": 0})

        split = split_table(table, random_state=0)

        assert [6, 2, 2] == [len(part) for part in split]

    def test_default_sizes(self):
        """By default, a fifth is for validation and a fifth for test."""
        split = split_table(table_of({"a": 50, "b": 50}), random_state=0)

        assert isinstance(split, Split)
        assert [60, 20, 20] == [len(part) for part in split]

    def test_counts_and_fractions_agree(self):
        """A fraction is the same as the count it stands for."""
        table = table_of({"a": 50, "b": 50})

        by_fraction = split_table(table, validation_size=0.1, test_size=0.3, random_state=5)
        by_count = split_table(table, validation_size=10, test_size=30, random_state=5)

        for one, other in zip(by_fraction, by_count, strict=True):
            pd.testing.assert_frame_equal(one, other)

    @pytest.mark.parametrize("nothing", [0, 0.0])
    def test_size_may_be_zero(self, nothing):
        """A part of size 0 is an empty table of the same columns."""
        table = table_of({"a": 8, "b": 2})

        split = split_table(table, validation_size=0.5, test_size=nothing, random_state=0)

        assert [5, 5, 0] == [len(part) for part in split]
        assert list(table.columns) == list(split.test.columns)

    def test_unlabelled_table_without_stratifying(self):
        """Without stratifying no labels are needed."""
        table = pd.DataFrame({"file_paths": [f"{row}.png" for row in range(10)]})

        split = split_table(table, stratify=False, random_state=0)

        assert [6, 2, 2] == [len(part) for part in split]

    def test_rare_class_stands_in_every_part(self):
        """A class of 6 in 86 has images in every part, for every seed."""
        table = table_of({"a": 60, "b": 20, "rare": 6})

        for seed in range(50):
            split = split_table(table, random_state=seed)
            assert all(counts_by_class(part)["rare"] >= 1 for part in split)


class TestRandomState:
    """A seed decides the split."""

    def test_same_seed_same_split(self):
        """The same seed gives the same parts."""
        table = table_of({"a": 30, "b": 20})

        first, second = (split_table(table, random_state=7) for _ in range(2))

        for one, other in zip(first, second, strict=True):
            pd.testing.assert_frame_equal(one, other)

    def test_other_seed_other_split(self):
        """Another seed gives other parts."""
        table = table_of({"a": 30, "b": 20})

        first, second = (split_table(table, random_state=seed) for seed in (0, 1))

        assert set(first.test.index) != set(second.test.index)

    def test_generator_is_drawn_from(self):
        """A generator gives what its seed gives, and another split the next time."""
        table = table_of({"a": 30, "b": 20})
        generator = np.random.default_rng(7)

        first, second = (split_table(table, random_state=generator) for _ in range(2))

        assert list(split_table(table, random_state=7).test.index) == list(first.test.index)
        assert list(first.test.index) != list(second.test.index)

    def test_global_random_state_is_untouched(self):
        """Neither NumPy's global state nor the outcome of a split depends on the other."""
        before = np.random.get_state()[1].tolist()  # noqa: NPY002

        split_table(table_of({"a": 10}))

        assert before == np.random.get_state()[1].tolist()  # noqa: NPY002

    def test_every_image_can_come_into_the_test_part(self):
        """Over many seeds each row is drawn about equally often."""
        table = table_of({"a": 10, "b": 10})
        drawn = pd.Series(0, index=table.index)
        for seed in range(300):
            drawn[split_table(table, random_state=seed).test.index] += 1

        # 300 draws at 0.2: mean 60, deviation 6.9.
        assert drawn.between(25, 95).all()


class TestArrays:
    """split_arrays does the same for arrays."""

    def test_images_stay_with_their_targets(self, rng):
        """In every part, images keep their targets."""
        targets = rng.integers(0, 3, 90)
        images = np.arange(90)[:, None, None, None] * np.ones((1, 2, 2, 1), dtype=int)

        split = split_arrays(images, targets, random_state=0)

        assert list(range(90)) == sorted(row for part, _ in split for row in part[:, 0, 0, 0])
        for part, part_targets in split:
            np.testing.assert_array_equal(targets[part[:, 0, 0, 0]], part_targets)

    def test_agrees_with_split_table(self):
        """Arrays are split like a table in the order of its paths."""
        table = table_of({"a": 30, "b": 20}).sort_values("file_paths")
        rows = np.arange(50)

        tables = split_table(table, random_state=3)
        arrays = split_arrays(rows, table["targets"], random_state=3)

        for part, (part_rows, _) in zip(tables, arrays, strict=True):
            assert list(part.index) == list(table.index[part_rows])

    def test_one_hot_targets(self):
        """One-hot rows are stratified by their class and stay one-hot."""
        classes = np.repeat([0, 1, 2], [30, 20, 10])
        one_hot = np.eye(3)[classes]

        split = split_arrays(np.arange(60), one_hot, random_state=0)

        assert [[18, 12, 6], [6, 4, 2], [6, 4, 2]] == [
            targets.sum(axis=0).tolist() for _, targets in split
        ]

    def test_column_of_targets(self):
        """A column of class numbers, as Keras's CIFAR-10 has it, is stratified by class."""
        classes = np.repeat([0, 1], [90, 10])[:, None]

        split = split_arrays(np.arange(100), classes, random_state=0)

        assert [[54, 6], [18, 2], [18, 2]] == [
            np.bincount(targets.ravel()).tolist() for _, targets in split
        ]

    def test_names_as_targets(self):
        """Class names do as well as numbers."""
        names = np.repeat(["cat", "dog"], [60, 40])

        split = split_arrays(np.arange(100), names, random_state=0)

        assert [36, 12, 12] == [int((targets == "cat").sum()) for _, targets in split]

    def test_lists_are_taken(self):
        """Anything that NumPy can make an array of is taken."""
        split = split_arrays(list(range(10)), [0] * 10, random_state=0)

        assert [6, 2, 2] == [len(images) for images, _ in split]

    def test_without_stratifying(self):
        """The same rows as of a table; a class with one image is no obstacle."""
        targets = np.repeat([0, 1], [60, 1])
        table = table_of({"a": 60, "rare": 1}).sort_values("file_paths")

        arrays = split_arrays(np.arange(61), targets, stratify=False, random_state=5)

        tables = split_table(table, stratify=False, random_state=5)
        for part, (rows, _) in zip(tables, arrays, strict=True):
            assert list(part.index) == list(table.index[rows])

    def test_lengths_that_differ(self):
        """As many targets as images are needed."""
        text = (
            r"^`images` and `targets` must have the same length\. "
            r"Received: 4 images and 3 targets\.$"
        )

        with pytest.raises(ValueError, match=text):
            split_arrays(np.zeros((4, 2, 2, 3)), [0, 1, 0])


class TestErrors:
    """Impossible splits are refused with the rule, the received value, and advice."""

    def test_class_too_small(self):
        """A class that can't stand in every part is named, with its count."""
        text = (
            r"^Every class must have an image in every part\. Received: 2 image\(s\) of 'rare' "
            r"for parts of 37, 13, 12 images\. Add images, leave the class out, change the sizes, "
            r"or pass stratify=False\.$"
        )

        with pytest.raises(ValueError, match=text):
            split_table(
                table_of({"a": 60, "rare": 2}), validation_size=13, test_size=12, random_state=0
            )

    @pytest.mark.parametrize("name", ["validation_size", "test_size"])
    def test_fraction_of_an_image(self, name):
        """A fraction gives an image, or is 0; 0.2 of five is one."""
        text = rf"^`{name}` must be 0 or give at least one image\. Received: 0\.1 of 4 images\.$"
        sizes = {"validation_size": 0, "test_size": 0}

        split = split_table(table_of({"a": 5}), **sizes | {name: 0.2}, random_state=0)
        assert [4, 1] == sorted((len(part) for part in split if len(part)), reverse=True)
        with pytest.raises(ValueError, match=text):
            split_table(table_of({"a": 4}), **sizes | {name: 0.1})

    def test_part_too_small(self):
        """A part of one image can't hold one of each of two classes."""
        with pytest.raises(ValueError, match=r"60 image\(s\) of 'a' for parts of 119, 0, 1 images"):
            split_table(table_of({"a": 60, "b": 60}), validation_size=0, test_size=1)

    def test_class_too_small_in_arrays(self):
        """For arrays the class is named by its number."""
        targets = np.repeat([0, 1], [60, 1])

        with pytest.raises(ValueError, match=r"Received: 1 image\(s\) of 1 for parts of"):
            split_arrays(np.zeros(61), targets)

    def test_small_class_without_stratifying(self):
        """stratify=False takes any class."""
        table = table_of({"a": 60, "rare": 1})

        split = split_table(table, stratify=False, random_state=0)

        assert 61 == sum(map(len, split))

    @pytest.mark.parametrize("name", ["validation_size", "test_size"])
    @pytest.mark.parametrize("size", [-0.1, 1.0, 1.5, 20.0, math.nan, math.inf])
    def test_fraction_out_of_range(self, name, size):
        """A fraction lies between 0 and 1."""
        text = (
            rf"^`{name}` must be a fraction below 1 or a whole number\. "
            rf"Received: {name}={size!r}\.$"
        )

        with pytest.raises(ValueError, match=text):
            split_table(table_of({"a": 40}), **{name: size})

    @pytest.mark.parametrize("name", ["validation_size", "test_size"])
    @pytest.mark.parametrize("size", [-1, True])
    def test_count_out_of_range(self, name, size):
        """A count is a whole number, not negative and not a truth value."""
        text = rf"^`{name}` must be a whole number of at least 0\. Received: {name}={size!r}\.$"

        with pytest.raises(ValueError, match=text):
            split_table(table_of({"a": 40}), **{name: size})

    @pytest.mark.parametrize("size", ["0.2", None])
    def test_size_of_another_type(self, size):
        """A size that is no number is refused by its name."""
        with pytest.raises((TypeError, ValueError), match=r"^`test_size` must be .*Received: "):
            split_table(table_of({"a": 40}), test_size=size)

    @pytest.mark.parametrize(("validation", "test"), [(0.5, 0.5), (6, 4), (8, 8), (0.2, 9)])
    def test_nothing_left_to_train_on(self, validation, test):
        """Validation and test can't take everything."""
        text = (
            r"^`validation_size` and `test_size` must leave images to train on\. "
            rf"Received: {validation} and {test} of 10 images\.$"
        )

        with pytest.raises(ValueError, match=text):
            split_table(table_of({"a": 10}), validation_size=validation, test_size=test)

    def test_one_left_to_train_on(self):
        """One training image is enough."""
        split = split_table(table_of({"a": 3}), validation_size=1, test_size=1)

        assert [1, 1, 1] == list(map(len, split))

    def test_unlabelled_table(self):
        """Stratifying needs labels, and the error says so."""
        table = pd.DataFrame({"file_paths": [f"{row}.png" for row in range(10)]})
        text = r"^`table` must be a DataFrame with the columns .*target_names.*Received: "

        with pytest.raises(ValueError, match=text):
            split_table(table)

    def test_no_table(self):
        """Anything but a table is refused, with its type."""
        with pytest.raises(ValueError, match=r"^`table` must be a DataFrame .*Received: list"):
            split_table(["a.png", "b.png"])
