"""BatchNorm folded into the layers before it: fewer layers, the same outputs.

A fresh BatchNorm is nearly the identity, so all statistics and parameters are random here.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import keras
import numpy as np
import pytest
from keras import applications, layers

from cnnkit.models import fuse_batch_norm, googlenet, resnet, simple_cnn, vggnet
from cnnkit.models._fusing import _KERNELS
from cnnkit._keras.graph import leaf_layers

# Whole networks --------------------------------------------------------------------------------

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
SLOW = ("resnet50", "googlenet", "efficientnet_b0", "densenet121", "xception")
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
    """A network and its fused twin, with what both make of 1,100 images."""

    name: str
    model: keras.Model
    fused: keras.Model
    weights: list[np.ndarray]
    log: list[str]
    expected: np.ndarray
    actual: np.ndarray


@pytest.fixture(scope="module", params=[pytest.param(n, marks=MARKS[n]) for n in NETWORKS])
def pair(request) -> Pair:
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    build, side = NETWORKS[request.param]
    # Each image has colours of its own, or all would look the same to a random network.
    images = generator.uniform(0, 255, (1100, side, side, 3))
    images = (images * generator.uniform(0.4, 1, (1100, 1, 1, 3))).astype("float32")
    model = with_classifier(build(), images[:150], generator)
    weights = model.get_weights()
    with logged() as log:
        fused = fuse_batch_norm(model)
    expected, actual = logits(model, images), logits(fused, images)
    return Pair(request.param, model, fused, weights, log, expected, actual)


@contextmanager
def logged() -> Iterator[list[str]]:
    """Collect what the library says, even if another package has turned its loggers off."""
    messages, handler = [], logging.Handler(logging.INFO)
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger("cnnkit.models._fusing")
    before = logger.level, logger.disabled  # `logging.config` disables what it isn't told of
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.disabled = False
    yield messages
    logger.removeHandler(handler)
    logger.setLevel(before[0])
    logger.disabled = before[1]


def with_classifier(
    base: keras.Model, images: np.ndarray, generator: np.random.Generator
) -> keras.Model:
    """Give a network random parameters, statistics that fit them, and ten balanced classes."""
    randomize(base, generator)
    # Statistics that don't fit multiply from layer to layer, until no number is left of an image.
    norms = [layer for layer in leaf_layers(base) if is_norm(layer)]
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


def randomize(model: keras.Model, generator: np.random.Generator) -> None:
    """Set what a fresh network has at 0 or 1: biases, and all of BatchNorm."""
    for layer in leaf_layers(model):
        for weight in layer.weights:
            if weight.name in ("gamma", "moving_variance"):
                weight.assign(generator.uniform(0.5, 1.5, weight.shape))
            elif len(weight.shape) == 1 and "float" in weight.dtype:
                weight.assign(generator.normal(0, 0.3, weight.shape))


def is_norm(layer: keras.Layer) -> bool:
    return isinstance(layer, layers.BatchNormalization)


def norms_in(model: keras.Model) -> list[str]:
    return [layer.name for layer in leaf_layers(model) if is_norm(layer)]


def logits(model: keras.Model, images: np.ndarray) -> np.ndarray:
    parts = [model(part, training=False) for part in np.array_split(images, 2)]
    return np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])


def test_only_batch_norm_behind_no_convolution_stays(pair) -> None:
    """None is left but DenseNet's in front of convolutions."""
    assert LEFT.get(pair.name, set()) == set(norms_in(pair.fused))


def test_only_folded_layers_are_gone(pair) -> None:
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


def test_the_given_network_is_not_changed(pair) -> None:
    """Its weights are what they were, bit for bit, and it has all its layers."""
    assert [weight.tobytes() for weight in pair.weights] == [
        weight.tobytes() for weight in pair.model.get_weights()
    ]
    assert len(norms_in(pair.model)) > len(norms_in(pair.fused))


