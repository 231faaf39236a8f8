"""Scaling against float64 NumPy and Keras's own `preprocess_input`."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from keras.applications import imagenet_utils

from cnnkit.preprocess import scale, unscale
from cnnkit.preprocess._scaling import limits_of

MODES = ("tf", "torch", "caffe", "unit", "none")
COLORLESS_MODES = ("tf", "unit", "none")  # those that treat all channels alike
SHAPES = ((5, 7, 3), (2, 5, 7, 3), (1, 1, 3), (1, 6, 1, 3))
INTEGERS = (np.uint8, np.int16, np.int32, np.int64, np.uint16)
FLOATS = (np.float32, np.float64)


def reference(images, mode):
    """Scale in float64 by the published figures and round once, to float32."""
    values = np.asarray(images).astype(np.float64)
    match mode:
        case "tf":
            values = values / 127.5 - 1
        case "torch":
            values = (values / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        case "caffe":
            values = values[..., ::-1] - [103.939, 116.779, 123.68]
        case "unit":
            values = values / 255
    return values.astype(np.float32)


def every_value(channels=3):
    """Return an image `(256, 1, channels)` that holds every uint8 value in every channel."""
    return np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], channels, axis=2)


def view_of(name, rng):
    """Return uint8 pixels whose memory does not run in the order of their axes."""
    pixels = rng.integers(0, 256, (8, 10, 3), dtype=np.uint8)
    return {
        "every second row and column": pixels[::2, ::2],
        "mirrored": pixels[:, ::-1],
        "channels reversed": pixels[..., ::-1],
        "transposed": pixels.transpose(1, 0, 2),
        "Fortran order": np.asfortranarray(pixels),
        "three of four channels": rng.integers(0, 256, (4, 5, 4), dtype=np.uint8)[..., :3],
    }[name]


VIEWS = (
    "every second row and column",
    "mirrored",
    "channels reversed",
    "transposed",
    "Fortran order",
    "three of four channels",
)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_scale_of_integers_is_the_rounded_float64_result(rng, dtype, shape, mode):
    """Integer pixels scale to the float64 result rounded once."""
    images = rng.integers(0, 256, shape).astype(dtype)

    np.testing.assert_array_equal(reference(images, mode), scale(images, mode), strict=True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_scale_of_floats_is_the_rounded_float64_result(rng, dtype, shape, mode):
    """Float pixels, fractions too, scale to the float64 result rounded once."""
    images = rng.uniform(0, 255, shape).astype(dtype)

    np.testing.assert_array_equal(reference(images, mode), scale(images, mode), strict=True)


@pytest.mark.parametrize("mode", MODES)
def test_scale_is_right_for_every_value_of_a_byte(mode):
    """Each of the 256 values scales rightly in each channel."""
    images = every_value()

    np.testing.assert_array_equal(reference(images, mode), scale(images, mode), strict=True)


@pytest.mark.parametrize("mode", COLORLESS_MODES)
@pytest.mark.parametrize("channels", [1, 4])
def test_scale_takes_other_channels_where_all_are_alike(rng, channels, mode):
    """Images with one or four channels scale in the modes that treat all channels alike."""
    images = rng.integers(0, 256, (2, 5, 7, channels), dtype=np.uint8)

    np.testing.assert_array_equal(reference(images, mode), scale(images, mode), strict=True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("view", VIEWS)
def test_scale_takes_views(rng, view, mode):
    """The order of the pixels in memory makes no difference."""
    images = view_of(view, rng)

    np.testing.assert_array_equal(reference(images, mode), scale(images, mode), strict=True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_scale_takes_read_only_arrays(rng, dtype, mode):
    """An array that can't be written to scales as any other."""
    images = rng.integers(0, 256, (5, 7, 3)).astype(dtype)
    images.flags.writeable = False

    np.testing.assert_array_equal(reference(images, mode), scale(images, mode), strict=True)


