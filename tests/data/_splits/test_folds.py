"""k_fold_tables: every row validates once, in whole groups, with nearly the same classes."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

from cnnkit.data import k_fold_tables

class_sizes_drawn = st.lists(st.integers(5, 30), min_size=1, max_size=5)
# For each group its class and its size.
groups_drawn = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 6)), min_size=6, max_size=40)
seeds = st.integers(0, 2**32 - 1)


def table_of(class_sizes, **columns):
    """A labelled table with so many rows of each class, mixed and oddly indexed."""
    codes = np.repeat(np.arange(len(class_sizes)), class_sizes)
    names = [f"class {code}" for code in range(len(class_sizes))]
    table = pd.DataFrame(
        {
            "file_paths": [f"{row}.png" for row in range(len(codes))],
            "target_names": pd.Categorical.from_codes(codes, names),
            "targets": codes.astype("int64"),
            **columns,
        },
        index=[f"row {row}" for row in range(len(codes))],
    )
    return table.iloc[np.random.default_rng(3).permutation(len(codes))]


def grouped_table(groups):
    """A labelled table of groups of one class each."""
    groups = sorted(groups)
    class_sizes = np.bincount(
        [code for code, _ in groups], weights=[size for _, size in groups], minlength=3
    )
    patients = np.repeat(np.arange(len(groups)), [size for _, size in groups])
    return table_of(class_sizes.astype(int), patient=[f"patient {number}" for number in patients])


def folds_of(table, n_splits, **options):
    """Return the folds; reject the example if there are too few images or groups."""
    try:
        return k_fold_tables(table, n_splits, **options)
    except ValueError as error:
        assume("must have an image in every fold" not in str(error))
        assume("must not be larger than the number" not in str(error))
        raise


def counts_in(folds):
    """Return the counts of each class in each validation part: `(folds, classes)`."""
    return np.array(
        [validation["target_names"].value_counts(sort=False) for _, validation in folds]
    )


def files_of(folds):
    return [set(validation["file_paths"]) for _, validation in folds]


class TestPartition:
    """The validation parts are a partition of the table, each paired with the rest."""

    @settings(deadline=None, max_examples=40)  # a busy machine is no failure
    @given(class_sizes_drawn, st.integers(2, 8), st.booleans(), seeds)
    def test_every_row_validates_once(self, class_sizes, n_splits, stratify, seed):
        """Every row is in exactly one validation part, and the number of folds is `n_splits`."""
        table = table_of(class_sizes)
        folds = folds_of(table, n_splits, stratify=stratify, random_state=seed)

        validated = [row for _, validation in folds for row in validation.index]
        assert n_splits == len(folds)
        assert sorted(table.index) == sorted(validated)

    @settings(deadline=None, max_examples=40)  # a busy machine is no failure
    @given(groups_drawn, st.integers(2, 5), st.booleans(), st.booleans(), seeds)
    def test_train_is_the_rest(self, groups, n_splits, stratify, grouped, seed):
        """Train and validation have every row once, in the table's order, in each fold."""
        table = grouped_table(groups)
        options = {"groups": "patient"} if grouped else {}
        folds = folds_of(table, n_splits, stratify=stratify, random_state=seed, **options)

        for train, validation in folds:
            held_out = table.index.isin(validation.index)
            pd.testing.assert_frame_equal(table[held_out], validation)
            pd.testing.assert_frame_equal(table[~held_out], train)

    def test_default_is_five(self):
        """Without a number there are five folds."""
        assert [(20, 5)] * 5 == [tuple(map(len, fold)) for fold in k_fold_tables(table_of([25]))]

    def test_repeated_index_is_no_obstacle(self):
        """Rows are told apart by place, not by index."""
        folds = k_fold_tables(table_of([20]).set_axis([0] * 20), 4, random_state=0)

        assert [(15, 5)] * 4 == [tuple(map(len, fold)) for fold in folds]

    def test_unlabelled_table(self):
        """Without stratifying no labels are needed, and sizes differ by one at most."""
        table = pd.DataFrame({"file_paths": [f"{row}.png" for row in range(11)]})

        folds = k_fold_tables(table, 3, stratify=False, random_state=0)

        assert [3, 4, 4] == sorted(len(validation) for _, validation in folds)


