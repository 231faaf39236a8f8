"""Plots of predictions: images, the confusion matrix, and the reliability of the confidence."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from cnnkit._foundation.validation import check_one_of, check_whole_number
from cnnkit.viz._axes import BLUE, RED, panels
from cnnkit.viz._fonts import make_readable, wrapped
from cnnkit.viz._images import show_images

_FRAMES: dict[bool, dict[str, Any]] = {
    True: {"edgecolor": BLUE, "linewidth": 2.0, "linestyle": "-"},
    False: {"edgecolor": RED, "linewidth": 5.0, "linestyle": "--"},
}
_MOST_NUMBERS = 25  # classes; with more, numbers in the cells would be too small to read


def show_predictions(
    table: pd.DataFrame,
    *,
    worst: bool = False,
    columns: int | None = None,
    axes: Iterable[Axes] | None = None,
) -> NDArray[Any]:
    """Show images with their predictions, and with their true classes where these are known.

    A correct prediction has a tick and a thin frame; a wrong one has a cross and a thick, dashed
    frame. They can be told apart without color.

    Args:
        table: The return value of `cnnkit.data.predict_images`. Images without a true class are
            shown without a frame and a sign.
        worst: If True, show only labelled images. Mistakes come first, most confident first; then
            correct predictions, least confident first.
        columns: Number of images per row. By default, the grid is about square.
        axes: Panels to draw on, one per image; by default, a new figure.

    Returns:
        An array of Axes. If there are more than 64 images, only the first 64 are shown, and a note
        in the figure says so.

    Raises:
        ValueError: If the table has no predictions, or if `worst` is True and it has no true
            classes.

    Example:
        >>> import pandas as pd
        >>> from sklearn.datasets import load_sample_images
        >>> from cnnkit.viz import show_predictions
        >>> table = pd.DataFrame({"file_paths": load_sample_images().filenames})
        >>> table = table.assign(predicted_names=["temple", "rose"], confidence=[0.9, 0.6])
        >>> [ax.get_title() for ax in show_predictions(table)]
        ['temple 90 %', 'rose 60 %']
    """
    table = checked_predictions(table, labelled=worst)
    if worst:
        sure = table["confidence"]
        table = table.iloc[np.argsort(np.where(_right(table), sure, -1 - sure))]
    known, right = _known(table), _right(table)
    titles = list(map(_title, table.to_dict("records"), known, right))
    drawn = show_images(list(table["file_paths"]), titles, columns=columns, axes=axes)
    for ax, is_known, good in zip(drawn, known, right, strict=False):  # a large table is cut
        if is_known:
            frame = Rectangle((0, 0), 1, 1, fill=False, transform=ax.transAxes, **_FRAMES[good])
            ax.add_patch(frame)
    return drawn


def plot_confusion_matrix(
    table: pd.DataFrame, *, normalize: str | None = None, axes: Iterable[Axes] | None = None
) -> NDArray[Any]:
    """Plot a confusion matrix: one row per true class, one column per predicted class.

    Args:
        table: A labelled table as `cnnkit.data.predict_images` returns it; images without a class
            are left out.
        normalize: None for counts; `"true"`, `"pred"` or `"all"` for shares of each true class, of
            each predicted class, or of all images, as in `sklearn.metrics.confusion_matrix`.
        axes: A panel to draw on; by default, a new figure, whose size depends on the number of
            classes.

    Returns:
        An array of one Axes. With more than 25 classes, the cells have colors but no numbers. Long
        class names are wrapped.

    Raises:
        ValueError: If the table has no predictions or no true classes, or `normalize` is unknown.

    Example:
        >>> import pandas as pd
        >>> from cnnkit.viz import plot_confusion_matrix
        >>> names = pd.Categorical(["cat", "dog", "dog"])
        >>> table = pd.DataFrame(
        ...     {"target_names": names, "predicted_names": names[[0, 0, 1]], "confidence": 0.9}
        ... )
        >>> axes = plot_confusion_matrix(table)
        >>> axes[0].get_xlabel()
        'predicted'
    """
    from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

    table = checked_predictions(table, labelled=True)
    check_one_of("normalize", normalize, (None, "true", "pred", "all"))
    names = _class_names(table)
    pair = (np.asarray(table[name], dtype=str) for name in ("target_names", "predicted_names"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A single label was found")  # a table may have one class
        matrix = confusion_matrix(*pair, labels=names, normalize=normalize)
    lines = [wrapped(name) for name in names]
    longest = max(len(line) for name in lines for line in name.splitlines())
    side = _side_of_matrix(lines, longest)
    ax = panels(axes, 1, panel_size=(side, side))[0]
    display = ConfusionMatrixDisplay(matrix, display_labels=lines)
    display.plot(
        ax=ax,
        cmap="Blues",
        include_values=len(names) <= _MOST_NUMBERS,
        values_format="d" if normalize is None else ".2f",
        xticks_rotation="horizontal" if len(names) * longest <= 36 else "vertical",
        colorbar=False,
        im_kw={"vmin": 0},
        text_kw={"fontsize": "small" if len(names) > 10 else "medium"},
    )
    if len(names) <= _MOST_NUMBERS:
        for text, value in zip(display.text_.flat, matrix.flat, strict=True):
            text.set_color("white" if value > matrix.max() / 2 else "black")
    else:
        ax.figure.colorbar(display.im_, ax=ax, shrink=0.6)
    ax.set(xlabel="predicted", ylabel="class")
    labels = [*ax.get_xticklabels(), *ax.get_yticklabels()]
    for label in labels:
        label.set_fontsize(min(10, 36 * side / len(names)))  # half of a cell's height in points
    make_readable(labels)
    return np.array([ax], dtype=object)


def _side_of_matrix(names: list[str], longest: int) -> float:
    """Return the side of the figure in inches, with room for the names of the classes."""
    lines = max(len(name.splitlines()) for name in names)
    wanted = 1.2 + 0.09 * longest + (0.32 if lines == 1 else 0.24 * lines) * len(names)
    return min(16.0, max(4.5, wanted))


def plot_reliability(
    table: pd.DataFrame, *, bins: int = 10, axes: Iterable[Axes] | None = None
) -> NDArray[Any]:
    """Plot the accuracy of a model against its confidence: a reliability diagram.

    On the diagonal, accuracy equals confidence. Below it, the model is overconfident, which
    `cnnkit.transfer.calibrate` corrects. The title gives the expected calibration error: the mean
    distance from the diagonal (Guo et al., "On calibration of modern neural networks", 2017,
    arXiv:1706.04599, equation 3).

    Args:
        table: A labelled table as `cnnkit.data.predict_images` returns it; images without a class
            are left out.
        bins: Number of bins of equal width over the confidence, 0 to 1. Empty bins are left out.
        axes: A panel to draw on; by default, a new figure.

    Returns:
        An array of one Axes.

    Raises:
        ValueError: If the table has no predictions or no true classes.

    Example:
        >>> import pandas as pd
        >>> from cnnkit.viz import plot_reliability
        >>> names = pd.Categorical(["cat", "dog", "dog", "cat"])
        >>> table = pd.DataFrame(
        ...     {"target_names": names, "predicted_names": names[[0, 1, 2, 1]], "confidence": 0.95}
        ... )
        >>> plot_reliability(table)[0].get_title()
        'expected calibration error 0.200'
    """
    table = checked_predictions(table, labelled=True)
    edges = np.linspace(0, 1, check_whole_number("bins", bins) + 1).tolist()
    told = pd.DataFrame({"confidence": table["confidence"], "accuracy": _right(table)})
    groups = told.groupby(pd.cut(told["confidence"], edges, include_lowest=True), observed=True)
    means, shares = groups.mean(), groups.size() / len(told)
    error = float(((means["accuracy"] - means["confidence"]).abs() * shares).sum())
    drawn = panels(axes, 1, panel_size=(6.2, 3.6))
    ax = drawn[0]
    middles = [interval.mid for interval in shares.index]
    ax.bar(middles, shares, width=0.9 / bins, color="0.85", label="share of images")
    ax.plot([0, 1], [0, 1], color="0.5", linestyle="--", label="perfect calibration")
    ax.plot(means["confidence"], means["accuracy"], color=BLUE, marker="o", label="accuracy")
    ax.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy; share of images")
    ax.set_title(f"expected calibration error {error:.3f}", fontsize="medium")
    ax.legend(
        fontsize="small", loc="upper left", bbox_to_anchor=(1, 1)
    )  # outside: the curve may be anywhere
    return drawn


def checked_predictions(table: Any, *, labelled: bool) -> pd.DataFrame:
    """Return the table, or its labelled rows if `labelled`; raise if it has no predictions."""
    needed = ["predicted_names", "confidence", *(["target_names"] if labelled else [])]
    missing = [name for name in needed if name not in getattr(table, "columns", ())]
    rows = table[table["target_names"].notna()] if labelled and not missing else table
    if missing or not len(rows):
        msg = (
            "`table` must be what `cnnkit.data.predict_images` returns"
            f"{', of labelled images' if labelled else ''}. Received: "
            f"{'no column ' + ' or '.join(map(repr, missing)) if missing else 'an empty table'}."
        )
        raise ValueError(msg)
    confidence = rows["confidence"].astype(float)
    if not confidence.between(0, 1 + 1e-6).all():  # float32 sums to 1.0000001
        ends = "NaN" if confidence.isna().any() else f"{confidence.min():g} to {confidence.max():g}"
        msg = (
            f"`table` must have `confidence` in 0..1, as probabilities. Received: {ends}. "
            "Divide percentages by 100."
        )
        raise ValueError(msg)
    checked: pd.DataFrame = rows.assign(confidence=confidence.clip(0, 1))
    return checked


def _known(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Return a mask of the rows with a true class."""
    if "target_names" not in table:
        return np.zeros(len(table), dtype=bool)
    return table["target_names"].notna().to_numpy()


def _right(table: pd.DataFrame) -> NDArray[np.bool_]:
    if "target_names" not in table:
        return np.zeros(len(table), dtype=bool)
    predicted, true = (
        np.asarray(table[name], dtype=str) for name in ("predicted_names", "target_names")
    )
    right: NDArray[np.bool_] = predicted == true
    return right


def _title(row: dict[Any, Any], known: bool, right: bool) -> str:
    told = f"{row['predicted_names']} {row['confidence']:.0%}".replace("%", " %")
    if not known:
        return told
    return f"\u2713 {told}" if right else f"\u2717 {told}\nis {row['target_names']}"


def _class_names(table: pd.DataFrame) -> list[str]:
    """Return the true classes in their order, then those that are only predicted."""
    columns = [table[name].astype("category") for name in ("target_names", "predicted_names")]
    return list(dict.fromkeys(str(name) for column in columns for name in column.cat.categories))
