"""Rules that all functions of `cnnkit.viz` follow."""

from collections.abc import Callable
from functools import cache
from itertools import combinations

import keras
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from cnnkit import viz
from cnnkit.models import simple_cnn
from cnnkit.transfer import LearningRateScan
from cnnkit.viz._axes import BLUE, GREEN, ORANGE, RED

IMAGE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
SCAN = LearningRateScan(np.array([1e-3, 1e-2]), np.array([2.0, 1.0]), 1e-2)


@cache
def model() -> keras.Model:
    return simple_cnn((16, 16, 3), 2, filters=(4,), mode="unit")


def table() -> pd.DataFrame:
    names = pd.Categorical(["cat", "dog", "dog"])
    columns = {"target_names": names, "predicted_names": names[[0, 0, 1]], "confidence": 0.9}
    return pd.DataFrame(columns)


# How to call each function, and a call that fails.
CALLS: dict[str, tuple[Callable, Callable]] = {
    "plot_confusion_matrix": (
        lambda **options: viz.plot_confusion_matrix(table(), **options),
        lambda: viz.plot_confusion_matrix(table(), normalize="no"),
    ),
    "plot_history": (
        lambda **options: viz.plot_history({"loss": [2, 1], "accuracy": [0.1, 0.9]}, **options),
        lambda: viz.plot_history({"loss": [2, 1]}, metrics=["no"]),
    ),
    "plot_learning_rate": (
        lambda **options: viz.plot_learning_rate(SCAN, **options),
        lambda: viz.plot_learning_rate(1e-3),
    ),
    "plot_pixel_histogram": (
        lambda **options: viz.plot_pixel_histogram(IMAGE, bins=5, **options),
        lambda: viz.plot_pixel_histogram(IMAGE[0, 0]),
    ),
    "plot_reliability": (
        lambda **options: viz.plot_reliability(table(), **options),
        lambda: viz.plot_reliability(table(), bins=0),
    ),
    "show_augmentations": (
        lambda **options: viz.show_augmentations(IMAGE, np.flipud, draws=2, **options),
        lambda: viz.show_augmentations(IMAGE / 255, np.flipud),
    ),
    "show_feature_maps": (
        lambda **options: viz.show_feature_maps(model(), IMAGE, "block1_conv1", **options),
        lambda: viz.show_feature_maps(model(), IMAGE, "no"),
    ),
    "show_grad_cam": (
        lambda **options: viz.show_grad_cam(model(), IMAGE, **options),
        lambda: viz.show_grad_cam(model(), IMAGE, target=7),
    ),
    "show_images": (
        lambda **options: viz.show_images([IMAGE, IMAGE], **options),
        lambda: viz.show_images([IMAGE - 0.5]),
    ),
    "show_predictions": (
        lambda **options: viz.show_predictions(table().assign(file_paths=PATHS), **options),
        lambda: viz.show_predictions(table().assign(file_paths="no.png")),
    ),
}
PATHS: list[str] = []
every_function = pytest.mark.parametrize("draw", [a for a, _ in CALLS.values()], ids=CALLS)


@pytest.fixture(autouse=True)
def files(make_folder) -> None:
    PATHS[:] = sorted(str(path) for path in make_folder({"cat": 3}).rglob("*.png"))


def test_no_function_is_left_out() -> None:
    """All public functions are tested here."""
    assert set(viz.__all__) == set(CALLS)


@every_function
def test_one_figure_is_made_and_no_setting_changed(draw) -> None:
    """Panels are returned as an array of Axes, in one figure with a constrained layout."""
    before = mpl.rcParams.copy()
    drawn = draw()

    assert before == mpl.rcParams
    assert [drawn[0].figure.number] == plt.get_fignums()
    assert isinstance(drawn, np.ndarray)
    assert all(isinstance(ax, Axes) for ax in drawn)
    assert "constrained" in type(drawn[0].figure.get_layout_engine()).__name__.lower()


@every_function
def test_given_axes_are_drawn_on_and_no_figure_is_made(draw) -> None:
    """There may be more panels than are needed."""
    count = len(draw())
    plt.close("all")
    figure, given = plt.subplots(1, count + 1)
    drawn = draw(axes=given)

    assert list(given[:count]) == list(drawn)
    assert [figure.number] == plt.get_fignums()
    assert all(ax.has_data() for ax in drawn)
    assert not given[-1].has_data()


@pytest.mark.parametrize("fail", [b for _, b in CALLS.values()], ids=CALLS)
def test_a_failed_call_leaves_no_figure(fail) -> None:
    """In a notebook, an empty figure would be shown."""
    with pytest.raises((ValueError, TypeError, OSError)):
        fail()

    assert [] == plt.get_fignums()


# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision
# deficiency", 2009, severity 1.0, on linear RGB.
DEFICIENCIES = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
# Colors that stand beside each other in one picture: lines, frames, bars with their names above.
TOGETHER = [(BLUE, ORANGE), (BLUE, RED)]


def lab(linear: np.ndarray) -> np.ndarray:
    """Return CIE 1976 L*a*b* of linear sRGB, white D65."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ linear.clip(0, 1) / [0.9505, 1.0, 1.089]
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / 3 / (6 / 29) ** 2 + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def linear(color: str) -> np.ndarray:
    values = np.array(to_rgb(color))
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("pair", TOGETHER)
@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_colors_side_by_side_are_told_apart_by_the_color_blind(pair, deficiency) -> None:
    """Trained eyes see a difference of 2; these colors differ by 20 or more."""
    seen = [lab(np.array(DEFICIENCIES[deficiency]) @ linear(color)) for color in pair]

    assert np.linalg.norm(seen[0] - seen[1]) >= 20


def test_the_colors_differ() -> None:
    """All names are different colors."""
    assert all(one != other for one, other in combinations((BLUE, ORANGE, GREEN, RED), 2))
