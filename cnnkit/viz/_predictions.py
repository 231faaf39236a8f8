"""What a model predicted: images, confusions, and how far to trust its confidence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from cnnkit._validation import check_one_of, check_whole_number
from cnnkit.viz._axes import BLUE, RED, panels
from cnnkit.viz._fonts import make_readable
from cnnkit.viz._images import show_images

_FRAMES: dict[bool, dict[str, Any]] = {
    True: {"edgecolor": BLUE, "linewidth": 2.0, "linestyle": "-"},
    False: {"edgecolor": RED, "linewidth": 5.0, "linestyle": "--"},
}
_MOST_NUMBERS = 25  # classes: with more, numbers in the cells can't be read
_INCHES = {"least": 4.5, "class": 0.32, "most": 16.0}


def show_predictions(
    table: pd.DataFrame,
    *,
    worst: bool = False,
    columns: int | None = None,
    axes: Iterable[Axes] | None = None,
) -> NDArray[Any]:
    """Show images with what a model predicted, and with the truth where it is known.

    A right prediction has a tick and a thin frame, a wrong one a cross and a thick, dashed frame,
    so that they differ without color too.

    Args:
        table: What `cnnkit.data.predict_images` returns.
        worst: If True, begin with the mistakes, the surest first; then what is right, the least
            sure first. For labelled tables.
        columns: Images in a row.
        axes: Panels to draw on, one an image; a new figure by default.

    Returns:
        An array of Axes. Of more than 64 images the first are shown, with a note that says so.

    Raises:
        ValueError: If the table has no predictions, or `worst` is asked of one without classes.

    Example:
        >>> import pandas as pd
        >>> from sklearn.datasets import load_sample_images
        >>> from cnnkit.viz import show_predictions
        >>> table = pd.DataFrame({"file_paths": load_sample_images().filenames})
        >>> table = table.assign(predicted_names=["temple", "rose"], confidence=[0.9, 0.6])
        >>> [ax.get_title() for ax in show_predictions(table)]
        ['temple 90 %', 'rose 60 %']
    """
    check_predicted(table, labelled=worst)
    right = _right(table) if "target_names" in table else None
    if worst and right is not None:
        order = np.argsort(np.where(right, table["confidence"], -1 - table["confidence"]))
        table, right = table.iloc[order], right[order]
    titles = _titles(table, right)
    drawn = show_images(list(table["file_paths"]), titles, columns=columns, axes=axes)
    if right is not None:
        for ax, good in zip(drawn, right, strict=False):  # a large table is cut
            frame = Rectangle((0, 0), 1, 1, fill=False, transform=ax.transAxes, **_FRAMES[good])
            ax.add_patch(frame)
    return drawn


def plot_confusion_matrix(
    table: pd.DataFrame, *, normalize: str | None = None, axes: Iterable[Axes] | None = None
) -> NDArray[Any]:
    """Plot which classes are taken for which: a row for each class, a column for each prediction.

    Args:
        table: A labelled table as `cnnkit.data.predict_images` returns it.
        normalize: None for counts; `"true"` for shares of each class, `"pred"` of each prediction,
            `"all"` of all images, as in `sklearn.metrics.confusion_matrix`.
        axes: A panel to draw on; a new figure by default, which grows with the classes.

    Returns:
        An array of one Axes. With more than 25 classes the cells have colors only.

    Raises:
        ValueError: If the table has no predictions or no classes.

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

    check_predicted(table, labelled=True)
    check_one_of("normalize", normalize, (None, "true", "pred", "all"))
    names = _class_names(table)
    matrix = confusion_matrix(
        np.asarray(table["target_names"], dtype=str),
        np.asarray(table["predicted_names"], dtype=str),
        labels=names,
        normalize=normalize,
    )
    side = min(_INCHES["most"], max(_INCHES["least"], 2 + _INCHES["class"] * len(names)))
    ax = panels(axes, 1, panel_size=(side, side))[0]
    display = ConfusionMatrixDisplay(matrix, display_labels=names)
    display.plot(
        ax=ax,
        cmap="Blues",
        include_values=len(names) <= _MOST_NUMBERS,
        values_format="d" if normalize is None else ".2f",
        xticks_rotation="horizontal" if len(names) <= 3 else "vertical",
        colorbar=False,
        text_kw={"fontsize": "small" if len(names) > 10 else "medium"},
    )
    if len(names) > _MOST_NUMBERS:
        ax.figure.colorbar(display.im_, ax=ax, shrink=0.6)
    ax.set(xlabel="predicted", ylabel="class")
    labels = [*ax.get_xticklabels(), *ax.get_yticklabels()]
    for label in labels:
        label.set_fontsize("medium" if len(names) <= _MOST_NUMBERS else "xx-small")
    make_readable(labels)
    return np.array([ax], dtype=object)


