"""Whole networks before and after folding: fewer layers, the same outputs.

A fresh BatchNorm is nearly the identity, so all statistics and parameters are random here.
"""

from typing import NamedTuple

import keras
import numpy as np
import pytest
from keras import applications, layers

from cnnkit.models import fuse_batch_norm, googlenet, resnet, simple_cnn, vggnet
from cnnkit._keras.graph import leaf_layers

POOLED = {"include_top": False, "pooling": "avg"}
OPEN = (None, None, 3)
PEER = {**POOLED, "weights": None, "input_shape": OPEN}
# What builds a network that ends with a vector of features, and the pixels of an image's side.
NETWORKS = {
    "vgg11": (lambda: vggnet((32, 32, 3), depth=11, batch_norm=True, **POOLED), 32),
    "resnet18": (lambda: resnet(OPEN, depth=18, **POOLED), 8),
    "resnet50": (lambda: resnet(OPEN, **POOLED), 8),
    "googlenet": (lambda: googlenet(OPEN, variant="batch_norm", **POOLED), 16),
    "torchvision": (lambda: googlenet(OPEN, variant="torchvision", **POOLED), 16),
    "separable": (
        lambda: simple_cnn((16, 16, 3), 8, separable=True, batch_norm=True, pooling="avg"),
        16,
    ),
    "mobilenet_v2": (lambda: applications.MobileNetV2(**PEER), 32),
    "efficientnet_b0": (lambda: applications.EfficientNetB0(**PEER), 32),
    "densenet121": (lambda: applications.DenseNet121(**PEER), 32),
    "xception": (lambda: applications.Xception(**PEER), 16),
}
SLOW = (
    "vgg11",
    "resnet50",
    "googlenet",
    "torchvision",
    "efficientnet_b0",
    "densenet121",
    "xception",
)
MARKS = {name: pytest.mark.slow if name in SLOW else () for name in NETWORKS}
# DenseNet normalizes what it has concatenated or pooled, in front of a convolution.
BLOCKS = {2: 6, 3: 12, 4: 24, 5: 16}
UNFOLDABLE = {
    f"conv{s}_block{b}_0_bn" for s, blocks in BLOCKS.items() for b in range(1, blocks + 1)
}
LEFT = {"densenet121": UNFOLDABLE | {"pool2_bn", "pool3_bn", "pool4_bn", "bn"}}
# The largest difference of an output, in units of its deviation. EfficientNet multiplies features
# by features: a random one magnifies rounding in a few images (in float64 to no more than 1e-10).
LARGEST = {"efficientnet_b0": 0.05}


class Pair(NamedTuple):
    """A network and its fused copy, and the outputs of both for 1,100 images."""

    name: str
    model: keras.Model
    fused: keras.Model
    weights: list[np.ndarray]
    log: list[str]
    expected: np.ndarray
    actual: np.ndarray


@pytest.fixture(scope="module", params=[pytest.param(n, marks=MARKS[n]) for n in NETWORKS])
def pair(request, randomize, logged) -> Pair:
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    build, side = NETWORKS[request.param]
    # Each image has colours of its own, or all would look the same to a random network.
    images = generator.uniform(0, 255, (1100, side, side, 3))
    images = (images * generator.uniform(0.4, 1, (1100, 1, 1, 3))).astype("float32")
    model = with_classifier(randomize(build(), generator), images[:150], generator)
    weights = model.get_weights()
    with logged() as log:
        fused = fuse_batch_norm(model)
    expected, actual = logits(model, images), logits(fused, images)
    return Pair(request.param, model, fused, weights, log, expected, actual)


