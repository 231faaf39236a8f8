"""The output of `plot_learning_rate`, read from matplotlib."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from cnnkit.transfer import LearningRateScan
from cnnkit.viz import plot_learning_rate

SCAN = LearningRateScan(np.geomspace(1e-4, 1e-1, 4), np.array([2.3, 1.8, 0.9, 3.0]), 1e-2)


def test_losses_are_drawn_over_rates_on_a_logarithmic_axis():
    """The points are those of the scan."""
    (ax,) = plot_learning_rate(SCAN)
    rates, losses = ax.lines[0].get_data()

    np.testing.assert_array_equal(SCAN.learning_rates, rates)
    np.testing.assert_array_equal(SCAN.losses, losses)
    assert "log" == ax.get_xscale()
    assert ("learning rate", "loss") == (ax.get_xlabel(), ax.get_ylabel())


def test_the_suggestion_is_marked_and_named():
    """A line marks the suggested rate, and the legend names it."""
    (ax,) = plot_learning_rate(SCAN)

    assert [1e-2, 1e-2] == list(ax.lines[1].get_xdata())
    assert "suggestion: 0.01" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_given_axes_are_drawn_on():
    """No other figure is opened."""
    _, given = plt.subplots()
    (ax,) = plot_learning_rate(SCAN, axes=given)

    assert given is ax
    assert [given.figure.number] == plt.get_fignums()


def test_something_else_is_refused():
    """The error says where a scan comes from."""
    with pytest.raises(
        TypeError, match=r"^`scan` must be what `find_learning_rate` returns\. Received: dict\.$"
    ):
        plot_learning_rate({"loss": [1.0]})
