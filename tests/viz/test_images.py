"""The grids of `show_images`, read from matplotlib."""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cnnkit.exceptions import ImageReadError
from cnnkit.preprocess import scale
from cnnkit.viz import show_images

MODES = ("tf", "torch", "caffe", "unit", "none")


def pixels(ax):
    """Return what a panel shows."""
    (picture,) = ax.images
    return np.asarray(picture.get_array())


def shown(axes):
    return [pixels(ax) for ax in axes]


def visible(panel):
    """Tell whether the frame of a panel is drawn."""
    return panel.axison


def test_batch_is_shown_image_by_image(batch):
    """Each image of a batch has a panel with its pixels."""
    np.testing.assert_array_equal(batch, shown(show_images(batch)))


def test_images_may_differ_in_size(rng):
    """A list may hold images of several sizes."""
    images = [rng.integers(0, 256, (side, 5, 3), dtype=np.uint8) for side in (3, 7)]

    first, second = shown(show_images(images))
    np.testing.assert_array_equal(images[0], first)
    np.testing.assert_array_equal(images[1], second)


def test_images_may_come_from_a_generator(batch):
    """Images are read once, in order."""
    np.testing.assert_array_equal(batch, shown(show_images(picture for picture in batch)))


@pytest.mark.parametrize("as_string", [False, True])
def test_paths_are_read(tmp_path, batch, as_string):
    """A path shows the image in its file."""
    path = tmp_path / "image.png"
    Image.fromarray(batch[0]).save(path)

    np.testing.assert_array_equal(
        batch[0], pixels(show_images([str(path) if as_string else path])[0])
    )


def test_paths_and_arrays_may_be_mixed(tmp_path, batch):
    """Files and arrays may be mixed, even with a mode for the arrays."""
    path = tmp_path / "image.png"
    Image.fromarray(batch[0]).save(path)
    axes = show_images([path, scale(batch[1], "tf")], mode="tf")

    np.testing.assert_array_equal(batch[:2], shown(axes))


@pytest.mark.parametrize("mode", MODES)
def test_scaling_is_undone(batch, mode):
    """Images scaled in any mode are shown as they were."""
    np.testing.assert_array_equal(
        batch[:2], shown(show_images(list(scale(batch[:2], mode)), mode=mode))
    )


def test_scaling_of_a_batch_is_undone(batch):
    """A batch is unscaled like a list."""
    np.testing.assert_array_equal(batch, shown(show_images(scale(batch, "torch"), mode="torch")))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_other_types_in_0_to_255_are_shown_as_they_are(batch, dtype):
    """Pixels in 0..255 need not be bytes."""
    np.testing.assert_array_equal(batch[:1], shown(show_images(batch[:1].astype(dtype))))


def test_fractions_are_rounded():
    """Fractions are rounded to the nearest whole number, as in `unscale`."""
    axes = show_images([np.full((2, 2, 3), 41.6)])

    np.testing.assert_array_equal(np.full((2, 2, 3), 42), pixels(axes[0]))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_black_images_are_shown(dtype):
    """An image of zeros is black, not an image in an unknown scaling."""
    axes = show_images([np.zeros((2, 2, 3), dtype)])

    np.testing.assert_array_equal(np.zeros((2, 2, 3)), pixels(axes[0]))


@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 1)])
def test_grayscale_is_shown(rng, shape):
    """Images without colors need no axis for channels."""
    gray = rng.integers(0, 256, shape, dtype=np.uint8)

    np.testing.assert_array_equal(gray.reshape(6, 8), pixels(show_images([gray])[0]))


@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 1)])
def test_scaling_of_grayscale_is_undone(rng, shape):
    """Grayscale images with and without an axis for channels can be unscaled."""
    gray = rng.integers(0, 256, shape, dtype=np.uint8)
    scaled = gray.astype(np.float32) / 255

    np.testing.assert_array_equal(gray.reshape(6, 8), pixels(show_images([scaled], mode="unit")[0]))


def test_grayscale_is_gray_and_not_stretched(rng):
    """A dim grayscale image stays dim: black is 0 and white is 255."""
    (ax,) = show_images([rng.integers(100, 110, (6, 8), dtype=np.uint8)])
    (picture,) = ax.images

    assert ("gray", (0, 255)) == (picture.get_cmap().name, picture.get_clim())


