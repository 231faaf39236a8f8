"""Curves of training."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cnnkit.viz._axes import BLUE, ORANGE, panels

Curves = dict[str, list[Any]]


def plot_history(
    history: Any, *, metrics: Sequence[str] | None = None, axes: Iterable[Axes] | None = None
) -> NDArray[Any]:
    """Plot training and validation curves, a panel for each metric.

    The best epoch on the validation data is marked, and so are the boundaries between stages.

    Args:
        history: What `fit` or `fine_tune` returns, its `.history` dict, or a list of them, which
            are joined.
        metrics: Names without `val_`; by default the loss and the first other metric.
        axes: Panels to draw on, one a metric; a new figure by default.

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
    curves, boundaries = _joined([_curves(part) for part in parts])
    chosen = _metrics(curves, metrics)
    drawn = panels(axes, len(chosen))
    for ax, metric in zip(drawn, chosen, strict=True):
        _plot_metric(ax, curves, metric)
        for start, label in boundaries:
            ax.axvline(start + 0.5, color="0.6", linewidth=1, linestyle=":")
            ax.annotate(
                label,
                (start + 0.5, 1),
                xycoords=("data", "axes fraction"),
                xytext=(3, -3),
                textcoords="offset points",
                va="top",
                color="0.4",
                fontsize="small",
            )
        ax.legend()
    return drawn


def _curves(history: Any) -> Curves:
    curves = history if isinstance(history, Mapping) else getattr(history, "history", None)
    if not isinstance(curves, Mapping) or not curves:
        msg = (
            "`history` must be what `fit` returns, its `.history`, or a list of them. "
            f"Received: {history!r}."
        )
        raise ValueError(msg)
    return {name: list(values) for name, values in curves.items()}


def _joined(parts: Sequence[Curves]) -> tuple[Curves, list[tuple[int, str]]]:
    """Join histories; return the curves and, for each boundary, the last epoch before it."""
    curves: Curves = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        curves[name] = [
            value for part in parts for value in part.get(name, [float("nan")] * _length(part))
        ]
    stages = curves.pop("stage", None)
    if stages is None:
        stages = [
            f"part {place}" for place, part in enumerate(parts, 1) for _ in range(_length(part))
        ]
    boundaries = [
        (epoch, str(after))
        for epoch, (before, after) in enumerate(pairwise(stages), start=1)
        if before != after
    ]
    return curves, boundaries


def _length(curves: Curves) -> int:
    return max(map(len, curves.values()))


def _metrics(curves: Curves, metrics: Sequence[str] | None) -> list[str]:
    known = [name for name in curves if not name.startswith("val_") and name != "learning_rate"]
    if metrics is None:
        others = [name for name in known if name != "loss"]
        return [name for name in ("loss", *others[:1]) if name in known]
    unknown = [name for name in metrics if name not in known]
    if unknown:
        msg = f"`metrics` must be among {', '.join(known)}. Received: {unknown!r}."
        raise ValueError(msg)
    return list(metrics)


def _plot_metric(ax: Axes, curves: Curves, metric: str) -> None:
    train, validation = curves[metric], curves.get(f"val_{metric}")
    epochs = range(1, len(train) + 1)
    ax.plot(epochs, train, color=BLUE, linestyle="--", label="train")
    if validation is not None:
        ax.plot(epochs, validation, color=ORANGE, label="validation")
        lower = not any(word in metric for word in ("acc", "auc", "precision", "recall"))
        best = (min if lower else max)(epochs, key=lambda epoch: validation[epoch - 1])
        value = validation[best - 1]
        ax.plot(best, value, "o", color=ORANGE, label=f"best: {value:.3g} (epoch {best})")
    ax.set(xlabel="epoch", ylabel=metric)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
