"""Which layers take up BatchNorm, and where it stays."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers

from cnnkit.models import fuse_batch_norm
from cnnkit.models._fusing import _KERNELS
from cnnkit._keras.graph import leaf_layers

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


def test_every_kind_that_takes_up_batch_norm_is_tested() -> None:
    """The table here and the library's name the same layers."""
    assert {kind.__name__ for kind in _KERNELS} == {name.split()[0].strip(",") for name in KINDS}


@every_kind
@pytest.mark.parametrize("use_bias", [False, True])
def test_a_layer_takes_up_batch_norm(
    make, shape, use_bias, toy, assert_same_outputs, norms_in
) -> None:
    """Each kind does so, with a bias of its own or without."""
    model = toy(make(use_bias=use_bias), layers.BatchNormalization(), layers.ReLU(), shape=shape)
    fused = fuse_batch_norm(model)

    assert [] == norms_in(fused)
    assert fused.layers[1].use_bias
    assert_same_outputs(model, fused)


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("center", [False, True])
def test_batch_norm_without_scale_or_center_folds(
    scale, center, use_bias, toy, assert_same_outputs, norms_in
) -> None:
    """Gamma and beta may be missing."""
    norm = layers.BatchNormalization(scale=scale, center=center, epsilon=0.1)
    model = toy(layers.Conv2D(4, 3, use_bias=use_bias), norm)
    fused = fuse_batch_norm(model)

    assert [] == norms_in(fused)
    assert_same_outputs(model, fused)


@pytest.mark.parametrize("axis", [-1, 3])
def test_an_axis_counts_from_either_end(axis, toy, assert_same_outputs, norms_in) -> None:
    """Both numbers of the last axis mean the channels."""
    model = toy(layers.Conv2D(4, 3), layers.BatchNormalization(axis=axis))
    fused = fuse_batch_norm(model)

    assert [] == norms_in(fused)
    assert_same_outputs(model, fused)


def test_the_fold_is_calculated_in_float64(toy) -> None:
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


def test_no_layer_of_any_kind_is_shared(toy, arrays, ids) -> None:
    """The copy has new layers, folded or not."""
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
def test_what_is_no_fold_stays(lead, toy, assert_same_outputs, norms_in) -> None:
    """Where BatchNorm can't be folded it stays, and outputs are the same."""
    model = toy(lead)
    fused = fuse_batch_norm(model)

    assert norms_in(model) == norms_in(fused)
    assert_same_outputs(model, fused, within=0)


def test_a_convolution_that_is_an_output_stays(randomized, assert_same_outputs, norms_in) -> None:
    """The output of the convolution itself is needed."""
    inputs = keras.Input((8, 8, 3))
    x = conv()(inputs)
    model = randomized(keras.Model(inputs, [x, layers.BatchNormalization(name="n")(x)]))
    fused = fuse_batch_norm(model)

    assert ["n"] == norms_in(fused)
    assert_same_outputs(model, fused, within=0)


def test_channels_first_stays(toy, norms_in) -> None:
    """The kernel's channels are the last axis, BatchNorm's are not."""
    convolution = layers.Conv2D(3, 3, data_format="channels_first")
    symbolic = toy(convolution, layers.BatchNormalization(axis=1, name="n"))
    rows = layers.Conv2D(3, 3, data_format="channels_first")
    odd = toy(rows, layers.BatchNormalization(name="n"), shape=(3, 5, 5))  # 3 channels, 3 columns

    assert ["n"] == norms_in(fuse_batch_norm(symbolic))
    assert ["n"] == norms_in(fuse_batch_norm(odd))


def test_the_log_names_the_layers_of_models_inside(toy, logged) -> None:
    """What stays is named wherever it is."""
    inner = keras.Sequential([conv(), layers.ReLU(), layers.BatchNormalization(name="deep")])
    model = toy(inner, layers.ReLU(), layers.BatchNormalization(name="flat"), name="outer")
    with logged() as messages:
        fuse_batch_norm(model)

    assert ["BatchNormalization kept in outer: deep, flat"] == messages
