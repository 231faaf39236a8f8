"""The curve of a learning rate range test."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from matplotlib.axes import Axes
from numpy.typing import NDArray

from cnnkit.viz._axes import BLUE, ORANGE, panels


def plot_learning_rate(scan: Any, *, axes: Iterable[Axes] | None = None) -> NDArray[Any]:
    """Plot the loss at each learning rate of a range test, and mark the suggested rate.

    Args:
        scan: The return value of `cnnkit.transfer.find_learning_rate`.
        axes: A panel to draw on; by default, a new figure.

    Returns:
        An array of one Axes.

    Raises:
        TypeError: If `scan` is something else.

    Example:
        >>> from cnnkit.transfer import LearningRateScan
        >>> from cnnkit.viz import plot_learning_rate
        >>> scan = LearningRateScan([1e-4, 1e-3, 1e-2], [2.3, 1.9, 4.0], suggestion=1e-3)
        >>> axes = plot_learning_rate(scan)
        >>> axes[0].get_xscale()
        'log'
    """
    if not hasattr(scan, "suggestion"):
        msg = f"`scan` must be what `find_learning_rate` returns. Received: {type(scan).__name__}."
        raise TypeError(msg)
    drawn = panels(axes, 1)
    ax = drawn[0]
    ax.plot(scan.learning_rates, scan.losses, color=BLUE, label="loss of a batch")
    ax.axvline(
        scan.suggestion, color=ORANGE, linestyle="--", label=f"suggestion: {scan.suggestion:.2g}"
    )
    ax.set(xscale="log", xlabel="learning rate", ylabel="loss")
    ax.legend()
    return drawn
