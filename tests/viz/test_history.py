"""The output of `plot_history`, read from matplotlib."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes

from cnnkit.viz import plot_history

HISTORY = {
    "loss": [1.5, 1.0, 0.7, 0.6],
    "accuracy": [0.4, 0.6, 0.7, 0.8],
    "val_loss": [1.4, 0.9, 1.1, 1.2],
    "val_accuracy": [0.5, 0.6, 0.9, 0.7],
}


class FakeHistory:
    """What `fit` returns has its curves in `.history`."""

    def __init__(self, history):
        self.history = history


def curve(ax, label):
    """Return the points `(epochs, values)` of the line with this label."""
    (line,) = [line for line in ax.lines if line.get_label() == label]
    return [list(map(float, data)) for data in line.get_data()]


def best(ax):
    """Return the epoch and value of the marked point, and its label."""
    (line,) = [line for line in ax.lines if line.get_marker() == "o"]
    return line.get_xdata().item(), line.get_ydata().item(), line.get_label()


def boundaries(ax):
    """Return where vertical lines cross the whole panel."""
    return [
        line.get_xdata()[0]
        for line in ax.lines
        if list(line.get_ydata()) == [0, 1] and np.ptp(line.get_xdata()) == 0
    ]


def notes(ax):
    """Return the places and words of the texts in a panel."""
    return [(text.xy[0], text.get_text()) for text in ax.texts]


def test_loss_and_first_metric_are_drawn():
    """By default there are two panels: the loss and the first other metric."""
    axes = plot_history(HISTORY | {"auc": [0.5] * 4, "val_auc": [0.5] * 4})

    assert ["loss", "accuracy"] == [ax.get_ylabel() for ax in axes]


def test_loss_alone_is_one_panel():
    """Without other metrics there is one panel."""
    assert 1 == len(plot_history({"loss": [1.0, 0.5]}))


def test_loss_comes_first():
    """The loss is the first panel, wherever it is in the history."""
    axes = plot_history({"accuracy": [0.5], "loss": [1.0]})

    assert ["loss", "accuracy"] == [ax.get_ylabel() for ax in axes]


def test_learning_rate_is_no_metric():
    """The learning rate that callbacks add to the history gets no panel."""
    axes = plot_history({"learning_rate": [0.1], "loss": [1.0], "accuracy": [0.5]})

    assert ["loss", "accuracy"] == [ax.get_ylabel() for ax in axes]


def test_metrics_choose_panels_in_their_order():
    """Panels are those of `metrics`, in its order."""
    axes = plot_history(HISTORY, metrics=["accuracy", "loss"])

    assert ["accuracy", "loss"] == [ax.get_ylabel() for ax in axes]


@pytest.mark.parametrize(("panel", "metric"), [(0, "loss"), (1, "accuracy")])
def test_curves_are_those_of_the_history(panel, metric):
    """Each panel shows the history's values of training and validation over epochs from 1."""
    ax = plot_history(HISTORY)[panel]

    assert [[1, 2, 3, 4], HISTORY[metric]] == curve(ax, "train")
    assert [[1, 2, 3, 4], HISTORY[f"val_{metric}"]] == curve(ax, "validation")


def test_without_validation_there_is_one_curve():
    """Without validation, only the training curve is drawn, and no best epoch."""
    (ax,) = plot_history({"loss": [1.0, 0.5]})

    assert ["train"] == [line.get_label() for line in ax.lines]


def test_curves_differ_in_style():
    """The two curves can be told apart without color."""
    ax = plot_history(HISTORY)[0]
    train, validation, *_ = ax.lines

    assert train.get_linestyle() != validation.get_linestyle()


def test_legend_names_the_curves():
    """The legend names both curves and the best epoch."""
    legend = plot_history(HISTORY)[0].get_legend()

    assert ["train", "validation", "best: 0.9 (epoch 2)"] == [
        text.get_text() for text in legend.get_texts()
    ]


def test_axis_of_epochs_is_named():
    """The horizontal axis counts epochs."""
    assert ["epoch", "epoch"] == [ax.get_xlabel() for ax in plot_history(HISTORY)]


@pytest.mark.parametrize("epochs", [1, 2, 3, 12, 150])
def test_ticks_are_whole_epochs(epochs):
    """There is no tick between two epochs."""
    ticks = plot_history({"loss": [1.0] * epochs})[0].get_xticks()

    assert [] == [tick for tick in ticks if tick != round(tick)]


def test_single_epoch_is_visible():
    """After one epoch there is a point but no line yet."""
    (line,) = plot_history({"loss": [1.0]})[0].lines

    assert line.get_marker() not in ("None", "", " ", None)


def test_best_loss_is_the_least():
    """The mark is at the lowest validation loss."""
    assert (2, 0.9, "best: 0.9 (epoch 2)") == best(plot_history(HISTORY)[0])