def plot_reliability(
    table: pd.DataFrame, *, bins: int = 10, axes: Iterable[Axes] | None = None
) -> NDArray[Any]:
    """Plot how often a model is right where it says how sure it is.

    On the diagonal it is as often right as it says; below it, it is too sure, and
    `cnnkit.transfer.calibrate` mends that. The title tells the expected calibration error: the mean
    distance from the diagonal (Guo et al., "On calibration of modern neural networks", 2017,
    arXiv:1706.04599, equation 3).

    Args:
        table: A labelled table as `cnnkit.data.predict_images` returns it.
        bins: Equal parts that confidence, 0 to 1, is cut into; empty ones are left out.
        axes: A panel to draw on; a new figure by default.

    Returns:
        An array of one Axes.

    Raises:
        ValueError: If the table has no predictions or no classes.

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
    check_predicted(table, labelled=True)
    edges = np.linspace(0, 1, check_whole_number("bins", bins) + 1).tolist()
    confidence = table["confidence"].to_numpy(dtype=float).clip(0, 1)  # float32 sums to 1.0000001
    told = pd.DataFrame({"confidence": confidence, "accuracy": _right(table)})
    groups = told.groupby(pd.cut(told["confidence"], edges, include_lowest=True), observed=True)
    means, shares = groups.mean(), groups.size() / len(told)
    error = float(((means["accuracy"] - means["confidence"]).abs() * shares).sum())
    drawn = panels(axes, 1)
    ax = drawn[0]
    middles = [interval.mid for interval in shares.index]
    ax.bar(middles, shares, width=0.9 / bins, color="0.85", label="share of the images")
    ax.plot([0, 1], [0, 1], color="0.5", linestyle="--", label="as often right as it says")
    ax.plot(means["confidence"], means["accuracy"], color=BLUE, marker="o", label="how often right")
    ax.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy; share of the images")
    ax.set_title(f"expected calibration error {error:.3f}", fontsize="medium")
    ax.legend(fontsize="small")
    return drawn


def check_predicted(table: Any, *, labelled: bool) -> None:
    """Raise a ValueError unless the table has predictions, and classes if they are needed."""
    needed = ["predicted_names", "confidence", *(["target_names"] if labelled else [])]
    missing = [name for name in needed if name not in getattr(table, "columns", ())]
    if missing or not len(table):
        msg = (
            "`table` must be what `cnnkit.data.predict_images` returns"
            f"{', of labelled images' if labelled else ''}. Received: "
            f"{'no column ' + ' or '.join(map(repr, missing)) if missing else 'an empty table'}."
        )
        raise ValueError(msg)


def _right(table: pd.DataFrame) -> NDArray[np.bool_]:
    predicted, true = (
        np.asarray(table[name], dtype=str) for name in ("predicted_names", "target_names")
    )
    right: NDArray[np.bool_] = predicted == true
    return right


def _titles(table: pd.DataFrame, right: NDArray[np.bool_] | None) -> list[str]:
    told = [
        f"{name} {confidence:.0%}".replace("%", " %")
        for name, confidence in zip(table["predicted_names"], table["confidence"], strict=True)
    ]
    if right is None:
        return told
    return [
        f"\u2713 {title}" if good else f"\u2717 {title}\nis {truth}"
        for title, good, truth in zip(told, right, table["target_names"], strict=True)
    ]


def _class_names(table: pd.DataFrame) -> list[str]:
    """Return the classes in their order, then those that are only predicted."""
    columns = [table[name].astype("category") for name in ("target_names", "predicted_names")]
    return list(dict.fromkeys(str(name) for column in columns for name in column.cat.categories))