@pytest.mark.parametrize("mode", MODES)
def test_scale_takes_nested_lists(mode):
    """Nested lists are converted to arrays."""
    image = [[[0, 128, 255], [3, 2, 1]]]

    np.testing.assert_array_equal(reference(image, mode), scale(image, mode), strict=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_scale_takes_an_empty_batch(dtype):
    """A batch of no images stays a batch of no images."""
    images = np.zeros((0, 4, 5, 3), dtype)

    np.testing.assert_array_equal(
        np.zeros((0, 4, 5, 3), np.float32), scale(images, "tf"), strict=True
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
def test_scale_does_not_change_its_input(rng, dtype, mode):
    """The pixels that are handed in stay as they are."""
    images = rng.integers(0, 256, (2, 5, 7, 3)).astype(dtype)
    before = images.copy()
    scale(images, mode)

    np.testing.assert_array_equal(before, images, strict=True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_scale_shares_no_memory_with_its_input(rng, dtype, mode):
    """Writing to the result can't reach the pixels, not even in mode 'none'."""
    images = rng.integers(0, 256, (5, 7, 3)).astype(dtype)

    assert not np.shares_memory(images, scale(images, mode))


@pytest.mark.parametrize("mode", MODES)
def test_results_of_scale_share_no_memory(mode):
    """Writing to one result leaves the next call's alone."""
    images = every_value()
    scale(images, mode)[:] = -7

    np.testing.assert_array_equal(reference(images, mode), scale(images, mode), strict=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(("mode", "tolerance"), [("tf", 1e-6), ("torch", 1e-6), ("caffe", 2e-5)])
def test_scale_agrees_with_keras(rng, mode, tolerance, dtype):
    """The modes that Keras has give Keras's values."""
    images = rng.integers(0, 256, (2, 32, 33, 3)).astype(dtype)
    expected = imagenet_utils.preprocess_input(images.copy(), mode=mode)

    np.testing.assert_allclose(expected, scale(images, mode), rtol=0, atol=tolerance)


def test_default_mode_is_tf(rng):
    """Without a mode, pixels go to -1..1."""
    images = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)

    np.testing.assert_array_equal(reference(images, "tf"), scale(images), strict=True)


@pytest.mark.parametrize("mode", MODES)
def test_unscale_inverts_every_value_of_a_byte(mode):
    """Each of the 256 values comes back in each channel."""
    images = every_value()

    np.testing.assert_array_equal(images, unscale(scale(images, mode), mode), strict=True)


@settings(deadline=None, database=None)
@given(
    images=st.one_of(st.just(3), st.just(4)).flatmap(
        lambda dimensions: arrays(
            np.uint8, st.tuples(*[st.integers(1, 6)] * (dimensions - 1), st.just(3))
        )
    ),
    mode=st.sampled_from(MODES),
)
def test_unscale_inverts_scale_of_any_color_image(images, mode):
    """Any uint8 image or batch comes back from any mode."""
    np.testing.assert_array_equal(images, unscale(scale(images, mode), mode), strict=True)


@settings(deadline=None, database=None)
@given(
    images=arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(1))),
    mode=st.sampled_from(COLORLESS_MODES),
)
def test_unscale_inverts_scale_of_any_gray_image(images, mode):
    """Any grayscale image comes back from the modes that take it."""
    np.testing.assert_array_equal(images, unscale(scale(images, mode), mode), strict=True)


def test_unscale_rounds_to_the_nearest():
    """Values between two whole numbers go to the nearer one."""
    values = np.array([[[0.4, 0.6, 254.6]]], np.float32)

    np.testing.assert_array_equal([[[0, 1, 255]]], unscale(values, "none"))


def test_unscale_clips():
    """What lies outside 0..255 goes to the nearest end instead of wrapping round."""
    values = np.array([[[-1.5, 0.0, 1.5]]], np.float32)

    np.testing.assert_array_equal([[[0, 128, 255]]], unscale(values, "tf"))


@pytest.mark.parametrize("mode", MODES)
def test_unscale_does_not_change_its_input(rng, mode):
    """The scaled values stay as they are."""
    values = rng.normal(size=(5, 7, 3))
    before = values.copy()
    unscale(values, mode)

    np.testing.assert_array_equal(before, values, strict=True)


def test_unscale_shares_no_memory_with_its_input(rng):
    """Even pixels that were never scaled are copied."""
    images = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)

    assert not np.shares_memory(images, unscale(images, "none"))


@pytest.mark.parametrize("function", [scale, unscale])
def test_unknown_mode_is_an_error(function):
    """The error for a mistyped mode lists all modes and suggests the nearest one."""
    message = (
        r"^`mode` must be one of 'tf', 'torch', 'caffe', 'unit' or 'none'\. "
        r"Received: mode='cafe'\. Did you mean 'caffe'\?$"
    )

    with pytest.raises(ValueError, match=message):
        function(np.zeros((2, 2, 3), np.uint8), mode="cafe")


@pytest.mark.parametrize("function", [scale, unscale])
@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 2), (4, 4, 5), (2, 2, 4, 4, 3), (3,), ()])
def test_wrong_shape_is_an_error(function, shape):
    """Images need height, width and 1, 3 or 4 channels."""
    message = (
        r"`images` must have the shape \(height, width, channels\) or \(batch, height, width, "
        r"channels\) with 1, 3 or 4 channels\. Received: shape=.*\. Add a missing axis with np\.exp"
    )

    with pytest.raises(ValueError, match=message):
        function(np.zeros(shape, np.uint8), mode="tf")