def test_the_fused_network_shares_nothing(pair) -> None:
    """It has layers and weights of its own."""
    assert set() == ids(pair.model.variables) & ids(pair.fused.variables)
    assert set() == ids(leaf_layers(pair.model)) & ids(leaf_layers(pair.fused))


def ids(things) -> set[int]:
    return {id(thing) for thing in things}


def test_the_log_names_what_stays(pair) -> None:
    """DenseNet's own are named, once and in one line; of the others there is nothing to say."""
    names = LEFT.get(pair.name, set())
    lines = [line.split(": ") for line in pair.log]

    assert [f"BatchNormalization that stays in {pair.name}"] * bool(names) == [a for a, _ in lines]
    assert sorted(names) == [name for _, b in lines for name in sorted(b.split(", "))]


def test_the_log_is_empty_where_nothing_stays() -> None:
    """A network without any BatchNorm left says nothing."""
    with logged() as messages:
        fuse_batch_norm(toy(layers.Conv2D(4, 3), layers.BatchNormalization()))

    assert [] == messages


# Single layers ---------------------------------------------------------------------------------

# Each kind with what it is made of and the shape of its input, without the batch.
KINDS = {
    "Conv1D": (lambda **o: layers.Conv1D(4, 3, strides=2, **o), (9, 3)),
    "Conv2D": (lambda **o: layers.Conv2D(4, 3, padding="same", dilation_rate=2, **o), (8, 8, 3)),
    "Conv2D in groups": (lambda **o: layers.Conv2D(6, 3, groups=3, **o), (8, 8, 3)),
    "Conv3D": (lambda **o: layers.Conv3D(4, 2, **o), (4, 4, 4, 3)),
    "Dense": (lambda **o: layers.Dense(4, **o), (5,)),
    "Dense at every place": (lambda **o: layers.Dense(4, **o), (4, 4, 3)),
    "SeparableConv1D": (lambda **o: layers.SeparableConv1D(5, 3, depth_multiplier=2, **o), (9, 3)),
    "SeparableConv2D": (
        lambda **o: layers.SeparableConv2D(5, 3, depth_multiplier=2, **o),
        (8, 8, 3),
    ),
    "Conv2DTranspose": (lambda **o: layers.Conv2DTranspose(4, 3, strides=2, **o), (4, 4, 3)),
    "Conv2DTranspose, square": (lambda **o: layers.Conv2DTranspose(3, 3, **o), (4, 4, 3)),
    "DepthwiseConv1D": (lambda **o: layers.DepthwiseConv1D(3, depth_multiplier=2, **o), (9, 3)),
    "DepthwiseConv2D": (lambda **o: layers.DepthwiseConv2D(3, depth_multiplier=2, **o), (8, 8, 3)),
}
every_kind = pytest.mark.parametrize(("make", "shape"), KINDS.values(), ids=KINDS)


def toy(*steps: Callable, shape: tuple[int, ...] = (8, 8, 3), **options) -> keras.Model:
    """Put layers in a row, with random parameters."""
    inputs = x = keras.Input(shape)
    for step in steps:
        x = step(x)
    return randomized(keras.Model(inputs, x, **options))


def randomized(model: keras.Model) -> keras.Model:
    randomize(model, np.random.default_rng(1))
    return model


def arrays(model: keras.Model, inputs) -> list[np.ndarray]:
    """Return all outputs in one list."""
    outputs = keras.tree.flatten(model(inputs, training=False))
    return [np.asarray(keras.ops.convert_to_numpy(array), "float32") for array in outputs]


def assert_same_outputs(model: keras.Model, fused: keras.Model, *, within: float = 1e-4) -> None:
    """Compare on random inputs, in units of each output's deviation."""
    generator = np.random.default_rng(2)
    inputs = keras.tree.map_structure(
        lambda x: generator.normal(0, 1, (4, *x.shape[1:])).astype("float32"), fused.input
    )
    if len(model.inputs) == 1:
        [inputs] = keras.tree.flatten(inputs)

    for expected, actual in zip(arrays(model, inputs), arrays(fused, inputs), strict=True):
        assert 0 < expected.std() < np.inf
        np.testing.assert_allclose(actual, expected, rtol=0, atol=within * expected.std())