def test_titles_are_shown(batch):
    """Each image has its title, which may be any object."""
    axes = show_images(batch[:3], titles=["cat", 7, None])

    assert ["cat", "7", "None"] == [ax.get_title() for ax in axes]


def test_titles_may_come_from_a_generator(batch):
    """Titles are read once, in order."""
    axes = show_images(batch[:2], titles=(name for name in ("cat", "dog")))

    assert ["cat", "dog"] == [ax.get_title() for ax in axes]


def test_without_titles_there_are_none(batch):
    """By default no title is written."""
    assert [""] * 5 == [ax.get_title() for ax in show_images(batch)]


def test_frames_are_off(batch):
    """Images have no ticks and no frames, and left-over panels are empty."""
    show_images(batch)

    assert 6 == len(plt.gcf().axes)
    assert not any(map(visible, plt.gcf().axes))


def test_of_many_images_the_first_64_are_shown():
    """There are eight per row, and a note gives the number of images."""
    axes = show_images(np.zeros((65, 2, 2, 3), np.uint8))

    assert 64 == len(axes)
    assert (8, 8) == axes[0].get_subplotspec().get_gridspec().get_geometry()
    assert "the first 64 of 65 images" == axes[0].figure.get_supxlabel()


@pytest.mark.parametrize(
    ("expected", "count", "columns"),
    [
        ((1, 1), 1, None),
        ((1, 2), 2, None),
        ((2, 3), 5, None),
        ((3, 3), 9, None),
        ((3, 4), 12, None),
        ((1, 5), 5, 5),
        ((5, 1), 5, 1),
        ((2, 4), 5, 4),
    ],
)
def test_grid(expected, count, columns):
    """The grid is as wide as asked for, or about square."""
    axes = show_images(np.zeros((count, 2, 2, 3), np.uint8), columns=columns)

    assert expected == axes[0].get_subplotspec().get_gridspec().get_geometry()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_are_not_changed(batch, dtype):
    """The pixels that are handed in stay as they are."""
    images = batch[:1].astype(dtype)
    before = images.copy()
    show_images(images)

    np.testing.assert_array_equal(before, images, strict=True)


def test_no_images_are_an_error():
    """There must be something to show."""
    with pytest.raises(ValueError, match=r"^`images` must hold at least one image\. Received: no"):
        show_images([])


@pytest.mark.parametrize("titles", [[], ["a"], ["a"] * 6, "abcde"])
def test_other_numbers_of_titles_are_errors(batch, titles):
    """There must be one title per image."""
    message = r"^`titles` must be a list .* each image\. Received: 5 images and titles="

    with pytest.raises(ValueError, match=message):
        show_images(batch, titles)


@pytest.mark.parametrize("mode", ["tf", "torch", "caffe", "unit"])
def test_scaled_images_without_a_mode_are_errors(batch, mode):
    """Scaled pixels are not shown wrongly: the error asks for the mode."""
    message = (
        r"^`images` must be pixels in 0\.\.255, unless `mode` gives their scaling\. Received: "
        r"values from .* to .*\. Pass the mode of .*mode='tf'\.$"
    )

    with pytest.raises(ValueError, match=message):
        show_images(scale(batch, mode))


def test_wide_integers_are_errors(batch):
    """16-bit pixels are not clipped at 255."""
    with pytest.raises(ValueError, match=r"Received: values from .* to 6\d{4}\. Divide 16-b"):
        show_images(batch.astype(np.uint16) * 257)


def test_unknown_mode_is_an_error(batch):
    """The error lists all modes."""
    with pytest.raises(ValueError, match=r"`mode` must be one of 'tf', .* Received: mode='tff'\."):
        show_images(batch, mode="tff")


def test_missing_files_are_errors(tmp_path):
    """A file that can't be read is named."""
    with pytest.raises(ImageReadError, match=r"missing\.png"):
        show_images([tmp_path / "missing.png"])


def test_too_few_axes_are_an_error(batch):
    """The error says how many panels there must be."""
    _, given = plt.subplots(1, 2)

    with pytest.raises(ValueError, match=r"^`axes` must hold 5 panels\. Received: 2\."):
        show_images(batch, axes=given)