@pytest.mark.parametrize("function", [scale, unscale])
@pytest.mark.parametrize("mode", ["torch", "caffe"])
@pytest.mark.parametrize("channels", [1, 4])
def test_color_modes_refuse_other_channels(function, mode, channels):
    """A mode with figures for red, green and blue needs all three and nothing else."""
    message = (
        rf"`mode='{mode}'` scales each of three RGB channels by its own figures\. Received: "
        rf"images with {channels} channel\(s\)\. Repeat a grayscale image three times "
        r"\(`to_grayscale\(image, keep_channels=True\)`\), or use mode='tf' or 'unit'\.$"
    )

    with pytest.raises(ValueError, match=message):
        function(np.zeros((4, 4, channels), np.uint8), mode=mode)


def test_advice_of_the_color_modes_works(rng):
    """A grayscale image repeated as the error advises scales."""
    from cnnkit.preprocess import to_grayscale

    gray = to_grayscale(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8), keep_channels=True)

    np.testing.assert_array_equal(reference(gray, "torch"), scale(gray, "torch"), strict=True)


def test_import_loads_no_framework():
    """Importing `cnnkit.preprocess` loads NumPy and OpenCV and nothing heavier."""
    heavy = {"tensorflow", "keras", "pandas", "matplotlib", "sklearn", "albumentations"}
    code = "import sys, cnnkit.preprocess; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )

    assert set() == heavy & set(result.stdout.split())


@pytest.mark.parametrize("mode", ["unit", "tf", "torch", "caffe"])
@pytest.mark.parametrize(
    ("pixels", "told"),
    [
        (np.linspace(0, 1, 48, dtype="float32"), r"0\.\.1"),
        (np.linspace(0, 0.25, 48), r"0\.\.0\.25"),
        (np.linspace(-1, 1, 48), r"-1\.\.1"),
        (np.linspace(-123.7, 151.1, 48), r"-124\.\.151"),
    ],
)
def test_floats_that_are_scaled_already_are_warned_of(pixels, told, mode) -> None:
    """They would be scaled twice; the warning names the range."""
    with pytest.warns(UserWarning, match=rf"^`images` should be pixels .* lie in {told}: "):
        scale(pixels.reshape(4, 4, 3), mode)


def test_the_warning_names_the_callers_line() -> None:
    """Not a line of the library; apart from the test above, for `nox -s mutants`."""
    with pytest.warns(UserWarning, match="`images` should be pixels") as seen:
        scale(np.linspace(0, 1, 48).reshape(4, 4, 3), "tf")

    assert __file__ == seen[0].filename


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros(48),
        np.tile([0.0, 1.0], 24),
        np.linspace(0, 1.1, 48),
        np.linspace(0, 255, 48),
        np.ones(48, dtype=np.uint8),
    ],
)
def test_pixels_are_not_warned_of(pixels) -> None:
    """Black, two darkest levels, and what exceeds 1 can be raw (warnings are errors here)."""
    assert (4, 4, 3) == scale(pixels.reshape(4, 4, 3), "tf").shape


def test_mode_none_takes_what_is_scaled() -> None:
    """Mode 'none' never scales, so it never warns."""
    np.testing.assert_array_equal(np.full((2, 2, 3), 0.5), scale(np.full((2, 2, 3), 0.5), "none"))


@pytest.mark.parametrize("mode", ["tf", "none"])
def test_not_a_number_is_refused(mode) -> None:
    """It would spread through the network."""
    pixels = np.full((4, 4, 3), 7.0)
    pixels[1, 2, 0] = np.nan
    with pytest.raises(ValueError, match=r"^`images` must be numbers\. Received: NaN\."):
        scale(pixels, mode)


@pytest.mark.parametrize("mode", MODES)
def test_limits_are_what_black_and_white_become(mode) -> None:
    """In each channel of the image, in the order in which it is scaled."""
    pixels = np.array([[[0, 0, 0]], [[255, 255, 255]]])

    np.testing.assert_allclose(limits_of(mode, 3), reference(pixels, mode)[:, 0], rtol=1e-6)


@pytest.mark.parametrize("mode", COLORLESS_MODES)
def test_limits_of_one_channel(mode) -> None:
    """As many columns as the image has channels."""
    expected = {"tf": [-1, 1], "unit": [0, 1], "none": [0, 255]}[mode]

    assert np.transpose([expected]).tolist() == limits_of(mode, 1).tolist()


def test_limits_of_a_mode_that_needs_colors() -> None:
    """A grayscale image cannot be scaled in such a mode."""
    with pytest.raises(ValueError, match=r"Received: images with 1 channel\(s\)"):
        limits_of("torch", 1)


@pytest.mark.parametrize("function", [scale, unscale])
def test_the_mode_is_tf_unless_told(function) -> None:
    """`scale` and `unscale` have the same default mode."""
    image = np.linspace(-1, 1, 12).reshape(2, 2, 3) if function is unscale else every_value()

    np.testing.assert_array_equal(function(image, "tf"), function(image))
