"""split_table and split_arrays with groups: whole groups, nearly the wanted counts."""

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_images
from sklearn.model_selection import GroupShuffleSplit

from cnnkit.data import split_arrays, split_table
from cnnkit.data._splits.shares import class_counts

PARTS = ("train", "validation", "test")
WARNING = re.compile(
    r"^Whole groups can't give the sizes exactly\. The largest deviation: (\w+) has (\d+) images"
    r"(?: of '(.*)')? instead of (\d+)\.$"
)
# For each group how many images it has of each of three classes.
drawn_groups = st.lists(st.lists(st.integers(0, 6), min_size=3, max_size=3), max_size=40)
sizes = st.floats(0, 0.4)
quiet = pytest.mark.filterwarnings("ignore:Whole groups can't give the sizes exactly")


def table_of(groups):
    """A labelled table of groups, given how many images each has of each class, mixed."""
    rows = [
        (name, group)
        for group, counts in enumerate(groups)
        for name, count in zip("abc", counts, strict=False)
        for _ in range(count)
    ]
    order = np.random.default_rng(5).permutation(len(rows))
    names = pd.Categorical([rows[row][0] for row in order])
    return pd.DataFrame(
        {
            "file_paths": [f"{row}.png" for row in order],
            "target_names": names,
            "targets": names.codes.astype("int64"),
            "patient": [f"patient {rows[row][1]}" for row in order],
        }
    )


def split_and_warning(table, validation, test, **options):
    """Return a split and its warnings; reject the example if a class can't be in every part."""
    sized = {"validation_size": validation, "test_size": test}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            split = split_table(table, groups="patient", **sized, **options)
        except ValueError as error:
            assume("must have an image" not in str(error))
            assume("must be 0 or give at least one image" not in str(error))
            assume("must leave images to train on" not in str(error))
            raise
    assert len(caught) <= 1
    return split, [str(warning.message) for warning in caught]


def counts_of(split, stratify=True):
    """Return the counts of each class in each part: `(classes, parts)`."""
    if not stratify:
        return np.array([[len(part) for part in split]])
    return np.array([part["target_names"].value_counts(sort=False) for part in split]).T


def wanted_of(table, validation, test, stratify=True):
    """Return what `counts_of` should be."""
    rows = len(table)
    parts = [round(validation * rows), round(test * rows)]
    class_sizes = table["target_names"].value_counts(sort=False) if stratify else [rows]
    return class_counts(np.array(class_sizes), np.array([rows - sum(parts), *parts]))


def files_of(split):
    return [set(part["file_paths"]) for part in split]


class TestWholeGroups:
    """Groups are never separated, and every image goes somewhere."""

    @settings(deadline=None, max_examples=40)  # a busy machine is no failure
    @given(drawn_groups, sizes, sizes, st.booleans(), st.integers(0, 2**32))
    def test_disjoint_and_exhaustive(self, groups, validation, test, stratify, seed):
        """Every row is in exactly one part, in the order of the table."""
        table = table_of(groups)
        split, _ = split_and_warning(table, validation, test, stratify=stratify, random_state=seed)

        assert len(table) == sum(map(len, split))
        for part in split:
            pd.testing.assert_frame_equal(table[table.index.isin(part.index)], part)

    @settings(deadline=None, max_examples=40)  # a busy machine is no failure
    @given(drawn_groups, sizes, sizes, st.booleans(), st.integers(0, 2**32))
    def test_no_group_is_separated(self, groups, validation, test, stratify, seed):
        """A group stands in one part only."""
        split, _ = split_and_warning(
            table_of(groups), validation, test, stratify=stratify, random_state=seed
        )

        patients = [set(part["patient"]) for part in split]
        assert len(set.union(*patients)) == sum(map(len, patients))

    @settings(deadline=None, max_examples=40)  # a busy machine is no failure
    @given(drawn_groups, sizes, sizes, st.booleans(), st.integers(0, 2**32))
    def test_wanted_parts_are_not_empty(self, groups, validation, test, stratify, seed):
        """A part of size 0 is empty, and every other part has images (of every class)."""
        table = table_of(groups)
        split, _ = split_and_warning(table, validation, test, stratify=stratify, random_state=seed)

        wanted = wanted_of(table, validation, test, stratify)
        present = counts_of(split, stratify) > 0
        np.testing.assert_array_equal(wanted.sum(axis=0) > 0, present.any(axis=0))
        np.testing.assert_array_equal(present.any(axis=0), present.all(axis=0))

    @pytest.mark.parametrize(("validation", "test", "empty"), [(0, 0.5, 1), (0.5, 0, 2)])
    def test_size_zero(self, validation, test, empty):
        """A part of size 0 stays empty, whatever the groups."""
        for seed in range(20):
            split = split_table(
                table_of([[2, 1]] * 10),
                validation_size=validation,
                test_size=test,
                groups="patient",
                random_state=seed,
            )
            assert [empty] == [place for place, part in enumerate(split) if part.empty]