def test_nothing_is_drawn_before_an_error(batch):
    """A call that fails leaves no figure behind."""
    with pytest.raises(ValueError, match="titles"):
        show_images(batch, ["a"])

    assert [] == plt.get_fignums()


def test_given_axes_can_be_a_grid(batch):
    """A grid is filled row by row; panels that are left over are not drawn on."""
    _, given = plt.subplots(2, 3)
    axes = show_images(batch, axes=given)

    assert given.ravel().tolist()[:5] == list(axes)
    assert [] == list(given[1, 2].images)


def test_given_axes_can_be_one(batch):
    """For one image, a single panel is enough."""
    _, given = plt.subplots()

    assert [given] == list(show_images(batch[:1], axes=given))


def test_a_table_is_refused():
    """The error names the column to pass."""
    table = pd.DataFrame({"file_paths": ["a.png"]})

    with pytest.raises(ValueError, match=r"Received: a table\. Pass table\['file_paths'\]"):
        show_images(table)


@pytest.mark.parametrize("factor", [2, -2])
@pytest.mark.parametrize("mode", ["tf", "torch", "caffe", "unit"])
def test_raw_pixels_with_a_mode_are_errors(batch, mode, factor):
    """They would all be white or black."""
    with pytest.raises(ValueError, match=rf"`images` must be floats in .*mode='{mode}'.*Leave out"):
        show_images(batch.astype("float32") * factor, mode=mode)


def test_values_a_little_beyond_the_mode_are_clipped(batch):
    """An augmentation after scaling may give such values."""
    drawn = show_images(scale(batch, "tf") * 1.2, mode="tf")

    assert 255 == max(ax.images[0].get_array().max() for ax in drawn)


def test_a_mask_is_black_and_white(batch):
    """Booleans are not pixels of 0 and 1."""
    mask = batch[0, ..., 0] > 100
    drawn = show_images([mask])

    np.testing.assert_array_equal(np.where(mask, 255, 0), drawn[0].images[0].get_array())


@pytest.mark.parametrize(
    ("title", "longest"),
    [("dog " * 12, 24), ("\uac15\uc544\uc9c0 " * 12, 14)],
    ids=["English", "Korean"],
)
def test_long_titles_are_wrapped_to_the_width_of_an_image(batch, title, longest):
    """Korean letters are twice as wide."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no font has them, perhaps
        lines = show_images(batch[:1], [title])[0].get_title().splitlines()

    assert longest - 4 <= max(map(len, lines)) <= longest


@pytest.mark.parametrize("mode", ["tf", "torch", "caffe", "unit"])
def test_whole_numbers_with_a_mode_are_errors(batch, mode):
    """No scaling gives uint8, whatever the range."""
    with pytest.raises(ValueError, match=r"`images` must be floats in .*Received: uint8 from"):
        show_images(batch // 255, mode=mode)


class Dataset(list):
    """An object that looks like a `tf.data.Dataset`."""

    element_spec = None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Dataset([np.zeros((2, 8, 8, 3))]), r"Received: a dataset\. Pass one batch.*next"),
        ((np.zeros((2, 8, 8, 3)), np.zeros((2, 3))), r"Received: images and targets\. .*batch\[0"),
        ("a.png", r"Received: one path\. Put it in a list"),
        ([np.zeros((8, 8, 2))], r"float64 of shape \(8, 8, 2\)\.$"),
        ([np.zeros((3, 8, 8))], r"float64 of shape \(3, 8, 8\)\.$"),
        (np.zeros((4, 64)), r"float64 of shape \(64,\)\.$"),
        ([None], r"object of shape \(\)\.$"),
        ([np.full((4, 4, 3), np.nan)], r"Received: NaN\. Check where the images come from\.$"),
    ],
)
def test_what_is_no_image_is_an_error(given, message):
    """The error names what was received and what to pass."""
    with pytest.raises(ValueError, match=rf"^`images` must be .*{message}"):
        show_images(given)


def test_dollar_signs_are_no_mathematics(batch):
    """Text between dollar signs is not a formula."""
    (ax,) = show_images(batch[:1], ["$5 to $10"])

    assert not ax.title.get_parse_math()