def test_every_kind_that_takes_up_batch_norm_is_tested() -> None:
    """The table here and the library's name the same layers."""
    assert {kind.__name__ for kind in _KERNELS} == {name.split()[0].strip(",") for name in KINDS}


@every_kind
@pytest.mark.parametrize("use_bias", [False, True])
def test_a_layer_takes_up_batch_norm(make, shape, use_bias) -> None:
    """Each kind does so, with a bias of its own or without."""
    model = toy(make(use_bias=use_bias), layers.BatchNormalization(), layers.ReLU(), shape=shape)
    fused = fuse_batch_norm(model)

    assert [] == norms_in(fused)
    assert fused.layers[1].use_bias
    assert_same_outputs(model, fused)


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("center", [False, True])
def test_batch_norm_without_scale_or_center_folds(scale, center, use_bias) -> None:
    """Gamma and beta may be missing."""
    norm = layers.BatchNormalization(scale=scale, center=center, epsilon=0.1)
    model = toy(layers.Conv2D(4, 3, use_bias=use_bias), norm)
    fused = fuse_batch_norm(model)

    assert [] == norms_in(fused)
    assert_same_outputs(model, fused)


@pytest.mark.parametrize("axis", [-1, 3])
def test_an_axis_counts_from_either_end(axis) -> None:
    """The last axis is the channels', by either number."""
    model = toy(layers.Conv2D(4, 3), layers.BatchNormalization(axis=axis))
    fused = fuse_batch_norm(model)

    assert [] == norms_in(fused)
    assert_same_outputs(model, fused)


def test_the_fold_is_calculated_in_float64() -> None:
    """A variance near zero and a large mean lose nothing but float32's rounding."""
    model = toy(layers.Dense(4), layers.BatchNormalization(epsilon=1e-7), shape=(5,))
    kernel, bias, gamma, beta, mean, variance = (w.astype("float64") for w in model.get_weights())
    mean, variance = mean + 1e3, variance * 1e-6
    model.set_weights([kernel, bias, gamma, beta, mean, variance])
    mean, variance = (w.astype("float64") for w in model.get_weights()[-2:])
    factor = gamma / np.sqrt(variance + 1e-7)

    dense = fuse_batch_norm(model).layers[1]
    np.testing.assert_array_equal((kernel * factor).astype("float32"), dense.get_weights()[0])
    expected = bias * factor + (beta - mean * factor)
    np.testing.assert_allclose(dense.get_weights()[1], expected, rtol=1e-7)


def test_no_layer_of_any_kind_is_shared() -> None:
    """Neither those that fold nor the others."""
    model = toy(layers.PReLU(), conv(), layers.BatchNormalization(), layers.Dense(4))
    fused = fuse_batch_norm(model)
    before = arrays(model, np.ones((1, 8, 8, 3)))[0]
    for weight in fused.weights:
        weight.assign(keras.ops.zeros_like(weight))

    assert set() == ids(leaf_layers(model)) & ids(leaf_layers(fused))
    np.testing.assert_array_equal(before, arrays(model, np.ones((1, 8, 8, 3)))[0])


class OwnNorm(layers.BatchNormalization):
    """A subclass may calculate anything."""

    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask) + 1


class OwnConv(layers.Conv2D):
    """A subclass may calculate anything."""

    def call(self, inputs):
        return keras.ops.square(super().call(inputs))


def twice(layer: Callable) -> Callable:
    return lambda x: layer(layer(x))


def conv(**options) -> layers.Conv2D:
    return layers.Conv2D(3, 3, padding="same", **options)