class TestClasses:
    """Stratified folds have nearly the same classes."""

    @settings(deadline=None, max_examples=40)  # a busy machine is no failure
    @given(class_sizes_drawn, st.integers(2, 5), seeds)
    def test_counts_are_within_one(self, class_sizes, n_splits, seed):
        """A class's counts in any two folds differ by one at most."""
        counts = counts_in(k_fold_tables(table_of(class_sizes), n_splits, random_state=seed))

        assert (np.ptp(counts, axis=0) <= 1).all()

    @settings(deadline=None, max_examples=40)  # a busy machine is no failure
    @given(class_sizes_drawn, st.integers(2, 5), seeds)
    def test_counts_are_those_of_scikit_learn(self, class_sizes, n_splits, seed):
        """The folds have the counts of scikit-learn's StratifiedKFold."""
        table = table_of(class_sizes).sort_values("file_paths")
        codes = table["targets"].to_numpy()

        folds = k_fold_tables(table, n_splits, random_state=seed)

        splitter = StratifiedKFold(n_splits, shuffle=True, random_state=0)
        expected = [
            np.bincount(codes[rows], minlength=len(class_sizes))
            for _, rows in splitter.split(codes, codes)
        ]
        assert np.array(expected).tolist() == counts_in(folds).tolist()

    def test_without_stratifying_chance_decides(self):
        """stratify=False takes a class of one image."""
        folds = k_fold_tables(table_of([30, 1]), stratify=False, random_state=0)

        assert [0, 0, 0, 0, 1] == sorted(counts_in(folds)[:, 1])

    def test_class_without_images_is_no_obstacle(self):
        """A category that no row has needs no image in any fold."""
        folds = k_fold_tables(table_of([10, 0, 5]), 5, random_state=0)

        assert [[2, 0, 1]] * 5 == counts_in(folds).tolist()

    @pytest.mark.parametrize("grouped", [False, True])
    def test_every_class_in_every_fold(self, grouped):
        """A rare class is in all folds, for every seed, also in groups if it has some more."""
        rare = [(1, 1), (1, 3), (1, 2)] * (3 if grouped else 1)
        table = grouped_table([*[(0, 4)] * 12, *rare])
        options = {"groups": "patient"} if grouped else {}

        for seed in range(20):
            folds = k_fold_tables(table, 3, random_state=seed, **options)
            assert (counts_in(folds)[:, :2] > 0).all()


class TestGroups:
    """Groups are never separated."""

    @settings(deadline=None, max_examples=40)  # a busy machine is no failure
    @given(groups_drawn, st.integers(2, 5), st.booleans(), seeds)
    def test_no_group_is_separated(self, groups, n_splits, stratify, seed):
        """No group stands in train and validation of one fold."""
        table = grouped_table(groups)
        folds = folds_of(table, n_splits, stratify=stratify, groups="patient", random_state=seed)

        for train, validation in folds:
            assert set(train["patient"]).isdisjoint(validation["patient"])
            assert len(validation) > 0

    def test_copies(self, make_folder):
        """groups="duplicates" keeps files with the same bytes in one fold."""
        root = make_folder({"cat": 6})
        for path in sorted((root / "cat").iterdir()):
            path.with_stem(f"copy of {path.stem}").write_bytes(path.read_bytes())
        table = pd.DataFrame({"file_paths": sorted(map(str, (root / "cat").iterdir()))})

        folds = k_fold_tables(
            table, 3, stratify=False, groups="duplicates", random_state=0, progress=False
        )

        for files in files_of(folds):
            names = [path.rpartition("/")[2].removeprefix("copy of ") for path in files]
            assert [2] * len(set(names)) == [names.count(name) for name in set(names)]


