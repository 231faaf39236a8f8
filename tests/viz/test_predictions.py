"""The plots of predictions, read from matplotlib and compared with scikit-learn."""

from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, confusion_matrix

from cnnkit.viz import plot_confusion_matrix, plot_reliability, show_predictions

NAMES = ["cat", "dog", "fox"]


def predicted(count: int = 200, classes: int = 3, seed: int = 0) -> pd.DataFrame:
    """Return a table in which about two of three predictions are correct."""
    rng = np.random.default_rng(seed)
    names = NAMES if classes == 3 else [f"class {number}" for number in range(classes)]
    true = rng.integers(0, classes, count)
    told = np.where(rng.random(count) < 0.6, true, rng.integers(0, classes, count))
    return pd.DataFrame(
        {
            "target_names": pd.Categorical.from_codes(true, names),
            "predicted_names": pd.Categorical.from_codes(told, names),
            "confidence": rng.uniform(1 / classes, 1, count).astype("float32"),
        }
    )


@pytest.fixture
def table(make_folder) -> pd.DataFrame:
    """Four images: correct at 0.99, wrong at 0.95, wrong at 0.55, correct at 0.62."""
    folder = make_folder({"cat": 4})
    names = pd.Categorical(["cat", "cat", "dog", "dog"], categories=NAMES)
    told = pd.Categorical(["cat", "dog", "fox", "dog"], categories=NAMES)
    return pd.DataFrame(
        {
            "file_paths": [str(path) for path in sorted(folder.rglob("*.png"))],
            "target_names": names,
            "predicted_names": told,
            "confidence": [0.99, 0.95, 0.55, 0.62],
        }
    )


class TestShowPredictions:
    """Images with true and predicted classes."""

    def test_right_and_wrong_are_told_apart_without_color(self, table) -> None:
        """They differ in the sign in the title, and in the width and style of the frame."""
        drawn = show_predictions(table)
        frames = [ax.patches[0] for ax in drawn]

        assert [
            "\u2713 cat 99 %",
            "\u2717 dog 95 %\nis cat",
            "\u2717 fox 55 %\nis dog",
            "\u2713 dog 62 %",
        ] == [ax.get_title() for ax in drawn]
        assert ["-", "--", "--", "-"] == [frame.get_linestyle() for frame in frames]
        widths = [frame.get_linewidth() for frame in frames]
        assert max(widths[0], widths[3]) < min(widths[1:3])
        assert len({to_hex(frame.get_edgecolor()) for frame in frames}) == 2

    def test_the_images_are_those_of_the_files(self, table) -> None:
        """Each panel has the picture of its row."""
        from PIL import Image

        drawn = show_predictions(table, worst=True)
        expected = np.asarray(Image.open(table["file_paths"][1]))

        np.testing.assert_array_equal(expected, drawn[0].images[0].get_array())

    def test_the_worst_mistakes_come_first(self, table) -> None:
        """Wrong ones start with the most confident, correct ones with the least confident."""
        drawn = show_predictions(table, worst=True)

        assert ["dog", "fox", "dog", "cat"] == [ax.get_title().split()[1] for ax in drawn]

    def test_an_unlabelled_table_is_shown_without_truth(self, table) -> None:
        """There is no sign and no frame."""
        drawn = show_predictions(table.drop(columns="target_names"))

        assert "dog 95 %" == drawn[1].get_title()
        assert [] == list(drawn[1].patches)

    def test_the_worst_of_an_unlabelled_table_are_unknown(self, table) -> None:
        """The error says what is missing."""
        with pytest.raises(ValueError, match=r"`table` must be .* of labelled images\. Received: "):
            show_predictions(table.drop(columns="target_names"), worst=True)

    def test_a_large_table_is_cut_and_says_so(self, table, monkeypatch) -> None:
        """To as many images as `show_images` shows; each has its own frame."""
        monkeypatch.setattr("cnnkit.viz._images._MOST", 3)
        drawn = show_predictions(table)

        assert "the first 3 of 4 images" == drawn[0].figure.get_supxlabel()
        assert ["-", "--", "--"] == [ax.patches[0].get_linestyle() for ax in drawn]


