"""Min pooling against the smallest value of every window, computed with NumPy."""

import itertools
import math
import sys

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cnnkit.models import min_pooling

VALUES = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)  # TensorFlow makes these 0


def smallest(image: np.ndarray, size: tuple, strides: tuple, padding: str) -> np.ndarray:
    """Pool `(batch, height, width, channels)` window by window."""
    lengths, starts = [], []
    for side, window, step in zip(image.shape[1:3], size, strides, strict=True):
        length = math.ceil((side if padding == "same" else side - window + 1) / step)
        outside = max((length - 1) * step + window - side, 0) if padding == "same" else 0
        lengths.append(length)
        starts.append([place * step - outside // 2 for place in range(length)])
    pooled = np.empty((len(image), *lengths, image.shape[3]))
    for (row, top), (column, left) in itertools.product(*map(enumerate, starts)):
        rows = slice(max(top, 0), top + size[0])
        columns = slice(max(left, 0), left + size[1])
        pooled[:, row, column] = image[:, rows, columns].min(axis=(1, 2))
    return pooled


@st.composite
def poolings(draw) -> tuple[np.ndarray, dict]:
    """Draw feature maps and arguments of the pooling."""
    size = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    strides = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = draw(st.sampled_from(["valid", "same"]))
    least = size if padding == "valid" else (1, 1)
    sides = [draw(st.integers(low, 9)) for low in least]
    shape = (draw(st.integers(1, 3)), *sides, draw(st.integers(1, 4)))
    options = {"pool_size": size, "strides": strides, "padding": padding}
    return draw(arrays(np.float32, shape, elements=VALUES)), options


@settings(max_examples=300, deadline=None)
@given(poolings())
def test_each_output_is_the_smallest_value_of_its_window(drawn) -> None:
    """For all shapes, windows, strides and both paddings, exactly."""
    image, options = drawn
    expected = smallest(image.astype(np.float64), *options.values())

    np.testing.assert_array_equal(expected, min_pooling(image, **options))


@pytest.mark.parametrize(
    ("options", "full"),
    [
        ({}, ((2, 2), (2, 2), "valid")),
        ({"pool_size": 3}, ((3, 3), (3, 3), "valid")),
        ({"pool_size": (1, 3)}, ((1, 3), (1, 3), "valid")),
        ({"pool_size": [2, 3], "strides": 1}, ((2, 3), (1, 1), "valid")),
        ({"strides": (2, 1), "padding": "same"}, ((2, 2), (2, 1), "same")),
    ],
)
def test_defaults_are_those_of_max_pooling(options, full, rng) -> None:
    """One number stands for both sides, and the step is the window unless given."""
    image = rng.standard_normal((2, 7, 8, 3)).astype("float32")

    np.testing.assert_array_equal(smallest(image, *full), min_pooling(image, **options))


def test_outside_the_image_nothing_is_smallest() -> None:
    """With "same" padding the edge of a bright image stays bright."""
    image = np.full((1, 5, 5, 1), 7.0, "float32")

    assert [7] == np.unique(min_pooling(image, 3, strides=2, padding="same"))


def test_a_graph_has_the_shape_and_the_values(rng) -> None:
    """A functional model gives the same values, for any height and width."""
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, min_pooling(inputs, 3, strides=2, padding="same"))
    image = rng.standard_normal((2, 7, 10, 3)).astype("float32")

    assert (None, None, None, 3) == model.output_shape
    assert (None, 4, 5, 8) == min_pooling(keras.Input((8, 10, 8))).shape
    expected = smallest(image, (3, 3), (2, 2), "same")
    np.testing.assert_array_equal(expected, model(image))


def test_a_model_opens_with_keras_alone(tmp_path, monkeypatch, rng) -> None:
    """A file with min pooling needs no cnnkit; test_contract.py checks it in a separate process."""
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, min_pooling(inputs, 3, strides=1, padding="same", name="darkest"))
    model.save(tmp_path / "model.keras")
    for name in [name for name in sys.modules if name.split(".")[0] == "cnnkit"]:
        monkeypatch.setitem(sys.modules, name, None)  # an import of it would fail
    opened = keras.saving.load_model(tmp_path / "model.keras")
    image = rng.standard_normal((2, 8, 8, 3)).astype("float32")

    np.testing.assert_array_equal(
        smallest(image, (3, 3), (1, 1), "same"), opened.predict_on_batch(image)
    )


def test_the_name_is_that_of_the_pooling_layer() -> None:
    """The layer is found by the given name and has the given settings."""
    inputs = keras.Input((8, 8, 3))
    layer = keras.Model(inputs, min_pooling(inputs, 3, name="darkest")).get_layer("darkest")

    assert keras.layers.MaxPooling2D is type(layer)
    assert (3, 3) == layer.pool_size


def test_two_without_names_stand_in_one_model() -> None:
    """Keras numbers them."""
    inputs = keras.Input((8, 8, 3))
    names = [layer.name for layer in keras.Model(inputs, min_pooling(min_pooling(inputs))).layers]

    assert 3 == len(set(names))


def test_the_gradient_goes_to_the_smallest_value(rng) -> None:
    """It trains: the smallest value of a window moves its output, the others don't."""
    import tensorflow as tf

    image = tf.constant(rng.standard_normal((1, 4, 4, 2)), "float32")
    with tf.GradientTape() as tape:
        tape.watch(image)
        total = keras.ops.sum(min_pooling(image))
    repeated = np.repeat(np.repeat(min_pooling(image), 2, axis=1), 2, axis=2)

    np.testing.assert_array_equal(repeated == image, tape.gradient(total, image))


@pytest.mark.parametrize("shape", [(8,), (8, 8), (4, 8, 8, 3)])
def test_other_ranks_are_refused(shape) -> None:
    """The error says what the axes are, and what was received."""
    message = (
        r"`x` must hold feature maps \(batch, height, width, channels\)\. Received: a tensor of "
        rf"shape \(None, {shape[0]}"
    )
    with pytest.raises(ValueError, match=message):
        min_pooling(keras.Input(shape))
