"""The panels that every function draws on."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

# Okabe and Ito's palette, distinct for color-blind people too; lines differ in style as well.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"


def names_of(name: str, given: Iterable[object] | None, images: Sequence[Any]) -> list[str]:
    """Return a name for each image, empty ones by default, or raise."""
    names = [""] * len(images) if given is None else list(map(str, given))
    if isinstance(given, str) or len(names) != len(images):
        msg = (
            f"`{name}` must be a list with a name for each image. "
            f"Received: {len(images)} images and {name}={given!r}."
        )
        raise ValueError(msg)
    return names


def tell_the_rest(drawn: NDArray[Any], shown: int, given: int) -> None:
    """Write below the panels that only the first of many images are shown."""
    if shown < given:
        text = f"the first {shown} of {given} images"
        drawn[0].figure.supxlabel(text, fontsize="medium")


def panels(
    axes: Axes | Iterable[Axes] | None,
    count: int,
    *,
    columns: int | None = None,
    panel_size: tuple[float, float] = (4.0, 3.2),
) -> NDArray[Any]:
    """Return `count` panels in a flat array: the given ones, or those of a new figure.

    Panels of the grid that are left over are switched off.
    """
    if axes is not None:
        given = np.array([axes] if isinstance(axes, Axes) else list(axes), dtype=object).ravel()
        if len(given) < count:
            msg = f"`axes` must hold {count} panels. Received: {len(given)}."
            raise ValueError(msg)
        return given[:count]
    columns = columns or count
    rows = math.ceil(count / columns)
    width, height = panel_size
    _, grid = plt.subplots(
        rows,
        columns,
        figsize=(width * columns, height * rows),
        layout="constrained",
        squeeze=False,
    )
    for spare in grid.flat[count:]:
        spare.set_axis_off()
    return grid.ravel()[:count]