class TestCounts:
    """The counts equal those of a split without groups, or are close, with a warning."""

    @settings(deadline=None, max_examples=40)  # a busy machine is no failure
    @given(drawn_groups, sizes, sizes, st.booleans(), st.integers(0, 2**32))
    def test_warning(self, groups, validation, test, stratify, seed):
        """The warning names the largest deviation, if it is more than one image."""
        table = table_of(groups)
        split, told = split_and_warning(
            table, validation, test, stratify=stratify, random_state=seed
        )

        actual = counts_of(split, stratify)
        wanted = wanted_of(table, validation, test, stratify)
        furthest = np.abs(actual - wanted).max()
        assert (furthest > 1) == bool(told)
        if told:
            part, has, name, wants = WARNING.match(told[0]).groups()
            several = stratify and table["target_names"].nunique() > 1
            row = list(table["target_names"].cat.categories).index(name) if several else 0
            place = row, PARTS.index(part)
            assert (actual[place], wanted[place]) == (int(has), int(wants))
            assert furthest == abs(int(has) - int(wants))

    @pytest.mark.parametrize(
        ("groups", "named"), [([[9, 0], [0, 9]] * 3, True), ([[9]] * 3, False)]
    )
    def test_class_of_the_furthest(self, groups, named):
        """The warning names the class if there are several."""
        _, told = split_and_warning(table_of(groups), 0.2, 0.2, random_state=0)

        assert named == (WARNING.match(told[0])[3] is not None)

    @settings(deadline=None, max_examples=40)  # a busy machine is no failure
    @given(st.lists(st.integers(0, 2), min_size=10, max_size=80), st.integers(0, 2**32))
    def test_groups_of_one_image(self, classes, seed):
        """Groups of one image each give exactly the counts of a split without groups."""
        table = table_of([np.eye(3, dtype=int)[code] for code in classes])
        split, told = split_and_warning(table, 0.25, 0.2, random_state=seed)

        np.testing.assert_array_equal(wanted_of(table, 0.25, 0.2), counts_of(split))
        assert [] == told

    def test_large_groups_among_small_ones(self):
        """Where single images can fill the gaps, the counts are exact."""
        table = table_of([*[[9, 0]] * 6, *[[0, 7]] * 6, *[[1, 0], [0, 1]] * 10])

        for seed in range(10):
            split, told = split_and_warning(table, 0.2, 0.2, random_state=seed)
            np.testing.assert_array_equal(wanted_of(table, 0.2, 0.2), counts_of(split))
            assert [] == told

    @pytest.mark.parametrize("mixed", [False, True], ids=["one class each", "all classes"])
    @pytest.mark.parametrize("seed", range(4))
    @quiet
    def test_nearer_than_chance(self, mixed, seed):
        """No 20 random assignments of patients come nearer to the wanted counts."""
        generator = np.random.default_rng(seed)
        sizes = generator.geometric(0.15, 60)
        classes = generator.choice(3, 60, p=[0.6, 0.3, 0.1])
        shares = [[0.6, 0.3, 0.1]] * 60 if mixed else np.eye(3)[classes]
        table = table_of(
            [generator.multinomial(*group) for group in zip(sizes, shares, strict=True)]
        )
        wanted = wanted_of(table, 0.2, 0.2)

        split = split_table(table, groups="patient", random_state=seed)

        assert off(counts_of(split), wanted) <= min(
            off(counts, wanted) for counts in random_assignments(table, seed)
        )

    @pytest.mark.parametrize("seed", range(6))
    @quiet
    def test_groups_of_one_size(self, seed):
        """Where no group is larger than the others, several orders are tried."""
        generator = np.random.default_rng(seed)
        table = table_of([generator.multinomial(8, [0.5, 0.3, 0.2]) for _ in range(20)])
        wanted = wanted_of(table, 0.2, 0.2)

        split = split_table(table, groups="patient", random_state=seed)

        assert off(counts_of(split), wanted) <= min(
            off(counts, wanted) for counts in random_assignments(table, seed)
        )

    @quiet
    @pytest.mark.parametrize("rare", [[4, 2, 2], [8, 1, 1], [5, 5, 5]])
    def test_as_many_groups_as_parts(self, rare):
        """Three groups of a rare class go to three parts, for every seed."""
        table = table_of([*[[6, 0]] * 20, *([0, count] for count in rare)])

        for seed in range(8):
            split = split_table(table, groups="patient", random_state=seed)
            assert (counts_of(split) > 0).all()

    @quiet
    def test_three_equal_groups(self):
        """Three groups go to three parts, also without classes."""
        split = split_table(table_of([[5]] * 3), stratify=False, groups="patient", random_state=0)

        assert [5, 5, 5] == [len(part) for part in split]

    @quiet
    def test_rare_class_stands_in_every_part(self):
        """Four groups of a rare class go to three parts, for every seed."""
        table = table_of([*[[6, 0]] * 20, [0, 4], [0, 3], [0, 2], [0, 2]])

        for seed in range(8):
            split = split_table(table, groups="patient", random_state=seed)
            assert (counts_of(split) > 0).all()


