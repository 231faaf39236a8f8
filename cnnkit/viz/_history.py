"""Training curves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cnnkit._keras.metric_names import lower_is_better
from cnnkit.viz._axes import BLUE, ORANGE, panels

Curves = dict[str, list[Any]]
NAN = float("nan")


def plot_history(
    history: Any, *, metrics: Sequence[str] | None = None, axes: Iterable[Axes] | None = None
) -> NDArray[Any]:
    """Plot training and validation curves, one panel per metric.

    The best epoch on the validation data and the boundaries between stages are marked.

    Args:
        history: The return value of `fit` or `fine_tune`, its `.history` dict, or a list of these,
            which are joined.
        metrics: Names of metrics, without `val_`; by default, the loss and the first other metric.
        axes: Panels to draw on, one per metric; by default, a new figure.

    Returns:
        An array of Axes.

    Raises:
        ValueError: If there is nothing to plot or a metric is unknown.

    Example:
        >>> from cnnkit.viz import plot_history
        >>> axes = plot_history({"loss": [1.2, 0.7], "val_loss": [1.1, 0.8]})
        >>> axes[0].get_ylabel()
        'loss'
    """
    parts = history if isinstance(history, list | tuple) else [history]
    curves, stages = _joined([_curves(part) for part in parts])
    epochs = _epochs(parts, len(stages))
    chosen = _metrics(curves, metrics)
    drawn = panels(axes, len(chosen))
    for ax, metric in zip(drawn, chosen, strict=True):
        _plot_metric(ax, epochs, curves, metric)
        _mark_stages(ax, epochs, stages)
        ax.legend()
    return drawn


def _curves(history: Any) -> Curves:
    """Return the curves of one history, each with a value for every epoch."""
    curves = history if isinstance(history, Mapping) else getattr(history, "history", None)
    if not isinstance(curves, Mapping) or not any(len(values) for values in curves.values()):
        msg = (
            "`history` must be what `fit` returns, its `.history`, or a list of them, with at "
            f"least one epoch. Received: {history!r}. Pass the return value of `fit`."
        )
        raise ValueError(msg)
    epochs = max(map(len, curves.values()))
    return {name: _every_epoch(list(values), epochs) for name, values in curves.items()}


def _every_epoch(values: list[Any], epochs: int) -> list[Any]:
    """Fill epochs without validation (see `validation_freq` of `fit`) with NaN."""
    if len(values) == epochs or not values:
        return values or [NAN] * epochs
    step = epochs // len(values)
    filled = [NAN] * epochs
    filled[step - 1 : step * len(values) : step] = values
    return filled


def _joined(parts: Sequence[Curves]) -> tuple[Curves, list[str]]:
    """Join histories; return the curves and the stage of each epoch."""
    if not parts:
        msg = (
            "`history` must hold at least one history. Received: an empty list. "
            "Pass what `fit` returns."
        )
        raise ValueError(msg)
    lengths = [len(next(iter(part.values()))) for part in parts]
    curves: Curves = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        curves[name] = [
            value
            for part, length in zip(parts, lengths, strict=True)
            for value in part.get(name, [NAN] * length)
        ]
    numbered = [f"part {place}" for place, length in enumerate(lengths, 1) for _ in range(length)]
    return curves, [str(stage) for stage in curves.pop("stage", numbered)]


def _epochs(parts: Sequence[Any], count: int) -> list[int]:
    """Return the number of each epoch: as `fit` counted if the counts increase, else from 1."""
    counted = [epoch + 1 for part in parts for epoch in getattr(part, "epoch", ())]
    goes_on = len(counted) == count and all(a < b for a, b in pairwise(counted))
    return counted if goes_on else list(range(1, count + 1))


def _metrics(curves: Curves, metrics: Sequence[str] | None) -> list[str]:
    known = [name for name in curves if not name.startswith("val_")]
    if metrics is None:
        others = [name for name in known if name not in ("loss", "learning_rate")]
        metrics = [name for name in ("loss", *others[:1]) if name in known]
    unknown = [name for name in metrics if name not in known]
    if unknown or not metrics or isinstance(metrics, str):
        msg = (
            f"`metrics` must be a list of names among {', '.join(known) or 'none'}. "
            f"Received: metrics={metrics!r}."
        )
        raise ValueError(msg)
    return list(metrics)


def _plot_metric(ax: Axes, epochs: Sequence[int], curves: Curves, metric: str) -> None:
    train, validation = curves[metric], curves.get(f"val_{metric}", [])
    marker = "." if len(train) < 10 else ""
    ax.plot(epochs, train, color=BLUE, linestyle="--", marker=marker, label=_train(train, epochs))
    # A curve that is nowhere finite sets no limits.
    ax.update_datalim([(epochs[0], 0), (epochs[-1], 0)], updatey=False)
    pairs = zip(validation, epochs, strict=False)  # `validation` may be empty
    known = [(value, epoch) for value, epoch in pairs if math.isfinite(value)]
    if known:
        # The line has no gaps where epochs have no validation.
        values, places = zip(*known, strict=True)
        ax.plot(places, values, color=ORANGE, marker=marker, label="validation")
        best, epoch = (min if lower_is_better(metric) else max)(known, key=itemgetter(0))
        ax.plot(epoch, best, "o", color=ORANGE, label=f"best: {best:.3g} (epoch {epoch})")
    ax.set(xlabel="epoch", ylabel=metric)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _train(values: Sequence[Any], epochs: Sequence[int]) -> str:
    """Return the label of the training curve, with the epoch at which it became NaN or infinite."""
    lost = [
        epoch
        for value, epoch in zip(values, epochs, strict=True)
        if value is not NAN and not math.isfinite(value)  # NAN stands for "not logged"
    ]
    return f"train, not finite from epoch {lost[0]} on" if lost else "train"


def _mark_stages(ax: Axes, epochs: Sequence[int], stages: Sequence[str]) -> None:
    """Draw a line between stages, and write the name of each above the panel where it starts."""
    starts = [0, *(epoch for epoch, (a, b) in enumerate(pairwise(stages), 1) if a != b)]
    if len(starts) == 1:
        return
    for start in starts:
        if start:
            ax.axvline(epochs[start] - 0.5, color="0.6", linewidth=1, linestyle=":")
        ax.annotate(
            stages[start],
            (epochs[start] - 0.5, 1) if start else (0, 1),
            xycoords=("data" if start else "axes fraction", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            color="0.4",
            fontsize="small",
        )
