"""find_label_errors: rows whose label another class beats, the least probable label first."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import cross_val_predict

from cnnkit.data import find_label_errors

CAT, DOG = [0.9, 0.1], [0.2, 0.8]


def table_of(names, class_names=None):
    target_names = pd.Categorical(names, categories=class_names)
    paths = [f"{row}.png" for row in range(len(names))]
    return pd.DataFrame({"file_paths": paths, "target_names": target_names}).assign(
        targets=target_names.codes.astype("int64")
    )


@pytest.fixture
def table():
    """Two cats and two dogs."""
    return table_of(["cat", "dog", "cat", "dog"])


class TestRule:
    """A row is found if another class is more probable than its label."""

    def test_contradicted_rows(self, table):
        """A cat that looks like a dog is found, and a dog that looks like a cat."""
        errors = find_label_errors(table, [CAT, CAT, DOG, DOG])

        assert [1, 2] == errors.index.tolist()
        assert ["cat", "dog"] == errors["suggested_names"].tolist()

    def test_agreement(self, table):
        """Where all agree, the table is empty, with all columns."""
        errors = find_label_errors(table, [CAT, DOG, CAT, DOG])

        columns = ["label_probability", "suggested_names", "suggested_probability"]
        assert 0 == len(errors)
        assert [*table.columns, *columns] == list(errors.columns)

    def test_ties_are_no_contradiction(self, table):
        """A label that is as probable as the best other class stands."""
        errors = find_label_errors(table, [[0.5, 0.5]] * 4)

        assert 0 == len(errors)

    def test_unlikely_label_that_is_the_likeliest(self):
        """A label far below a half is no error while every other class is less likely still."""
        table = table_of(["a"], ["a", "b", "c"])

        assert 0 == len(find_label_errors(table, [[0.36, 0.32, 0.32]]))

    def test_tie_of_suggestions(self):
        """Of two equally probable suggestions, the first class is named."""
        errors = find_label_errors(table_of(["c"], ["a", "b", "c"]), [[0.4, 0.4, 0.2]])

        assert ["a"] == errors["suggested_names"].tolist()

    def test_numbers(self, table):
        """The probabilities are those of the label and of the suggestion."""
        errors = find_label_errors(table, [CAT, CAT, DOG, DOG])

        assert [0.1, 0.2] == errors["label_probability"].tolist()
        assert [0.9, 0.8] == errors["suggested_probability"].tolist()

    def test_class_without_images(self):
        """A class that no row has may be suggested."""
        errors = find_label_errors(table_of(["b", "b"], ["a", "b"]), [[0.7, 0.3], [0.1, 0.9]])

        assert ["a"] == errors["suggested_names"].tolist()

    @settings(deadline=None, max_examples=50)  # a busy machine is no failure
    @given(st.integers(0, 30), st.integers(2, 6), st.integers(0, 2**32), st.booleans())
    def test_equals_brute_force(self, rows, classes, seed, coarse):
        """The result equals that of a loop in plain Python, also with ties."""
        rng = np.random.default_rng(seed)
        shares = (
            rng.integers(0, 3, (rows, classes)) + 1e-9 if coarse else rng.random((rows, classes))
        )
        shares = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
        class_names = [f"class {code}" for code in range(classes)]
        names = rng.choice(class_names, rows).tolist()
        table = table_of(names, class_names)

        errors = find_label_errors(table, shares)

        expected = []
        for row, probabilities in enumerate(shares.astype(np.float64).tolist()):
            own, best = probabilities[class_names.index(names[row])], max(probabilities)
            if best > own:
                expected.append((own, row, class_names[probabilities.index(best)], best))
        columns = ["label_probability", "suggested_names", "suggested_probability"]
        found = errors.reset_index()[[columns[0], "index", *columns[1:]]]
        assert sorted(expected) == list(found.itertuples(index=False, name=None))


class TestTable:
    """The result has rows of the table and additional columns."""

    def test_order(self, table):
        """The least probable label comes first."""
        shares = [[0.3, 0.7], [0.95, 0.05], [0.1, 0.9], [0.6, 0.4]]

        errors = find_label_errors(table, shares)

        assert [1, 2, 0, 3] == errors.index.tolist()

    def test_equals_keep_their_order(self):
        """Rows with equal probabilities keep the order of the table."""
        errors = find_label_errors(table_of(["cat", "dog"] * 50), [CAT, CAT[::-1]][::-1] * 50)

        assert list(range(100)) == errors.index.tolist()

    def test_index_and_further_columns(self, table):
        """Index and columns of the table are kept, repeated index values too."""
        given = table.assign(patient=list("abcd")).set_axis(["x", "y", "y", "x"])

        errors = find_label_errors(given, [CAT, CAT, DOG, DOG])

        pd.testing.assert_frame_equal(given.iloc[[1, 2]], errors[given.columns])
        columns = ["label_probability", "suggested_names", "suggested_probability"]
        assert [*given.columns, *columns] == list(errors.columns)

    def test_filtered_table(self, table):
        """Rows of the probabilities are those of the table, whatever its index says."""
        errors = find_label_errors(table.iloc[[3, 0]], [CAT, CAT])

        assert [3] == errors.index.tolist()

    def test_suggestions_are_of_the_same_classes(self):
        """Suggestions are Categorical, with all classes in the table's order."""
        given = table_of(["z", "a"], ["z", "m", "a"])

        errors = find_label_errors(given, [[0.1, 0.1, 0.8], [0.5, 0.5, 0.0]])

        assert given["target_names"].dtype == errors["suggested_names"].dtype
        assert [False, False] == (errors["suggested_names"] == errors["target_names"]).tolist()

    def test_ordered_classes(self, table):
        """Suggestions of an ordered Categorical can be compared with the labels."""
        names = table["target_names"].cat.as_ordered()
        table = table.assign(target_names=names)
        shares = np.full((len(table), len(names.cat.categories)), 0.0)
        shares[:, 0] = 1

        errors = find_label_errors(table, shares)

        assert names.dtype == errors["suggested_names"].dtype
        assert not (errors["suggested_names"] == errors["target_names"]).any()

    def test_columns_of_a_frame_go_by_their_names(self, table):
        """Columns that bear the classes' names are taken by them, in any order."""
        class_names = list(table["target_names"].cat.categories)
        generator = np.random.default_rng(0)
        shares = generator.dirichlet(np.ones(len(class_names)), len(table))
        expected = find_label_errors(table, shares)
        frame = pd.DataFrame(shares, columns=class_names)[class_names[::-1]]

        actual = find_label_errors(table, frame)

        pd.testing.assert_frame_equal(expected, actual)

    def test_given_table_is_unchanged(self, table):
        """The given table does not change."""
        before = table.copy()

        find_label_errors(table, [CAT, CAT, DOG, DOG])

        pd.testing.assert_frame_equal(before, table)

    @pytest.mark.parametrize(
        "form",
        [
            list,
            np.asarray,
            lambda rows: np.asarray(rows, np.float32),
            lambda rows: pd.DataFrame(rows, columns=["cat", "dog"]),
            lambda rows: pd.DataFrame(rows, columns=["probability_cat", "probability_dog"]),
        ],
        ids=["list", "float64", "float32", "DataFrame", "predictions"],
    )
    def test_forms_of_probabilities(self, table, form):
        """Lists, arrays and DataFrames mean the same."""
        errors = find_label_errors(table, form([CAT, CAT, DOG, DOG]))

        assert [1, 2] == errors.index.tolist()
        np.testing.assert_allclose([0.1, 0.2], errors["label_probability"], rtol=1e-6)

    @pytest.mark.parametrize(
        "frame",
        [
            pd.DataFrame([CAT, CAT, DOG, DOG]),
            pd.DataFrame([CAT, CAT, DOG, DOG], columns=["cat", "wolf"]),
            pd.DataFrame([CAT, CAT, DOG, DOG], columns=["cat", "dog"], index=[3, 2, 1, 0]),
        ],
        ids=["numbers", "other names", "other rows"],
    )
    def test_frames_that_do_not_fit(self, table, frame):
        """Columns and rows of a DataFrame are never taken by their places."""
        with pytest.raises(ValueError, match="must be an array, or a DataFrame with the index"):
            find_label_errors(table, frame)

    def test_empty_table(self, table):
        """A table without rows gives one without rows."""
        assert 0 == len(find_label_errors(table.iloc[:0], np.empty((0, 2))))


