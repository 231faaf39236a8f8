"""The two halves of a split model compute what the model computes."""

from functools import cache

import keras
import numpy as np
import pytest
from keras import layers

from cnnkit.models import googlenet, resnet
from cnnkit.transfer import list_blocks, split_model


@cache
def small_resnet() -> keras.Model:
    """Return a network of blocks with shortcuts, made once."""
    return resnet((32, 32, 3), 4, depth=18, stem="cifar")


NETWORKS = {
    "resnet": small_resnet,
    "googlenet": lambda: googlenet((32, 32, 3), 4, variant="batch_norm"),
    "mobilenet": lambda: keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None),
}


def outputs(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(inputs, training=False))


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_the_halves_compute_what_the_model_does(build, rng) -> None:
    """Wherever a model is cut between two blocks, the outputs are the same bits."""
    model = build()
    images = rng.random((2, 32, 32, 3), dtype=np.float32)
    expected = outputs(model, images)
    names = list_blocks(model)["name"].tolist()
    for name in names[:: max(1, len(names) // 4)][:4]:
        bottom, top = split_model(model, name)

        np.testing.assert_array_equal(expected, outputs(top, outputs(bottom, images)))


def test_a_block_is_cut_behind_its_last_layer() -> None:
    """The name of the block and that of its last layer give the same halves."""
    model = small_resnet()
    table = list_blocks(model).set_index("name")
    by_block = split_model(model, "conv3_block1")[0]
    by_layer = split_model(model, table.loc["conv3_block1", "layers"][-1])[0]

    assert [x.name for x in by_block.layers] == [x.name for x in by_layer.layers]
    assert "conv3_block1_out" == by_block.layers[-1].name


def test_a_layer_goes_before_a_block_of_its_name(classifier) -> None:
    """The block conv1 begins with the layer conv1 and goes on with its BatchNorm."""
    bottom, _ = split_model(classifier, "conv1")

    assert "conv1" == bottom.layers[-1].name
    assert "conv1" in list_blocks(classifier)["name"].tolist()


def test_the_halves_have_all_layers_between_them(classifier) -> None:
    """No layer is in both, none is missing, and none is a copy."""
    bottom, top = split_model(classifier, "relu1")
    halves = [*bottom.layers[1:], *top.layers[1:]]  # each begins with an input

    assert [id(x) for x in classifier.layers[1:]] == [id(x) for x in halves]


@pytest.mark.usefixtures("eagerly")
def test_training_the_top_trains_the_model(classifier, data, rng) -> None:
    """The second half's weights are the model's."""
    _, top = split_model(classifier, "relu1")
    before = classifier.get_layer("conv2").get_weights()[0]
    top.compile("sgd", loss="mse")
    top.fit(rng.random((12, 8, 8, 4)), data[1], verbose=0)

    assert not np.array_equal(before, classifier.get_layer("conv2").get_weights()[0])


def test_a_model_inside_is_looked_into(nested, data) -> None:
    """A nested backbone can be cut as if its layers stood in the model."""
    images, _ = data
    bottom, top = split_model(nested, "relu1")

    assert "conv1" in [layer.name for layer in bottom.layers]
    np.testing.assert_array_equal(outputs(nested, images), outputs(top, outputs(bottom, images)))


def test_a_model_inside_is_a_place_to_cut(nested, data) -> None:
    """The name of a nested model works as in `freeze`, at any depth."""
    inputs = keras.Input((8, 8, 3))
    outer = keras.Sequential([inputs, nested], name="outer")
    for model, name in ((nested, "backbone"), (outer, "backbone")):
        bottom, top = split_model(model, name)

        assert "relu2" == bottom.layers[-1].name
        expected = outputs(model, data[0])
        np.testing.assert_array_equal(expected, outputs(top, outputs(bottom, data[0])))


def test_a_place_that_others_bypass_is_refused() -> None:
    """Inside a residual block the shortcut goes past; the error names the nearest places."""
    model = small_resnet()
    with pytest.raises(
        ValueError,
        match=r"`at` must name a place that everything after it depends on\. Received: "
        r"at='conv3_block1_1_conv', which other connections bypass\. The nearest such places: "
        r"conv2_block2_out, conv3_block1_add\.",
    ):
        split_model(model, "conv3_block1_1_conv")


def test_an_unknown_name_is_refused_with_the_closest(classifier) -> None:
    """The error helps to find a typing mistake."""
    with pytest.raises(
        ValueError,
        match=r"`at` must name a layer or a block of the model\. Received: at='reul1'\. "
        r"The closest: relu1",
    ):
        split_model(classifier, "reul1")


def test_the_last_layer_leaves_nothing_to_cut_off(classifier) -> None:
    """Behind the output there is no second half."""
    with pytest.raises(
        ValueError,
        match=r"`at` must name a place .*, which has nothing after it\. The nearest such places",
    ):
        split_model(classifier, "head_predictions")


def test_a_model_without_a_graph_is_refused() -> None:
    """A class of its own can do anything between its layers."""

    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(TypeError, match=r"`model` must be a functional model.*Received: Own\."):
        split_model(Own(), "a")


def test_a_layer_that_is_used_twice_is_in_both_halves(rng) -> None:
    """Cutting between two uses of one layer keeps both."""
    inputs = keras.Input((6,))
    twice = layers.Dense(6, name="twice")
    x = layers.ReLU(name="between")(twice(inputs))
    model = keras.Model(inputs, layers.Dense(2)(twice(x)))
    bottom, top = split_model(model, "between")
    vectors = rng.random((3, 6), dtype=np.float32)

    assert twice in bottom.layers
    assert twice in top.layers
    np.testing.assert_array_equal(outputs(model, vectors), outputs(top, outputs(bottom, vectors)))