@pytest.mark.parametrize(
    "metric",
    ["accuracy", "acc", "sparse_categorical_accuracy", "auc", "precision", "recall", "f1_score"],
)
def test_best_score_is_the_greatest(metric):
    """The mark is at the highest validation score if higher is better."""
    history = {metric: [0.1, 0.2, 0.3], f"val_{metric}": [0.5, 0.75, 0.25]}

    assert (2, 0.75, "best: 0.75 (epoch 2)") == best(plot_history(history)[0])


@pytest.mark.parametrize("metric", ["loss", "mae", "mean_squared_error"])
def test_best_error_is_the_least(metric):
    """The mark is at the lowest validation error if lower is better."""
    history = {metric: [0.1, 0.2, 0.3], f"val_{metric}": [0.5, 0.75, 0.25]}

    assert (3, 0.25, "best: 0.25 (epoch 3)") == best(plot_history(history)[0])


def test_first_of_equal_epochs_is_the_best():
    """Among equal epochs the earliest is marked."""
    history = {"loss": [1, 1, 1], "val_loss": [0.5, 0.25, 0.25]}

    assert (2, 0.25, "best: 0.25 (epoch 2)") == best(plot_history(history)[0])


def test_history_objects_are_taken():
    """The return value of `fit` is drawn like its dict."""
    ax = plot_history(FakeHistory(HISTORY))[0]

    assert HISTORY["loss"] == curve(ax, "train")[1]


def test_history_of_keras_is_taken():
    """Keras's own History is drawn."""
    import keras

    history = keras.callbacks.History()
    history.history = dict(HISTORY)

    assert HISTORY["val_loss"] == curve(plot_history(history)[0], "validation")[1]


@pytest.mark.parametrize("container", [list, tuple])
def test_several_histories_are_joined(container):
    """The epochs of a later history continue the count of the one before."""
    later = {name: values[:2] for name, values in HISTORY.items()}
    ax = plot_history(container([FakeHistory(HISTORY), later]))[0]

    assert [list(range(1, 7)), HISTORY["loss"] + later["loss"]] == curve(ax, "train")


def test_boundaries_of_several_histories():
    """A line is drawn between the last epoch of a history and the first of the next."""
    parts = [{"loss": [1.0] * epochs, "accuracy": [0.5] * epochs} for epochs in (4, 2, 3)]

    assert [[4.5, 6.5]] * 2 == [boundaries(ax) for ax in plot_history(parts)]


def test_boundaries_of_several_histories_are_numbered():
    """Each part has its number where it begins."""
    ax = plot_history([{"loss": [1.0] * epochs} for epochs in (4, 2, 3)])[0]

    assert [(0, "part 1"), (4.5, "part 2"), (6.5, "part 3")] == notes(ax)


def test_boundaries_of_stages():
    """A line is drawn where the stage changes, with the name of the new stage."""
    history = {"loss": [3, 2, 1, 1, 1], "stage": ["head", "head", "all", "all", "all"]}
    (ax,) = plot_history(history)

    assert [2.5] == boundaries(ax)
    assert [(0, "head"), (2.5, "all")] == notes(ax)


def test_stages_of_several_histories_are_joined():
    """Stages bound the parts of joined histories where they change, and only there."""
    parts = [{"loss": [2, 1], "stage": ["a", "b"]}, {"loss": [1, 1], "stage": ["b", "c"]}]
    (ax,) = plot_history(parts)

    assert [(0, "a"), (1.5, "b"), (3.5, "c")] == notes(ax)


def test_one_history_has_no_boundaries():
    """Without stages a single history has no boundary."""
    assert [[], []] == [boundaries(ax) for ax in plot_history(HISTORY)]


def test_missing_metric_of_a_part_leaves_a_gap():
    """If a history lacks a metric of the others, its epochs stay empty."""
    ax = plot_history([{"loss": [3.0, 2.0]}, {"loss": [1.0], "val_loss": [1.5]}])[0]

    assert [[3], [1.5]] == curve(ax, "validation")


def test_best_epoch_is_found_beyond_a_gap():
    """Epochs without validation can't be the best."""
    ax = plot_history([{"loss": [3.0, 2.0]}, {"loss": [1.0, 0.8], "val_loss": [1.5, 1.2]}])[0]

    assert (4, 1.2, "best: 1.2 (epoch 4)") == best(ax)


def test_history_is_not_changed():
    """The curves that are handed in stay as they are."""
    history = {"loss": [2.0, 1.0], "stage": ["head", "all"]}
    plot_history([history, history])

    assert {"loss": [2.0, 1.0], "stage": ["head", "all"]} == history


def test_given_axes_are_used():
    """With axes given, these are drawn on and returned."""
    _, given = plt.subplots(2)
    axes = plot_history(HISTORY, axes=given)

    assert list(given) == list(axes)
    assert HISTORY["accuracy"] == curve(given[1], "train")[1]


def test_given_axes_can_be_one():
    """For one metric, a single panel is enough."""
    _, given = plt.subplots()

    assert [given] == list(plot_history({"loss": [1.0]}, axes=given))


def test_given_axes_can_be_a_grid():
    """The panels of `plt.subplots` may be a grid."""
    _, given = plt.subplots(2, 2)

    assert [given[0, 0], given[0, 1]] == list(plot_history(HISTORY, axes=given))