def used_twice(x):
    x = conv()(x)
    return layers.Add()([layers.BatchNormalization()(x), x])


def used_by_an_operation(x):
    x = conv()(x)
    return layers.BatchNormalization()(x) + keras.ops.negative(x)


def normalized_twice(x):
    x = conv()(x)
    return layers.Concatenate()([layers.BatchNormalization()(x), layers.BatchNormalization()(x)])


def convolution_of_two_inputs(x):
    shared = conv()
    return layers.Concatenate()([layers.BatchNormalization()(shared(x)), shared(-x)])


def norm_of_two_convolutions(x):
    shared = layers.BatchNormalization()
    return layers.Concatenate()([shared(conv()(x)), shared(conv()(x))])


def behind_a_concatenation(x):
    return layers.BatchNormalization()(layers.Concatenate()([conv()(x), conv()(x)]))


NORM = layers.BatchNormalization
# What leads from the input to the output, and how many BatchNorms there are.
UNFOLDED = {
    "an activation inside the convolution": lambda x: NORM()(conv(activation="relu")(x)),
    "an activation behind the convolution": lambda x: NORM()(layers.ReLU()(conv()(x))),
    "an operation between": lambda x: NORM()(conv()(x) + 1),
    "a dropout between": lambda x: NORM()(layers.Dropout(0.5)(conv()(x))),
    "the convolution's output is used twice": used_twice,
    "the convolution's output goes into an operation": used_by_an_operation,
    "the convolution's output is normalized twice": normalized_twice,
    "the convolution is called twice": convolution_of_two_inputs,
    "the convolution is called on its own output": lambda x: NORM()(twice(conv())(x)),
    "BatchNorm is called twice": norm_of_two_convolutions,
    "BatchNorm is called on its own output": lambda x: twice(NORM())(conv()(x)),
    "BatchNorm of rows": lambda x: NORM(axis=1)(conv()(x)),
    "BatchNorm of columns": lambda x: NORM(axis=-2)(conv()(x)),
    "behind a pool": lambda x: NORM()(layers.MaxPooling2D()(conv()(x))),
    "behind a concatenation": behind_a_concatenation,
    "behind the input": lambda x: conv()(NORM()(x)),
    "a subclass of BatchNormalization": lambda x: OwnNorm()(conv()(x)),
    "a subclass of Conv2D": lambda x: NORM()(OwnConv(3, 3)(x)),
    "another normalization": lambda x: layers.LayerNormalization()(conv()(x)),
}


@pytest.mark.parametrize("lead", UNFOLDED.values(), ids=UNFOLDED)
def test_what_is_no_fold_stays(lead) -> None:
    """Where BatchNorm can't be folded it stays, and outputs are the same."""
    model = toy(lead)
    fused = fuse_batch_norm(model)

    assert norms_in(model) == norms_in(fused)
    assert_same_outputs(model, fused, within=0)


def test_a_convolution_that_is_an_output_stays() -> None:
    """Its own values are asked for."""
    inputs = keras.Input((8, 8, 3))
    x = conv()(inputs)
    model = randomized(keras.Model(inputs, [x, layers.BatchNormalization(name="n")(x)]))
    fused = fuse_batch_norm(model)

    assert ["n"] == norms_in(fused)
    assert_same_outputs(model, fused, within=0)


def test_channels_first_stays() -> None:
    """The kernel's channels are the last axis, BatchNorm's are not."""
    convolution = layers.Conv2D(3, 3, data_format="channels_first")
    symbolic = toy(convolution, layers.BatchNormalization(axis=1, name="n"))
    rows = layers.Conv2D(3, 3, data_format="channels_first")
    odd = toy(rows, layers.BatchNormalization(name="n"), shape=(3, 5, 5))  # 3 channels, 3 columns

    assert ["n"] == norms_in(fuse_batch_norm(symbolic))
    assert ["n"] == norms_in(fuse_batch_norm(odd))


