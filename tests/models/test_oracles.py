"""Our networks against keras.applications with copied weights, and against published counts."""

import keras
import numpy as np
import pytest

from cnnkit.models import googlenet, resnet, vggnet

# keras.applications' and torchvision's counts at 1000 classes.
PUBLISHED = {
    "vgg11": (vggnet, {"depth": 11, "head": "paper"}, 132_863_336),
    "vgg13": (vggnet, {"depth": 13, "head": "paper"}, 133_047_848),
    "vgg16": (vggnet, {"depth": 16, "head": "paper"}, 138_357_544),
    "vgg19": (vggnet, {"depth": 19, "head": "paper"}, 143_667_240),
    "resnet50": (resnet, {"depth": 50}, 25_636_712),
    "resnet101": (resnet, {"depth": 101}, 44_707_176),
    "resnet152": (resnet, {"depth": 152}, 60_419_944),
    "googlenet": (googlenet, {}, 6_998_552),
}
# torchvision does not count running means and variances.
TRAINABLE = {18: 11_689_512, 34: 21_797_672}

PEERS = [
    (vggnet, 16, keras.applications.VGG16),
    (resnet, 50, keras.applications.ResNet50),
    (vggnet, 19, keras.applications.VGG19),
    pytest.param(resnet, 101, keras.applications.ResNet101, marks=pytest.mark.slow),
    pytest.param(resnet, 152, keras.applications.ResNet152, marks=pytest.mark.slow),
]


def count(weights: list[keras.Variable]) -> int:
    return sum(int(np.prod(weight.shape)) for weight in weights)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_equal_the_published_count(name: str, symbolic) -> None:
    """A network has as many parameters as the published one."""
    build, options, expected = PUBLISHED[name]

    assert expected == symbolic(build, (224, 224, 3), 1000, **options).count_params()


@pytest.mark.parametrize("depth", TRAINABLE)
def test_small_resnets_have_torchvisions_trainable_count(depth: int, symbolic) -> None:
    """ResNet18 and 34 have torchvision's parameters."""
    model = symbolic(resnet, (224, 224, 3), 1000, depth=depth)

    assert TRAINABLE[depth] == count(model.trainable_weights)


# That of VGG19 is slow: its graph, below, is compared in every run.
@pytest.mark.parametrize(
    ("build", "depth", "peer"),
    [*PEERS[:2], pytest.param(*PEERS[2], marks=pytest.mark.slow), *PEERS[3:]],
)
def test_outputs_equal_those_of_keras_applications(build, depth, peer, rng) -> None:
    """With the same weights a network computes exactly what keras.applications computes."""
    theirs = peer(include_top=False, weights=None, input_shape=(64, 64, 3))
    ours = build((64, 64, 3), include_top=False, depth=depth)
    weights = [w if w.ndim > 1 else 0.5 + rng.random(w.shape) for w in theirs.get_weights()]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    images = rng.standard_normal((2, 64, 64, 3)).astype("float32")

    expected = keras.ops.convert_to_numpy(theirs(images))
    assert expected.std() > 0
    np.testing.assert_array_equal(expected, ours(images))


def settings(layer: keras.Layer) -> dict:
    """Return the configuration but for first weights; an axis counts from the front."""
    config = {key: value for key, value in layer.get_config().items() if "initializer" not in key}
    return config | ({"axis": config["axis"] % 4} if "axis" in config else {})


def inputs_of(layer: keras.Layer) -> list[str]:
    return [x._keras_history.operation.name for x in layer._inbound_nodes[0].input_tensors]


def graph(model: keras.Model) -> list[tuple]:
    """Return kind, settings and inputs of every layer behind the input."""
    return [(type(layer), settings(layer), inputs_of(layer)) for layer in model.layers[1:]]


@pytest.mark.parametrize(("build", "depth", "peer"), PEERS)
@pytest.mark.parametrize("include_top", [False, True])
def test_the_graph_is_that_of_keras_applications(build, depth, peer, include_top, symbolic) -> None:
    """Layers, settings and connections are the same, and so is the time that they take."""
    options = {"include_top": include_top, "input_shape": (32, 32, 3)}
    head = {"head": "paper", "dropout": 0} if build is vggnet else {}
    theirs = symbolic(peer, weights=None, classes=7, **options)
    ours = symbolic(build, n_classes=7, depth=depth, **head, **options)
    expected = graph(theirs)
    expected[0][2][:] = graph(ours)[0][2]  # inputs are numbered

    assert expected == graph(ours)


# Szegedy et al., table 1: output height and channels of each module at 224 pixels.
GOOGLENET_TABLE = {
    "conv1_7x7_s2": (112, 64),
    "pool1_3x3_s2": (56, 64),
    "conv2_3x3": (56, 192),
    "pool2_3x3_s2": (28, 192),
    "inception_3a": (28, 256),
    "inception_3b": (28, 480),
    "pool3_3x3_s2": (14, 480),
    "inception_4a": (14, 512),
    "inception_4b": (14, 512),
    "inception_4c": (14, 512),
    "inception_4d": (14, 528),
    "inception_4e": (14, 832),
    "pool4_3x3_s2": (7, 832),
    "inception_5a": (7, 832),
    "inception_5b": (7, 1024),
}


def test_googlenet_has_the_output_sizes_of_table_1(symbolic) -> None:
    """Every row of the paper's table has its size and its channels."""
    model = symbolic(googlenet)

    shapes = {name: model.get_layer(name).output.shape for name in GOOGLENET_TABLE}
    assert {name: (side, side, channels) for name, (side, channels) in GOOGLENET_TABLE.items()} == {
        name: shape[1:] for name, shape in shapes.items()
    }