def with_classifier(
    base: keras.Model, images: np.ndarray, generator: np.random.Generator
) -> keras.Model:
    """Give a network statistics that match its random parameters, and ten balanced classes."""
    # Statistics that don't fit multiply from layer to layer, until no number is left of an image.
    norms = [layer for layer in leaf_layers(base) if isinstance(layer, layers.BatchNormalization)]
    dropouts = [layer for layer in leaf_layers(base) if isinstance(layer, layers.Dropout)]
    before = [layer.momentum for layer in norms], [layer.rate for layer in dropouts]
    for layer in norms:
        layer.momentum = 0.0
    for layer in dropouts:
        layer.rate = 0.0
    base(images, training=True)
    for layer, momentum in zip(norms, before[0], strict=True):
        layer.momentum = momentum
    for layer, rate in zip(dropouts, before[1], strict=True):
        layer.rate = rate
    features = keras.ops.convert_to_numpy(base(images))
    kernel = generator.standard_normal((features.shape[1], 10))
    classifier = layers.Dense(10, name="logits")
    model = keras.Model(base.input, classifier(base.output), name=base.name)
    classifier.set_weights([kernel, -features.mean(axis=0) @ kernel])
    return model


def logits(model: keras.Model, images: np.ndarray) -> np.ndarray:
    parts = [model(part, training=False) for part in np.array_split(images, 2)]
    return np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])


def test_only_batch_norm_behind_no_convolution_stays(pair, norms_in) -> None:
    """No BatchNorm is left, except in DenseNet before convolutions."""
    assert LEFT.get(pair.name, set()) == set(norms_in(pair.fused))


def test_only_folded_layers_are_gone(pair, norms_in) -> None:
    """All others are there by name; Keras names an input after its tensor."""
    gone = set(norms_in(pair.model)) - LEFT.get(pair.name, set())
    rest = [layer.name for layer in pair.model.layers if layer.name not in gone]

    assert sorted(rest[1:]) == sorted(layer.name for layer in pair.fused.layers[1:])
    assert pair.model.name == pair.fused.name


def test_outputs_of_whole_networks_stay_within_rounding(pair) -> None:
    """No output moves by more than 2e-3 of its deviation."""
    differences = np.abs(pair.expected - pair.actual) / pair.expected.std(axis=0)

    assert np.isfinite(pair.expected).all()
    assert np.quantile(differences, 0.99) <= 2e-3
    assert differences.max() <= LARGEST.get(pair.name, 2e-3)


def test_a_thousand_images_keep_their_class(pair) -> None:
    """The argmax is the same, on the thousand images with the clearest class of 1,100."""
    second, first = np.sort(pair.expected, axis=1)[:, -2:].T
    clearest = np.argsort(first - second)[100:]
    expected = pair.expected[clearest].argmax(axis=1)

    assert 1000 == len(expected)
    assert 8 <= len(np.unique(expected))
    assert np.bincount(expected).max() <= 500
    np.testing.assert_array_equal(expected, pair.actual[clearest].argmax(axis=1))


def test_the_given_network_is_not_changed(pair, norms_in) -> None:
    """Its weights are what they were, bit for bit, and it has all its layers."""
    assert [weight.tobytes() for weight in pair.weights] == [
        weight.tobytes() for weight in pair.model.get_weights()
    ]
    assert len(norms_in(pair.model)) > len(norms_in(pair.fused))


def test_the_fused_network_shares_nothing(pair, ids) -> None:
    """It has layers and weights of its own."""
    assert set() == ids(pair.model.variables) & ids(pair.fused.variables)
    assert set() == ids(leaf_layers(pair.model)) & ids(leaf_layers(pair.fused))


def test_the_log_names_what_stays(pair) -> None:
    """DenseNet's layers are listed in one line; for the other networks nothing is logged."""
    names = LEFT.get(pair.name, set())
    lines = [line.split(": ") for line in pair.log]

    assert [f"BatchNormalization kept in {pair.name}"] * bool(names) == [a for a, _ in lines]
    assert sorted(names) == [name for _, b in lines for name in sorted(b.split(", "))]


def test_the_log_is_empty_where_nothing_stays(toy, logged) -> None:
    """A network without any BatchNorm left says nothing."""
    with logged() as messages:
        fuse_batch_norm(toy(layers.Conv2D(4, 3), layers.BatchNormalization()))

    assert [] == messages