def test_the_log_names_the_layers_of_models_inside() -> None:
    """What stays is named wherever it is."""
    inner = keras.Sequential([conv(), layers.ReLU(), layers.BatchNormalization(name="deep")])
    model = toy(inner, layers.ReLU(), layers.BatchNormalization(name="flat"), name="outer")
    with logged() as messages:
        fuse_batch_norm(model)

    assert ["BatchNormalization that stays in outer: deep, flat"] == messages


# Graphs ----------------------------------------------------------------------------------------


def normalized(x, name: str | None = None):
    return layers.ReLU()(layers.BatchNormalization(name=name)(conv()(x)))


def small(name: str | None = None) -> keras.Model:
    """Return a network whose layers have the same names every time."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(3, 3, padding="same", name="conv")(inputs)
    x = layers.BatchNormalization(name="bn")(x)
    return keras.Model(inputs, layers.ReLU(name="relu")(x), name=name)


def in_a_model(x):
    return normalized(small("inner")(x))


def two_levels_deep(x):
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, normalized(small("inner")(inputs)), name="middle")(x)


def two_copies(x):
    first, second = small("first"), small("second")
    return layers.Add()([first(x), second(keras.ops.flip(x, axis=1))])


def siamese(x):
    shared = small("shared")
    return layers.Subtract()([shared(x), shared(keras.ops.flip(x, axis=1))])


def with_operations(x):
    return keras.ops.maximum(2 * normalized(keras.ops.flip(x, axis=-1)), 0.5) - 1


def several_heads(x):
    trunk = layers.GlobalAveragePooling2D()(normalized(x))
    return [
        layers.BatchNormalization()(layers.Dense(units, name=f"head{units}")(trunk))
        for units in (2, 3, 4)
    ]


def outputs_of_all_kinds(x):
    normal = layers.BatchNormalization()(conv()(x))
    return [normal, layers.ReLU()(normal), normal, x]


def called_with_an_argument(x):
    return layers.BatchNormalization()(conv()(x), training=False)


# What leads from the input to the output, all of whose BatchNorms fold.
FOLDED = {
    "a model inside": in_a_model,
    "models inside models": two_levels_deep,
    "two models with equal layer names": two_copies,
    "a model called twice": siamese,
    "operations": with_operations,
    "several heads": several_heads,
    "an argument of a call": called_with_an_argument,
    "an output used again, given twice, and an input": outputs_of_all_kinds,
    "BatchNorm as an output": lambda x: layers.BatchNormalization()(conv()(x)),
    "two folds in a row": lambda x: normalized(normalized(x)),
}


@pytest.mark.parametrize("lead", FOLDED.values(), ids=FOLDED)
def test_graphs_of_all_kinds_fold(lead) -> None:
    """Nothing is left, and outputs are the same."""
    model = toy(lead, name="toy")
    fused = fuse_batch_norm(model)

    assert [] == norms_in(fused)
    assert "toy" == fused.name
    assert_same_outputs(model, fused)


def test_the_first_of_two_batch_norms_folds() -> None:
    """The second has no convolution in front of it any more than before."""
    model = toy(conv(), layers.BatchNormalization(name="a"), layers.BatchNormalization(name="b"))
    fused = fuse_batch_norm(model)

    assert ["b"] == norms_in(fused)
    assert_same_outputs(model, fused)


def several_inputs() -> keras.Model:
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    both = layers.Concatenate()([normalized(left), normalized(right)])
    return keras.Model([left, right], [normalized(both), normalized(right)])


def several_by_name() -> keras.Model:
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    outputs = {"sum": normalized(left) + right, "own": normalized(right)}
    return keras.Model({"left": left, "right": right}, outputs)


@pytest.mark.parametrize("build", [several_inputs, several_by_name])
def test_several_inputs_and_outputs_keep_their_structure(build) -> None:
    """Lists stay lists, dicts stay dicts."""
    model = randomized(build())
    fused = fuse_batch_norm(model)

    assert [] == norms_in(fused)
    keras.tree.assert_same_structure(model.input, fused.input)
    keras.tree.assert_same_structure(model.output, fused.output)
    assert_same_outputs(model, fused)


@pytest.mark.parametrize("built_by", ["input", "build", "call"])
def test_a_sequential_model_folds(built_by) -> None:
    """It becomes a functional one of the same name."""
    steps = [conv(), layers.BatchNormalization(), layers.ReLU()]
    steps = [keras.Input((8, 8, 3)), *steps] if built_by == "input" else steps
    model = keras.Sequential(steps, name="row")
    if built_by == "build":
        model.build((None, 8, 8, 3))
    elif built_by == "call":
        model(np.zeros((1, 8, 8, 3)))
    fused = fuse_batch_norm(randomized(model))

    assert [] == norms_in(fused)
    assert "row" == fused.name
    assert_same_outputs(model, fused)


def test_a_functional_model_in_a_sequential_one_folds() -> None:
    """It is the common way to put a head on a backbone."""
    steps = [keras.Input((8, 8, 3)), small(), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    model = randomized(keras.Sequential(steps))
    fused = fuse_batch_norm(model)

    assert [] == norms_in(fused)
    assert_same_outputs(model, fused)


INSIDE = {
    "Sequential": lambda: keras.Sequential([conv(), layers.BatchNormalization()]),
    "Sequential with an input": lambda: keras.Sequential(
        [keras.Input((8, 8, 3)), conv(), layers.BatchNormalization()]
    ),
    "Sequential in Sequential": lambda: keras.Sequential(
        [keras.Sequential([conv(), layers.BatchNormalization()]), layers.ReLU()]
    ),
    "functional in Sequential": lambda: keras.Sequential([small(), layers.ReLU()]),
}


@pytest.mark.parametrize("build", INSIDE.values(), ids=INSIDE)
def test_a_sequential_model_inside_folds(build) -> None:
    """What is inside folds, and so does what is outside."""
    model = toy(build(), normalized)
    fused = fuse_batch_norm(model)

    assert [] == norms_in(fused)
    assert_same_outputs(model, fused)


def test_a_wrapped_model_gives_the_same_outputs() -> None:
    """TimeDistributed hides the graph of what it wraps."""
    model = toy(layers.TimeDistributed(small()), shape=(2, 8, 8, 3))

    assert_same_outputs(model, fuse_batch_norm(model), within=0)


def test_auxiliary_outputs_fold() -> None:
    """GoogLeNet's three heads come out in their order."""
    model = googlenet((80, 80, 3), 4, variant="batch_norm", aux_outputs=True)
    model = randomized(model)
    fused = fuse_batch_norm(model)

    assert [] == norms_in(fused)
    assert model.output_names == fused.output_names
    assert_same_outputs(model, fused, within=1e-3)