def test_no_figure_is_made_for_given_axes():
    """With axes given no figure is opened."""
    _, given = plt.subplots(2)
    before = plt.get_fignums()
    plot_history(HISTORY, axes=given)

    assert before == plt.get_fignums()


def test_one_figure_is_made():
    """Without axes all panels are in one new figure."""
    axes = plot_history(HISTORY)

    assert all(isinstance(ax, Axes) for ax in axes)
    assert 1 == len(plt.get_fignums())
    assert axes[0].figure is axes[1].figure


def test_settings_are_not_changed():
    """The settings of matplotlib stay as they are."""
    with mpl.rc_context():
        mpl.rcdefaults()  # what an earlier test may have changed
        before = mpl.rcParams.copy()
        plot_history(HISTORY)
        after = mpl.rcParams.copy()

    assert before == after


def test_too_few_axes_are_an_error():
    """The error says how many panels there must be."""
    _, given = plt.subplots()

    with pytest.raises(ValueError, match=r"^`axes` must hold 2 panels\. Received: 1\."):
        plot_history(HISTORY, axes=[given])


def test_unknown_metrics_are_an_error():
    """The error names the known and the unknown metrics."""
    message = r"^`metrics` must be a list of names among loss, accuracy\. Received: .*'f1'\]\.$"

    with pytest.raises(ValueError, match=message):
        plot_history(HISTORY, metrics=["loss", "f1"])


@pytest.mark.parametrize("history", [{}, None, 3, "loss", FakeHistory({}), [None], [[1, 2]]])
def test_other_things_are_no_history(history):
    """Objects without curves raise an error that names what is accepted."""
    message = r"^`history` must be what `fit` returns, .* with at least one epoch\. Received: "

    with pytest.raises(ValueError, match=message):
        plot_history(history)


@pytest.mark.parametrize(
    "history",
    [[], {"learning_rate": [0.1]}, {"val_loss": [1.0]}, {"loss": []}],
    ids=["no parts", "learning rate only", "validation only", "no epochs"],
)
def test_nothing_to_plot_is_an_error(history):
    """A history without a metric or without epochs raises a clear error."""
    with pytest.raises(ValueError, match=r"`history` must|`metrics` must be a list of names among"):
        plot_history(history)


def test_no_metrics_to_plot_are_an_error():
    """An empty list of metrics raises a clear error."""
    with pytest.raises(ValueError, match="`metrics`"):
        plot_history(HISTORY, metrics=[])


def test_validation_in_some_epochs_only_is_drawn():
    """With `fit(validation_freq=2)`, validation has fewer values; all of them are drawn."""
    ax = plot_history({"loss": [4.0, 3.0, 2.0, 1.0], "val_loss": [3.5, 1.5]})[0]
    drawn = [value for value in curve(ax, "validation")[1] if not np.isnan(value)]

    assert [3.5, 1.5] == drawn


class Resumed(FakeHistory):
    """Return a history of `fit` that continued with its fourth epoch."""

    epoch = (3, 4, 5, 6)


def test_a_resumed_run_keeps_the_numbers_of_its_epochs():
    """Points, best epoch, and stages have the numbers of the log of `fit`."""
    history = HISTORY | {"stage": ["head", "head", "all", "all"]}
    ax = plot_history(Resumed(history))[0]

    assert [4, 5, 6, 7] == curve(ax, "train")[0]
    assert [4, 5, 6, 7] == curve(ax, "validation")[0]
    assert (5, 0.9, "best: 0.9 (epoch 5)") == best(ax)
    assert [5.5] == boundaries(ax)


def test_runs_that_begin_anew_are_numbered_through():
    """Each call of `fit` counts from 0."""
    first, second = FakeHistory(HISTORY), FakeHistory(HISTORY)
    first.epoch = second.epoch = (0, 1, 2, 3)
    ax = plot_history([first, second])[0]

    assert list(range(1, 9)) == curve(ax, "train")[0]


@pytest.mark.parametrize("lost", [float("nan"), float("inf")])
def test_a_loss_that_left_all_bounds_is_told(lost):
    """The curve doesn't look as if training had ended before."""
    (ax,) = plot_history({"loss": [1.0, lost, lost], "val_loss": [1.0, 2.0, lost]})

    assert "train, not finite from epoch 2 on" == ax.lines[0].get_label()
    assert ax.get_xlim()[1] >= 3


def test_no_infinite_value_is_the_best():
    """An infinite score is never marked as the best."""
    (ax,) = plot_history({"score": [0.1, 0.2], "val_score": [0.3, float("inf")]}, metrics=["score"])

    assert "best: 0.3 (epoch 1)" in [line.get_label() for line in ax.lines]


def test_a_metric_that_a_stage_did_not_log_has_not_left_any_bounds():
    """The label of the training curve has no note."""
    parts = [{"loss": [1.0], "accuracy": [0.5]}, {"loss": [0.9]}]

    assert "train" == plot_history(parts, metrics=["accuracy"])[0].lines[0].get_label()