class TestConfusionMatrix:
    """Classes against predictions."""

    @pytest.mark.parametrize("normalize", [None, "true", "pred", "all"])
    def test_the_numbers_are_those_of_scikit_learn(self, normalize) -> None:
        """This holds for the colors and the text of the cells."""
        table = predicted()
        (ax,) = plot_confusion_matrix(table, normalize=normalize)
        expected = confusion_matrix(
            table["target_names"], table["predicted_names"], labels=NAMES, normalize=normalize
        )
        form = "{}" if normalize is None else "{:.2f}"

        np.testing.assert_allclose(ax.images[0].get_array(), expected)
        assert [form.format(cell) for cell in expected.ravel()] == [
            text.get_text() for text in ax.texts
        ]

    def test_rows_are_classes_and_columns_predictions(self) -> None:
        """They are in the order of the categories, including those without images."""
        table = predicted()
        table = table[table["target_names"] != "cat"]
        (ax,) = plot_confusion_matrix(table)

        assert NAMES == [label.get_text() for label in ax.get_yticklabels()]
        assert NAMES == [label.get_text() for label in ax.get_xticklabels()]
        assert ("predicted", "class") == (ax.get_xlabel(), ax.get_ylabel())
        assert 0 == ax.images[0].get_array()[0].sum()

    def test_a_class_that_is_only_predicted_has_its_column(self) -> None:
        """A model may know more classes than the table."""
        table = predicted()
        table["target_names"] = pd.Categorical(["cat"] * len(table))
        (ax,) = plot_confusion_matrix(table)

        assert NAMES == [label.get_text() for label in ax.get_xticklabels()]
        assert len(table) == ax.images[0].get_array().sum()

    @pytest.mark.parametrize("classes", [2, 25, 26, 100])
    def test_many_classes_stay_readable(self, classes) -> None:
        """No two labels of an axis overlap; beyond 25 classes colors replace numbers."""
        (ax,) = plot_confusion_matrix(predicted(2000, classes))
        ax.figure.draw_without_rendering()
        boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
        heights = sorted((box.y0, box.y1) for box in boxes)
        sides = sorted(
            (box.x0, box.x1) for box in (x.get_window_extent() for x in ax.get_xticklabels())
        )

        for places in (heights, sides):
            assert all(a[1] <= b[0] + 1 for a, b in pairwise(places))
        assert (classes <= 25) == (len(ax.texts) == classes**2)
        assert (classes > 25) == (len(ax.figure.axes) == 2)

    def test_an_unknown_normalize_is_refused(self) -> None:
        """The options are scikit-learn's."""
        with pytest.raises(ValueError, match=r"`normalize` must be one of None, 'true'"):
            plot_confusion_matrix(predicted(), normalize="rows")

    def test_no_figure_is_left_by_a_refused_call(self) -> None:
        """The table is checked before anything is drawn."""
        with pytest.raises(ValueError, match=r"Received: no column 'predicted_names' or 'confid"):
            plot_confusion_matrix(predicted()[["target_names"]])
        assert [] == plt.get_fignums()


class TestReliability:
    """Accuracy against confidence."""

    @pytest.mark.parametrize("bins", [5, 10, 15])
    @pytest.mark.parametrize("seed", range(3))
    def test_the_curve_is_that_of_scikit_learn(self, bins, seed) -> None:
        """It shows accuracy over confidence in equal bins, without empty bins."""
        table = predicted(seed=seed)
        (ax,) = plot_reliability(table, bins=bins)
        right = table["predicted_names"] == table["target_names"].astype(str)
        accuracy, confidence = calibration_curve(right, table["confidence"], n_bins=bins)
        curve = ax.lines[1].get_data()

        np.testing.assert_allclose(curve[0], confidence, rtol=1e-6)
        np.testing.assert_allclose(curve[1], accuracy)

    def test_the_title_tells_the_expected_calibration_error(self) -> None:
        """Guo et al. 2017, equation 3: the gaps of the bins, by how many images each has."""
        table = predicted().assign(confidence=lambda table: table["confidence"] ** 0.5)
        (ax,) = plot_reliability(table, bins=4)
        right = (table["predicted_names"] == table["target_names"].astype(str)).to_numpy()
        sure = table["confidence"].to_numpy()
        error = 0.0
        for low, high in pairwise([0, 0.25, 0.5, 0.75, 1]):
            inside = (sure > low) & (sure <= high)
            error += abs((right[inside] - sure[inside].astype(float)).sum()) / len(table)

        assert f"expected calibration error {error:.3f}" == ax.get_title()

    def test_in_one_bin_the_error_is_that_of_the_means(self) -> None:
        """It is the difference between mean confidence and accuracy."""
        table = predicted()
        (ax,) = plot_reliability(table, bins=1)
        accuracy = accuracy_score(table["target_names"], table["predicted_names"])
        error = abs(table["confidence"].mean() - accuracy)

        assert f"expected calibration error {error:.3f}" == ax.get_title()

    def test_images_are_counted_in_shares(self) -> None:
        """The bars sum to one."""
        (ax,) = plot_reliability(predicted())

        assert 1 == pytest.approx(sum(bar.get_height() for bar in ax.patches))

    def test_rounding_above_one_is_one(self) -> None:
        """A softmax in float32 may sum to a little more."""
        table = predicted().assign(confidence=np.float32(1.0000001))
        (ax,) = plot_reliability(table)

        assert [1] == list(ax.lines[1].get_xdata())

    def test_an_empty_table_is_refused(self) -> None:
        """There is nothing to plot."""
        with pytest.raises(ValueError, match=r"`table` must be what .*Received: an empty table\."):
            plot_reliability(predicted()[:0])