def test_mixed_precision_stays_and_outputs_are_near() -> None:
    """Each layer keeps its types; the fused network is no farther from float32's outputs."""
    exact = randomized(simple_cnn((16, 16, 3), 4, batch_norm=True, classifier_activation=None))
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = simple_cnn((16, 16, 3), 4, batch_norm=True, classifier_activation=None)
    finally:
        keras.config.set_dtype_policy(before)
    model.set_weights(exact.get_weights())
    fused = fuse_batch_norm(model)
    images = np.random.default_rng(3).normal(0, 1, (64, 16, 16, 3)).astype("float32")
    expected, mixed, folded = (arrays(net, images)[0] for net in (exact, model, fused))

    assert [] == norms_in(fused)
    assert "bfloat16" == fused.get_layer("block1_conv1").compute_dtype
    assert "float32" == fused.get_layer("predictions").compute_dtype
    assert np.abs(folded - expected).mean() <= 1.5 * np.abs(mixed - expected).mean()


# What it is for --------------------------------------------------------------------------------


def test_a_fused_model_can_be_saved(tmp_path) -> None:
    """The file opens and gives the same outputs bit for bit."""
    model = toy(two_copies, normalized)
    fused = fuse_batch_norm(model)
    fused.save(tmp_path / "fused.keras")
    opened = keras.saving.load_model(tmp_path / "fused.keras")

    assert [] == norms_in(opened)
    assert_same_outputs(fused, opened, within=0)


