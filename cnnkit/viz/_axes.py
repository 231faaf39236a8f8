"""The panels that all functions draw on, and checks that they share."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

# Okabe and Ito's palette, which color-blind people can tell apart. Lines differ in style as well.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"


def names_of(name: str, given: Iterable[object] | None, images: Sequence[Any]) -> list[str]:
    """Return a name for each image, empty by default, or raise."""
    names = [""] * len(images) if given is None else list(map(str, given))
    if isinstance(given, str) or len(names) != len(images):
        msg = (
            f"`{name}` must be a list with a name for each image. "
            f"Received: {len(images)} images and {name}={given!r}. Give one name per image."
        )
        raise ValueError(msg)
    return names


def tell_the_rest(drawn: NDArray[Any], shown: int, given: int) -> None:
    """Note below the panels that only the first images are shown, if some are left out."""
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
    """Return a flat array of `count` panels, taken from `axes` or from a new figure.

    Unused panels of the new figure are hidden.
    """
    if axes is not None:
        given = np.array([axes] if isinstance(axes, Axes) else list(axes), dtype=object).ravel()
        if len(given) < count:
            msg = (
                f"`axes` must hold {count} panels. Received: {len(given)}. "
                "Pass more, or leave `axes` out to draw a new figure."
            )
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