def off(counts, wanted):
    return int(np.square(counts - wanted).sum())


def random_assignments(table, seed):
    """Yield the counts of 20 random splits in whole groups, as scikit-learn makes them."""
    groups = table["patient"]
    outer = GroupShuffleSplit(20, test_size=0.2, random_state=seed)
    for rest, test in outer.split(table, groups=groups):
        inner = GroupShuffleSplit(1, test_size=0.25, random_state=seed)
        train, validation = next(inner.split(rest, groups=groups.iloc[rest]))
        parts = (rest[train], rest[validation], test)
        yield counts_of([table.iloc[rows] for rows in parts])


class TestRandomState:
    """A seed decides the split, whatever the order of the rows."""

    @settings(deadline=None, max_examples=40)  # a busy machine is no failure
    @given(drawn_groups, st.booleans(), st.booleans(), st.integers(0, 2**32))
    def test_order_of_rows(self, groups, stratify, grouped, seed):
        """A shuffled table is split into the same files."""
        table = table_of(groups)
        if not grouped:
            table = table.assign(patient=table["file_paths"])
        order = np.random.default_rng(seed).permutation(len(table))

        (first, told), (second, told_again) = (
            split_and_warning(rows, 0.2, 0.2, stratify=stratify, random_state=seed)
            for rows in (table, table.iloc[order])
        )

        assert told == told_again
        assert files_of(first) == files_of(second)

    @pytest.mark.parametrize("stratify", [True, False])
    def test_order_of_rows_without_groups(self, stratify):
        """Without groups, too, a shuffled table is split into the same files."""
        table = table_of([[30, 20, 10]])
        shuffled = table.sample(frac=1, random_state=1)

        first, second = (
            split_table(rows, stratify=stratify, random_state=3) for rows in (table, shuffled)
        )

        assert files_of(first) == files_of(second)

    def test_other_seed_other_split(self):
        """Another seed gives other parts."""
        table = table_of([[2, 2]] * 20)

        first, second = (split_table(table, groups="patient", random_state=seed) for seed in (0, 1))

        assert files_of(first) != files_of(second)

    @quiet
    def test_names_of_groups_do_not_matter(self):
        """Groups are told apart, no more: numbers do as well as names."""
        table = table_of([[3, 1], [1, 2]] * 12)
        numbered = table.assign(patient=table["patient"].str.removeprefix("patient ").astype(int))

        first, second = (
            split_table(rows, groups="patient", random_state=3) for rows in (table, numbered)
        )

        assert files_of(first) == files_of(second)