def test_a_fused_model_fuses_again() -> None:
    """There is nothing more to fold."""
    once = fuse_batch_norm(toy(normalized))
    again = fuse_batch_norm(once)

    assert_same_outputs(once, again, within=0)


def test_a_model_that_was_loaded_folds(tmp_path) -> None:
    """A file's model is as good as one just built."""
    model = toy(in_a_model)
    model.save(tmp_path / "model.keras")
    fused = fuse_batch_norm(keras.saving.load_model(tmp_path / "model.keras"))

    assert [] == norms_in(fused)
    assert_same_outputs(model, fused)


def test_layers_called_elsewhere_as_well_fold() -> None:
    """What another model does with the same layers is no matter of this one."""
    model = toy(layers.Conv2D(3, 3, name="conv"), layers.BatchNormalization(name="n"))
    other = model.get_layer("conv")(keras.Input((5, 5, 3)))
    model.get_layer("n")(layers.ReLU()(other))
    fused = fuse_batch_norm(model)

    assert [] == norms_in(fused)
    assert_same_outputs(model, fused)


class Written(keras.Model):
    """A model whose graph only its code knows."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = layers.BatchNormalization()

    def call(self, x):
        return self.norm(x)


def written() -> keras.Model:
    model = Written()
    model(np.zeros((1, 4)))
    return model


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (Written, "Written"),
        (written, "Written"),
        (lambda: keras.Sequential([layers.Conv2D(4, 3)]), "Sequential"),
        (lambda: layers.Dense(3), "Dense"),
        (lambda: "model.keras", "str"),
    ],
)
def test_a_model_without_a_graph_is_refused(build, name) -> None:
    """The error says which models have one, and what was received."""
    message = (
        r"`model` must be a functional model, or a Sequential one that is built, so that its graph "
        rf"can be read\. Received: {name}\."
    )
    with pytest.raises(TypeError, match=message):
        fuse_batch_norm(build())


def test_a_functional_model_of_a_class_of_its_own_folds() -> None:
    """A training step of one's own doesn't hide the graph."""

    class Own(keras.Model):
        def train_step(self, data):
            return {}

    inputs = keras.Input((8, 8, 3))
    model = randomized(Own(inputs, normalized(inputs)))
    fused = fuse_batch_norm(model)

    assert [] == norms_in(fused)
    assert_same_outputs(model, fused)


# Layers whose state is more than their weights -------------------------------------------------


def test_an_adapted_normalization_stays_adapted() -> None:
    """Normalization calculates with what it made of its weights, as EfficientNet's does."""
    normalization = layers.Normalization()
    normalization.adapt(np.random.default_rng(3).normal(5, 3, (64, 8, 8, 3)))
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, normalized(normalization(inputs)))

    assert_same_outputs(model, fuse_batch_norm(model))


def test_an_adapted_normalization_in_a_wrapped_model_stays_adapted() -> None:
    """TimeDistributed doesn't show what is in it."""
    normalization = layers.Normalization()
    normalization.adapt(np.random.default_rng(3).normal(5, 3, (64, 8, 8, 3)))
    inputs = keras.Input((8, 8, 3))
    wrapped = keras.Model(inputs, normalized(normalization(inputs)))
    videos = keras.Input((2, 8, 8, 3))
    model = keras.Model(videos, layers.TimeDistributed(wrapped)(videos))

    assert_same_outputs(model, fuse_batch_norm(model))


class Doubled(keras.Model):
    """A functional model that does more than its graph."""

    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


