"""Arguments that `fine_tune` refuses before anything trains."""

import keras
import pytest

from cnnkit.transfer import fine_tune


@pytest.mark.parametrize("decay", [0, -0.5, 1.5, "0.8", None, float("nan")])
def test_a_decay_that_is_none_is_refused(decay, shared_classifier, data) -> None:
    """It is above 0 and at most 1."""
    with pytest.raises(ValueError, match="`layer_decay` must be .* Received: layer_decay="):
        fine_tune(shared_classifier, data, data, head_epochs=1, epochs=1, layer_decay=decay)


@pytest.mark.parametrize("name", ["learning_rate", "head_learning_rate"])
@pytest.mark.parametrize("rate", [0, -1.0, "1e-3", None, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused_before_anything_trains(
    name, rate, shared_classifier, data
) -> None:
    """The check doesn't wait until the stage begins."""
    before = [weight.tobytes() for weight in shared_classifier.get_weights()]
    with pytest.raises(ValueError, match=rf"^`{name}` must be a number above 0\. Received"):
        fine_tune(shared_classifier, data, data, head_epochs=1, epochs=1, **{name: rate})

    assert before == [weight.tobytes() for weight in shared_classifier.get_weights()]


@pytest.mark.parametrize("callbacks", [keras.callbacks.TerminateOnNaN(), ["x"], None])
def test_what_is_no_list_of_callbacks_is_refused(callbacks, shared_classifier, data) -> None:
    """One alone, or something else."""
    with pytest.raises(TypeError, match=r"^`callbacks` must be a list of Keras callbacks\. Rec"):
        fine_tune(shared_classifier, data, data, head_epochs=1, epochs=1, callbacks=callbacks)


@pytest.mark.parametrize(
    "callback",
    [keras.callbacks.ReduceLROnPlateau(), keras.callbacks.LearningRateScheduler(lambda *_: 0.1)],
)
def test_callbacks_that_set_the_rate_are_refused(callback, shared_classifier, data) -> None:
    """Two schedules at once are a mistake that Keras reports in mid-training only."""
    with pytest.raises(ValueError, match=r"`callbacks` must not set the learning rate.*Received: "):
        fine_tune(shared_classifier, data, data, head_epochs=1, epochs=1, callbacks=[callback])


def test_a_head_that_is_not_there_is_refused(nested, data) -> None:
    """The error lists the last layers."""
    with pytest.raises(ValueError, match=r"`head` must name the first layer.*head=None.*flat"):
        fine_tune(nested, data, data, head_epochs=1, epochs=1)


def test_a_head_without_a_backbone_is_refused(shared_classifier, data) -> None:
    """All layers would train at the head's rate, BatchNorm too."""
    with pytest.raises(ValueError, match=r"`head` must name the first layer of the head, after"):
        fine_tune(shared_classifier, data, data, head_epochs=1, epochs=1, head="scale")


def test_an_uncompiled_model_is_refused(backbone, data) -> None:
    """Without a loss nothing can be trained."""
    with pytest.raises(ValueError, match=r"`model` must be compiled.*Call `model.compile` first"):
        fine_tune(backbone, data, data, head_epochs=1, epochs=1, head="conv2")


def test_two_outputs_are_refused(backbone, data) -> None:
    """A shared_classifier has one output."""
    model = keras.Model(backbone.input, [backbone.output, backbone.output])
    model.compile("adam", loss=["mse", "mse"])

    with pytest.raises(ValueError, match=r"`model` must have one output.*Received: 2 outputs"):
        fine_tune(model, data, data, head_epochs=1, epochs=1, head="conv2")