class TestCopies:
    """Copies can serve as groups."""

    @pytest.fixture
    def folder_table(self, tmp_path):
        """Ten pictures, each three times: twice the same bytes and once of half the size."""
        photo = Image.fromarray(load_sample_images().images[0])
        for number in range(10):
            x, y = 96 * (number % 5), 192 + 96 * (number // 5)
            tile = photo.crop((x, y, x + 96, y + 96))
            for name in ("one", "two"):
                tile.save(tmp_path / f"{number} {name}.png")
            tile.resize((48, 48)).save(tmp_path / f"{number} small.png")
        return pd.DataFrame({"file_paths": sorted(map(str, tmp_path.iterdir()))})

    @staticmethod
    def parts_of_pictures(split):
        """Return for each picture the parts that its copies stand in, by their names."""
        places = {}
        for part, table in zip(PARTS, split, strict=True):
            for path in table["file_paths"]:
                number, _, name = Path(path).stem.partition(" ")
                places.setdefault(number, {})[name] = part
        return places.values()

    @quiet
    def test_duplicates(self, folder_table):
        """groups="duplicates" keeps identical files together, and lets others go."""
        split = split_table(
            folder_table, stratify=False, groups="duplicates", random_state=0, progress=False
        )

        places = self.parts_of_pictures(split)
        assert all(parts["one"] == parts["two"] for parts in places)
        assert any(parts["one"] != parts["small"] for parts in places)

    @quiet
    def test_near_duplicates(self, folder_table):
        """groups="near-duplicates" keeps what looks alike together."""
        split = split_table(
            folder_table, stratify=False, groups="near-duplicates", random_state=0, progress=False
        )

        assert [1] * 10 == [len(set(parts.values())) for parts in self.parts_of_pictures(split)]

    @pytest.mark.parametrize("name", ["duplicates", "near-duplicates"])
    def test_column_of_that_name(self, name):
        """A column named like a kind of copies is used as a column; the files need not exist."""
        table = table_of([[2, 2]] * 20).rename(columns={"patient": name})

        split = split_table(table, groups=name, random_state=0)

        groups = [set(part[name]) for part in split]
        assert 20 == sum(map(len, groups))

    def test_progress(self, folder_table, capfd):
        """A bar is shown while images are compared, or nothing at all."""
        options = {"stratify": False, "groups": "near-duplicates", "random_state": 0}

        split_table(folder_table, **options)
        shown = capfd.readouterr()
        split_table(folder_table, progress=False, **options)

        assert "comparing images: 100%" in shown.err
        assert ("", "") == tuple(capfd.readouterr())


class TestArrays:
    """split_arrays takes a value for each image."""

    @quiet
    def test_agrees_with_split_table(self):
        """Arrays are split like a table in the order of its paths."""
        table = table_of([[3, 1], [1, 2]] * 12).sort_values("file_paths", ignore_index=True)

        tables = split_table(table, groups="patient", random_state=3)
        arrays = split_arrays(
            np.arange(len(table)), table["targets"], groups=table["patient"], random_state=3
        )

        for part, (rows, _) in zip(tables, arrays, strict=True):
            assert list(part.index) == rows.tolist()

    @pytest.mark.parametrize(
        ("groups", "received"),
        [
            ([1, 2, 3], r"the shape \(3,\)"),
            ([[1], [2], [3], [4]], r"the shape \(4, 1\)"),
            (7, r"the shape \(\)"),
            ([1, 2, np.nan, np.nan], "2 missing values"),
            (["a", "b", "c", None], "1 missing values"),
        ],
    )
    def test_groups_of_another_form(self, groups, received):
        """One value for each image is needed."""
        text = rf"^Groups need one value for each of 4 images\. Received: groups with {received}\.$"

        with pytest.raises(ValueError, match=text):
            split_arrays(np.zeros(4), [0, 0, 0, 0], groups=groups)


class TestErrors:
    """Splits that are impossible in whole groups are refused with the received value."""

    def test_class_in_too_few_groups(self):
        """A class that stands in fewer groups than parts is named."""
        table = table_of([*[[5, 0]] * 10, [0, 9], [0, 8]])
        text = (
            r"^Every class must have an image in every part\. Received: 17 image\(s\), in whole "
            r"groups, of 'b' for parts of 41, 13, 13 images\. "
        )

        with pytest.raises(ValueError, match=text):
            split_table(table, groups="patient", random_state=0)

    def test_too_few_groups_without_stratifying(self):
        """Two groups can't fill three parts."""
        with pytest.raises(ValueError, match="in whole groups"):
            split_table(table_of([[5], [5]]), stratify=False, groups="patient", random_state=0)

    def test_missing_column(self):
        """A missing column is refused; the message lists the existing columns."""
        text = (
            r"^`groups` must name a column or a kind of copies: .*patient.*duplicates.*"
            r"near-duplicates.*\. Received: groups='patients'\.$"
        )

        with pytest.raises(ValueError, match=text):
            split_table(table_of([[5, 5]] * 4), groups="patients")

    @pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT])
    def test_missing_values(self, missing):
        """Missing group values are refused, with their number."""
        table = table_of([[5, 5]] * 4)
        table["patient"] = table["patient"].astype(object)
        table.loc[[3, 7], "patient"] = missing
        text = (
            r"^Groups need one value for each of 40 images\. Received: the column 'patient' with 2 "
            r"missing values\.$"
        )

        with pytest.raises(ValueError, match=text):
            split_table(table, groups="patient")