class TestArguments:
    """Anything but probabilities of these images is refused."""

    @pytest.mark.parametrize("shape", [(3, 2), (5, 2), (4, 3), (4,), (4, 2, 1), (0, 2), (2, 4)])
    def test_shape(self, table, shape):
        """A row for each image, a column for each class."""
        text = (
            r"^`probabilities` must have the shape \(images, classes\) = \(4, 2\) and .*"
            rf"Received: the shape \({', '.join(map(str, shape))},?\)\."
        )

        with pytest.raises(ValueError, match=text):
            find_label_errors(table, np.full(shape, 0.5))

    def test_one_sigmoid_unit(self, table):
        """One column is refused; the message says how to make two, and that works."""
        share = np.array([[0.1], [0.1], [0.8], [0.8]])

        with pytest.raises(ValueError, match=r"sigmoid unit: np\.column_stack\(\[1 - p, p\]\)\.$"):
            find_label_errors(table, share)

        errors = find_label_errors(table, np.column_stack([1 - share, share]))
        assert [1, 2] == errors.index.tolist()

    @pytest.mark.parametrize("row", [[np.nan, 1], [np.inf, 0], [-0.5, 1.5], [np.nan, np.nan]])
    def test_values(self, table, row):
        """Probabilities are finite and not negative."""
        with pytest.raises(ValueError, match=r"Received: values that are negative or not finite\."):
            find_label_errors(table, [CAT, DOG, CAT, row])

    @pytest.mark.parametrize(
        ("row", "total"), [([0, 0], "0"), ([1, 1], "2"), ([0.5, 0.4], "0.9"), ([3, 98], "101")]
    )
    def test_sums(self, table, row, total):
        """Logits and independent sigmoids do not sum to 1; the worst row's sum is named."""
        with pytest.raises(ValueError, match=rf"sum to 1\. Received: a row that sums to {total}\."):
            find_label_errors(table, [CAT, DOG, [0.5, 0.49], row])

    def test_rounded_sums(self, table):
        """Rounding errors of float16 or of printing are accepted."""
        shares = np.full((4, 2), [0.3335, 0.6661])

        assert 2 == len(find_label_errors(table, shares))

    def test_unlabelled_table(self, table):
        """Without labels there is nothing to contradict."""
        with pytest.raises(ValueError, match="the columns file_paths, target_names, targets"):
            find_label_errors(table[["file_paths"]], [CAT] * 4)

    def test_plain_names(self, table):
        """Names that are not Categorical don't tell the order of the columns."""
        given = table.assign(target_names=table["target_names"].astype(str))

        with pytest.raises(ValueError, match="must have Categorical `target_names`"):
            find_label_errors(given, [CAT] * 4)


@pytest.mark.parametrize("share", [0.05, 0.1])
def test_planted_errors_are_found(share):
    """At least 80% of the top of the list are digits whose labels were changed at random."""
    pixels, targets = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    planted = rng.choice(len(targets), round(share * len(targets)), replace=False)
    targets[planted] = (targets[planted] + rng.integers(1, 10, len(planted))) % 10
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3)  # no iterations
    shares = cross_val_predict(model, pixels, targets, cv=5, method="predict_proba")

    errors = find_label_errors(table_of([str(target) for target in targets]), shares)

    assert len(errors) > len(planted)
    assert np.isin(errors.index[: len(planted)], planted).mean() >= 0.8