@pytest.mark.parametrize("given", [{"a": 1}, None, Path("here")])
def test_what_is_no_table_is_refused(given) -> None:
    """The error says where a table comes from."""
    with pytest.raises(ValueError, match=r"`table` must be what `cnnkit.data.predict_images` retu"):
        show_predictions(given)


class TestWhatTheTablesHold:
    """Rows without a class, and invalid confidences."""

    def test_images_without_a_class_are_shown_without_frame_and_sign(self, table) -> None:
        """Their true class is not shown as "nan"."""
        names = table["target_names"].where([True, True, False, True])
        drawn = show_predictions(table.assign(target_names=names))

        assert "fox 55 %" == drawn[2].get_title()
        assert [1, 1, 0, 1] == [len(ax.patches) for ax in drawn]
        assert 3 == len(show_predictions(table.assign(target_names=names), worst=True))

    def test_images_without_a_class_are_left_out_of_figures(self) -> None:
        """They are neither correct nor wrong."""
        table = predicted()
        known = np.arange(len(table)) % 3 > 0
        partly = table.assign(target_names=table["target_names"].where(known))
        for plot in (plot_confusion_matrix, plot_reliability):
            first, second = (plot(rows)[0] for rows in (table[known], partly))

            assert first.get_title() == second.get_title()
            assert [text.get_text() for text in first.texts] == [
                text.get_text() for text in second.texts
            ]

    @pytest.mark.parametrize("plot", [plot_confusion_matrix, plot_reliability])
    def test_a_table_without_any_class_is_refused(self, plot) -> None:
        """There is nothing to compare with."""
        with pytest.raises(ValueError, match=r"of labelled images\. Received: an empty table\."):
            plot(predicted().assign(target_names=None))

    @pytest.mark.parametrize(("value", "told"), [(93.0, "0.*to 93"), (np.nan, "NaN"), (-1, "-1")])
    def test_confidences_that_are_no_probabilities_are_refused(self, value, told) -> None:
        """Percentages would be drawn as "9300 %", and NaN would be ignored."""
        table = predicted()
        table.loc[5, "confidence"] = value
        with pytest.raises(ValueError, match=rf"must have `confidence` in 0\.\.1.*{told}"):
            plot_reliability(table)


class TestReadableMatrices:
    """Names and numbers."""

    def test_numbers_stand_out_where_all_cells_are_equal(self) -> None:
        """They are not white on white."""
        names = pd.Categorical(["cat", "cat", "dog", "dog"])
        table = pd.DataFrame(
            {"target_names": names, "predicted_names": names[[0, 2, 0, 2]], "confidence": 0.9}
        )
        ax = plot_confusion_matrix(table)[0]
        shown = ax.images[0]
        for text, value in zip(ax.texts, shown.get_array().ravel(), strict=True):
            background = np.dot(shown.to_rgba(value)[:3], [0.2126, 0.7152, 0.0722])
            foreground = np.dot(to_rgb(text.get_color()), [0.2126, 0.7152, 0.0722])

            assert abs(background - foreground) > 0.4

    def test_one_class_is_no_warning(self) -> None:
        """Warnings are errors here."""
        names = pd.Categorical(["cat", "cat"])
        table = pd.DataFrame({"target_names": names, "predicted_names": names, "confidence": 0.9})

        assert ["2"] == [text.get_text() for text in plot_confusion_matrix(table)[0].texts]

    @pytest.mark.parametrize(("classes", "length"), [(2, 25), (8, 50), (3, 12), (10, 20), (30, 40)])
    def test_long_names_do_not_overlap(self, classes, length) -> None:
        """All names are within the picture."""
        names = [f"{number} " + "long name " * (length // 10) for number in range(classes)]
        table = pd.DataFrame(
            {"target_names": pd.Categorical(names), "predicted_names": pd.Categorical(names)}
        ).assign(confidence=0.9)
        ax = plot_confusion_matrix(table)[0]
        ax.figure.draw_without_rendering()
        whole = ax.figure.bbox
        for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
            boxes = [label.get_window_extent() for label in labels]

            assert not any(one.overlaps(other) for one, other in pairwise(boxes))
            assert all(whole.x0 <= box.x0 and box.x1 <= whole.x1 for box in boxes)
            assert all(whole.y0 <= box.y0 and box.y1 <= whole.y1 for box in boxes)
            assert all(len(line) <= 24 for label in labels for line in label.get_text().split("\n"))
        assert ax.bbox.width / ax.figure.dpi / classes > 0.3  # inches for a cell