class TestRandomState:
    """A seed decides the folds, whatever the order of the rows."""

    @settings(deadline=None, max_examples=40)  # a busy machine is no failure
    @given(groups_drawn, st.booleans(), st.booleans(), seeds)
    def test_order_of_rows(self, groups, stratify, grouped, seed):
        """A shuffled table gives the same folds in the same order."""
        table = grouped_table(groups)
        order = np.random.default_rng(seed).permutation(len(table))
        options = {"stratify": stratify, "groups": "patient" if grouped else None}

        first, second = (
            folds_of(rows, 3, random_state=seed, **options) for rows in (table, table.iloc[order])
        )

        assert files_of(first) == files_of(second)

    @pytest.mark.parametrize("groups", [None, "patient"])
    @pytest.mark.parametrize("stratify", [True, False])
    def test_other_seed_other_folds(self, groups, stratify):
        """Another seed gives other folds."""
        table = grouped_table([(0, 2), (1, 2)] * 12)

        first, second = (
            k_fold_tables(table, stratify=stratify, groups=groups, random_state=seed)
            for seed in (0, 1)
        )

        assert files_of(first) != files_of(second)

    def test_generator_is_drawn_from(self):
        """A generator gives the same from the same state, and other folds the next time."""
        table = table_of([30, 20])
        generator = np.random.default_rng(7)

        first, second = (k_fold_tables(table, random_state=generator) for _ in range(2))

        again = k_fold_tables(table, random_state=np.random.default_rng(7))
        assert files_of(again) == files_of(first)
        assert files_of(first) != files_of(second)


class TestErrors:
    """Impossible folds are refused with the rule and the received value."""

    @pytest.mark.parametrize(
        ("options", "what"), [({}, "11 images"), ({"groups": "patient"}, "4 groups")]
    )
    @pytest.mark.parametrize("stratify", [True, False])
    def test_more_folds_than_images(self, options, what, stratify):
        """There can't be more folds than images or groups."""
        table = grouped_table([(0, 2), (0, 3), (1, 3), (1, 3)])
        text = (
            rf"^`n_splits` must not be larger than the number of {what[-6:]}\. "
            rf"Received: n_splits=12 for {what}\.$"
        )

        with pytest.raises(ValueError, match=text):
            k_fold_tables(table, 12, stratify=stratify, **options)

    def test_class_too_small(self):
        """A class of fewer images than folds is named, and scikit-learn doesn't warn."""
        text = (
            r"^Every class must have an image in every fold\. Received: too few images or groups "
            r"of 'class 1' for 5 folds\. Add images, leave the class out, make fewer folds, or "
            r"pass stratify=False\.$"
        )

        with pytest.raises(ValueError, match=text):
            k_fold_tables(table_of([30, 4, 3]))

    def test_class_in_too_few_groups(self):
        """A class of many images in few groups is named."""
        table = grouped_table([*[(0, 2)] * 10, (1, 9), (1, 9)])

        with pytest.raises(ValueError, match=r"too few images or groups of 'class 1' for 3 folds"):
            k_fold_tables(table, 3, groups="patient")

    @pytest.mark.parametrize("n_splits", [True, 1, 0, -1])
    def test_number_out_of_range(self, n_splits):
        """There are at least two folds, and a truth value is no number."""
        text = rf"^`n_splits` must be a whole number of at least 2\. Received: n_splits={n_splits}"

        with pytest.raises(ValueError, match=text):
            k_fold_tables(table_of([10]), n_splits)

    @pytest.mark.parametrize("n_splits", [2.0, "5", None])
    def test_number_of_another_type(self, n_splits):
        """A number of folds is whole."""
        with pytest.raises(TypeError, match=r"^`n_splits` must be a whole number\. Received: "):
            k_fold_tables(table_of([10]), n_splits)

    def test_missing_values(self):
        """Missing group values are refused."""
        table = table_of([10], patient=[1.0, np.nan] * 5)

        with pytest.raises(ValueError, match="the column 'patient' with 5 missing values"):
            k_fold_tables(table, groups="patient")

    def test_unlabelled_table(self):
        """Stratifying needs labels, and the error says so."""
        table = pd.DataFrame({"file_paths": [f"{row}.png" for row in range(10)]})

        with pytest.raises(ValueError, match=r"^`table` must be a DataFrame .*target_names"):
            k_fold_tables(table)