class DoubledRow(keras.Sequential):
    """A Sequential model that does more than its layers."""

    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


def doubled() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    return Doubled(inputs, normalized(inputs))


def doubled_row() -> keras.Model:
    return DoubledRow([keras.Input((8, 8, 3)), conv(), layers.BatchNormalization()])


@pytest.mark.parametrize("build", [doubled, doubled_row])
def test_a_model_that_does_more_than_its_graph_is_refused(build) -> None:
    """Its graph isn't what it calculates."""
    with pytest.raises(TypeError, match=rf"`model` must be .*Received: {type(build()).__name__}\."):
        fuse_batch_norm(build())


@pytest.mark.parametrize("build", [doubled, doubled_row])
def test_a_model_inside_that_does_more_than_its_graph_does_it_still(build) -> None:
    """It is copied as a layer of its own class, folded or not."""
    model = toy(build(), normalized)

    assert_same_outputs(model, fuse_batch_norm(model))


def own_loss(y_true, y_pred):
    return keras.ops.mean(keras.ops.square(y_true - y_pred))


@pytest.mark.parametrize("loss", ["mse", own_loss], ids=["by name", "own"])
@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
def test_a_compiled_model_folds_and_is_not_compiled(loss, inside) -> None:
    """Whatever the loss, it is left behind."""
    compiled = toy(normalized)
    compiled.compile("sgd", loss=loss)
    model = toy(compiled) if inside else compiled
    fused = fuse_batch_norm(model)

    assert [] == norms_in(fused)
    assert not fused.compiled
    assert_same_outputs(model, fused)


def convolution_inside_and_outside(x):
    shared, inputs = conv(), keras.Input((8, 8, 3))
    inner = keras.Model(inputs, layers.BatchNormalization()(shared(inputs)))
    return [inner(x), layers.ReLU()(shared(x))]


def convolution_in_two_models(x):
    shared, first, second = conv(), keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    inner = keras.Model(first, layers.BatchNormalization()(shared(first)))
    other = keras.Model(second, layers.BatchNormalization()(shared(second)))
    return [inner(x), other(x)]


def norm_in_two_models(x):
    shared, first, second = (
        layers.BatchNormalization(),
        keras.Input((8, 8, 3)),
        keras.Input((8, 8, 3)),
    )
    inner = keras.Model(first, shared(conv()(first)))
    other = keras.Model(second, shared(layers.ReLU()(second)))
    return [inner(x), other(x)]


def a_model_and_a_part_of_it(x):
    whole = small()
    part = keras.Model(whole.input, whole.get_layer("conv").output)
    return [whole(x), part(x)]


@pytest.mark.parametrize(
    "lead",
    [
        convolution_inside_and_outside,
        convolution_in_two_models,
        norm_in_two_models,
        a_model_and_a_part_of_it,
    ],
)
def test_layers_that_two_models_share_give_the_same_outputs(lead) -> None:
    """A layer that is used in two graphs of one model can't take up what only one of them has."""
    model = toy(lead)

    assert_same_outputs(model, fuse_batch_norm(model))


@pytest.mark.parametrize(
    ("layer", "shape"), [(layers.Dense(4), (5,)), (layers.Conv2D(4, 3), (8, 8, 3))]
)
def test_low_rank_adaptation_gives_the_same_outputs(layer, shape) -> None:
    """A layer with LoRA has more weights than a kernel and a bias."""
    model = toy(layer, layers.BatchNormalization(), shape=shape)
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(np.random.default_rng(4).normal(0, 1, layer.lora_kernel_b.shape))

    assert_same_outputs(model, fuse_batch_norm(model))


def test_a_quantized_layer_gives_the_same_outputs() -> None:
    """Its kernel is in int8, with a scale beside it."""
    dense = layers.Dense(4)
    model = toy(dense, layers.BatchNormalization(), shape=(5,))
    dense.quantize("int8")

    assert_same_outputs(model, fuse_batch_norm(model))
