"""Grayscale against OpenCV and float64 NumPy."""

import cv2
import numpy as np
import pytest

from cnnkit.preprocess import to_grayscale

METHODS = ("luminance", "mean")
DTYPES = (np.uint8, np.int16, np.int64, np.float32, np.float64)


@pytest.fixture
def photo(rng):
    return rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)


def test_luminance_agrees_with_opencv(photo):
    """Luminance equals that of OpenCV up to 1, because OpenCV uses fixed-point arithmetic."""
    expected = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(int)

    assert np.abs(expected - to_grayscale(photo)[..., 0]).max() <= 1


def test_luminance_of_floats_agrees_with_opencv(photo):
    """Floats get OpenCV's weights and are not rounded."""
    values = photo.astype(np.float32) / 255
    expected = cv2.cvtColor(values, cv2.COLOR_RGB2GRAY)

    np.testing.assert_allclose(expected, to_grayscale(values)[..., 0], rtol=0, atol=1e-6)


def test_luminance_is_the_default(photo):
    """The default method is luminance."""
    np.testing.assert_array_equal(to_grayscale(photo, method="luminance"), to_grayscale(photo))


def test_mean_of_integers_is_the_rounded_mean(photo):
    """The mean of integers is the float64 mean, rounded to the nearest."""
    expected = np.rint(photo.astype(np.float64).mean(axis=-1, keepdims=True)).astype(np.uint8)

    np.testing.assert_array_equal(expected, to_grayscale(photo, method="mean"), strict=True)


def test_mean_of_floats_is_the_mean(rng):
    """The mean of floats is not rounded."""
    values = rng.normal(size=(4, 5, 3))
    expected = values.mean(axis=-1, keepdims=True)

    np.testing.assert_allclose(expected, to_grayscale(values, method="mean"), rtol=0, atol=1e-15)


@pytest.mark.parametrize("method", METHODS)
def test_gray_stays_gray(method):
    """Where the channels are equal, the result is their value, for all 256 of them."""
    gray = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)

    np.testing.assert_array_equal(gray[..., :1], to_grayscale(gray, method=method), strict=True)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtype_is_kept(photo, dtype, method):
    """The result has the dtype of the input."""
    assert dtype == to_grayscale(photo.astype(dtype), method=method).dtype


@pytest.mark.parametrize("method", METHODS)
def test_one_channel_is_left(photo, method):
    """By default a single channel is left, as an axis of length 1."""
    assert (40, 50, 1) == to_grayscale(photo, method=method).shape


@pytest.mark.parametrize("method", METHODS)
def test_keep_channels_repeats_the_gray(photo, method):
    """With `keep_channels` the gray value is repeated three times."""
    expected = np.concatenate([to_grayscale(photo, method=method)] * 3, axis=-1)

    np.testing.assert_array_equal(
        expected, to_grayscale(photo, method=method, keep_channels=True), strict=True
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("keep_channels", [False, True])
def test_batch_is_its_images_one_by_one(rng, method, keep_channels):
    """A batch gives what its images give one by one."""
    batch = rng.integers(0, 256, (3, 5, 7, 3), dtype=np.uint8)
    options = {"method": method, "keep_channels": keep_channels}
    expected = np.stack([to_grayscale(image, **options) for image in batch])

    np.testing.assert_array_equal(expected, to_grayscale(batch, **options), strict=True)


@pytest.mark.parametrize("keep_channels", [False, True])
def test_input_does_not_change(photo, keep_channels):
    """The given image is not changed and may be read-only."""
    before = photo.copy()
    photo.flags.writeable = False
    to_grayscale(photo, keep_channels=keep_channels)

    np.testing.assert_array_equal(before, photo, strict=True)


@pytest.mark.parametrize("keep_channels", [False, True])
def test_result_shares_no_memory(photo, keep_channels):
    """Writing to the result can't reach the input."""
    assert not np.shares_memory(photo, to_grayscale(photo, keep_channels=keep_channels))


def test_kept_channels_can_be_written_to_one_by_one(photo):
    """The three equal channels are copies, not views of one."""
    result = to_grayscale(photo, keep_channels=True)
    result[..., 0] = 0

    np.testing.assert_array_equal(to_grayscale(photo)[..., 0], result[..., 1])


def test_unknown_method_is_an_error(photo):
    """The error for a mistyped method lists both methods and suggests the nearer one."""
    message = (
        r"^`method` must be one of 'luminance' or 'mean'\. Received: method='luma'\. "
        r"Did you mean 'luminance'\?$"
    )

    with pytest.raises(ValueError, match=message):
        to_grayscale(photo, method="luma")


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1), (4, 4, 4), (2, 2, 4, 4, 3)])
def test_images_without_three_channels_are_an_error(shape):
    """Only RGB images can be converted."""
    message = (
        r"^`images` must be RGB, \(height, width, 3\) or \(batch, height, width, 3\)\. "
        r"Received: shape=.*\.$"
    )

    with pytest.raises(ValueError, match=message):
        to_grayscale(np.zeros(shape, np.uint8))
