"""The output of `plot_pixel_histogram`, read from matplotlib and compared with NumPy."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cnnkit.preprocess import scale
from cnnkit.viz import plot_pixel_histogram


@pytest.fixture
def image(rng):
    """An image whose channels have different ranges."""
    return (rng.uniform(0, 1, (30, 40, 3)) * [100, 180, 250]).astype(np.uint8)


@pytest.fixture
def anywhere(rng):
    """An image of arbitrary floats, such as the output of a network."""
    return rng.normal(0, 1, (30, 40, 3))


def counts(ax):
    """Return the heights of the bars."""
    return [bar.get_height() for bar in ax.patches]


def edges(ax):
    """Return the left edges of the bars and the right edge of the last."""
    bars = ax.patches
    return [*(bar.get_x() for bar in bars), bars[-1].get_x() + bars[-1].get_width()]


@pytest.mark.parametrize("channels", [1, 3])
def test_there_is_a_panel_for_each_channel(image, channels):
    """An image of one channel has one panel, one of three has three."""
    assert channels == len(plot_pixel_histogram(image[..., :channels]))


def test_titles_say_channel_and_range(image):
    """Each title names the channel and the least and greatest of its values."""
    names = ("red", "green", "blue")
    expected = [
        f"{name}: {image[..., place].min()} to {image[..., place].max()}"
        for place, name in enumerate(names)
    ]

    assert expected == [ax.get_title() for ax in plot_pixel_histogram(image)]


def test_title_of_a_grayscale_image(image):
    """The one channel of a grayscale image is gray."""
    (ax,) = plot_pixel_histogram(image[..., :1])

    assert "gray" == ax.get_title().partition(":")[0]


@pytest.mark.parametrize(
    ("mode", "bins"),
    [("none", 7), ("unit", 7), ("tf", 7), ("torch", 7), ("caffe", 7), ("torch", 100)],
)
def test_every_pixel_is_counted(image, mode, bins):
    """In any scaling the bars of each panel hold all pixels."""
    axes = plot_pixel_histogram(scale(image, mode), bins=bins)

    assert [30 * 40] * 3 == [sum(counts(ax)) for ax in axes]


def test_bars_count_the_channel_of_their_panel(anywhere):
    """Each panel shows its own channel's counts."""
    axes = plot_pixel_histogram(anywhere, bins=10)
    expected = [np.histogram(anywhere[..., place], 10)[0].tolist() for place in range(3)]

    assert expected == [counts(ax) for ax in axes]


@pytest.mark.parametrize(
    ("mode", "bins"),
    [("unit", 7), ("tf", 7), ("torch", 7), ("caffe", 7), ("torch", 100), ("torch", 256)],
)
def test_the_histogram_of_a_scaled_image_is_that_of_the_raw_one(image, mode, bins):
    """There is no comb pattern: all bars cover equally many of the 256 levels."""
    order = slice(None, None, -1 if mode == "caffe" else 1)
    scaled = scale(image, mode)[..., order]
    for place in range(3):
        raw, changed = (
            plot_pixel_histogram(picture[..., place : place + 1], bins=bins)[0]
            for picture in (image, scaled)
        )

        assert counts(raw) == counts(changed)


def test_the_channels_of_caffe_are_named_in_their_order(image):
    """Mode "caffe" reverses the channels."""
    axes = plot_pixel_histogram(scale(image, "caffe"), bins=5, mode="caffe")

    assert ["blue", "green", "red"] == [ax.get_title().partition(":")[0] for ax in axes]


def test_several_images_are_compared_in_shares(image, rng):
    """Images of any size share the same bars; each has its own line style and name."""
    other = rng.integers(50, 200, (10, 10, 3), dtype=np.uint8)
    axes = plot_pixel_histogram([image, other], bins=20, titles=["first", "second"])
    for place, ax in enumerate(axes):
        outlines = [patch.get_xy() for patch in ax.patches]
        both = [picture[..., place].ravel() for picture in (image, other)]

        assert "share of the pixels" == axes[0].get_ylabel()
        np.testing.assert_array_equal(outlines[0][:, 0], outlines[1][:, 0])
        for outline, values in zip(outlines, both, strict=True):
            corners = np.unique(outline[:, 0])
            expected = np.histogram(values, corners)[0] / len(values)
            np.testing.assert_allclose(outline[1:-1:2, 1][: len(expected)], expected, atol=1e-12)
        assert len({patch.get_linestyle() for patch in ax.patches}) == 2
    told = axes[-1].get_legend().get_texts()

    assert ["first", "second"] == [text.get_text() for text in told]
    assert all(ax.get_legend() is None for ax in axes[:-1])


@pytest.mark.parametrize(
    ("images", "titles", "message"),
    [
        ([np.zeros((2, 2, 3)), np.zeros((2, 2, 1))], None, r"`image` must be one .*with equally m"),
        ([], None, r"`image` must be one image"),
        (
            [np.zeros((2, 2, 3))] * 2,
            ["one"],
            r"`titles` must be .*each image\. Received: 2 images and",
        ),
        ([np.zeros((2, 2, 3))] * 2, "ab", r"`titles` must be a list .*titles='ab'\."),
        ([np.full((2, 2, 3), np.nan)], None, r"`image` must be numbers\. Received: NaN"),
        (np.zeros((2, 2, 3)), "a", r"`titles` must be a list .*titles='a'\."),
    ],
)
def test_images_that_cannot_be_compared_are_errors(images, titles, message):
    """Other channels, no images, NaN, or a missing name are rejected."""
    with pytest.raises(ValueError, match=message):
        plot_pixel_histogram(images, titles=titles)


def test_panels_share_their_bins(image):
    """The bars of all panels stand at the same places."""
    first, *others = (edges(ax) for ax in plot_pixel_histogram(image))

    assert [first, first] == others


def test_bins_span_the_values_of_the_channel(anywhere):
    """The bars reach from the least to the greatest value."""
    bars = edges(plot_pixel_histogram(anywhere)[0])
    values = anywhere[..., 0]

    np.testing.assert_allclose([values.min(), values.max()], [bars[0], bars[-1]])


@pytest.mark.parametrize(("expected", "options"), [(100, {}), (7, {"bins": 7})])
def test_bins_are_as_many_as_asked_for(anywhere, expected, options):
    """There are a hundred bars unless another number is asked for."""
    assert expected == len(plot_pixel_histogram(anywhere, **options)[0].patches)


def test_bars_of_whole_numbers_hold_equally_many_values(image):
    """Every value of a uint8 image lies inside a bar, and all bars are as wide."""
    bars = np.array(edges(plot_pixel_histogram(image)[0]))

    assert {3.0} == set(np.diff(bars))
    assert {0.5} == set(bars % 1)


def test_image_of_one_color_is_drawn():
    """An image without variation has all its pixels in one bar of each panel."""
    axes = plot_pixel_histogram(np.full((4, 5, 3), 9, np.uint8))

    assert [20] * 3 == [max(counts(ax)) for ax in axes]


def test_axes_are_named(image):
    """The horizontal axes show pixel values, the first vertical one pixels."""
    axes = plot_pixel_histogram(image)

    assert ["pixel value"] * 3 == [ax.get_xlabel() for ax in axes]
    assert "pixels" == axes[0].get_ylabel()


def test_image_is_not_changed(image):
    """The pixels that are handed in stay as they are."""
    before = image.copy()
    plot_pixel_histogram(image)

    np.testing.assert_array_equal(before, image, strict=True)


def test_given_axes_can_be_one(image):
    """For one channel, a single panel is enough."""
    _, given = plt.subplots()

    assert [given] == list(plot_pixel_histogram(image[..., :1], axes=given))


def test_too_few_axes_are_an_error(image):
    """The error says how many panels there must be."""
    _, given = plt.subplots(1, 2)

    with pytest.raises(ValueError, match=r"^`axes` must hold 3 panels\. Received: 2\."):
        plot_pixel_histogram(image, axes=given)


@pytest.mark.parametrize("shape", [(4,), (4, 4, 2), (4, 4, 4), (0, 4, 3), (2, 4, 4, 2)])
def test_other_shapes_are_errors(shape):
    """Only images of 1 or 3 channels, and batches of them, are accepted."""
    message = (
        r"^`image` must be one image, \(height, width, channels\), with 1 or 3 channels, "
        r"or a list of such images with equally many channels\. Received: shape=.*\.$"
    )

    with pytest.raises(ValueError, match=message):
        plot_pixel_histogram(np.zeros(shape))


def test_gray_images_without_a_channel_axis_masks_and_files_are_images_too(image, tmp_path):
    """As for `show_images`."""
    gray = image[..., 0]
    Image.fromarray(gray).save(tmp_path / "gray.png")
    expected = counts(plot_pixel_histogram(image[..., :1])[0])
    masked = plot_pixel_histogram(gray > 50)[0]

    assert expected == counts(plot_pixel_histogram(gray)[0])
    assert [expected] * 3 == [counts(ax) for ax in plot_pixel_histogram(str(tmp_path / "gray.png"))]
    assert [(gray <= 50).sum(), (gray > 50).sum()] == counts(masked)


def test_files_may_be_a_column_of_a_table(image, tmp_path):
    """As for `show_images`."""
    paths = pd.Series([str(tmp_path / name) for name in ("a.png", "b.png")], index=[7, 9])
    for path in paths:
        Image.fromarray(image).save(path)
    legend = plot_pixel_histogram(paths, titles=pd.Series(["a", "b"]))[-1].get_legend()

    assert ["a", "b"] == [text.get_text() for text in legend.get_texts()]


def test_a_batch_is_several_images_of_which_four_are_shown(rng):
    """More lines could not be told apart; a note gives the number of images."""
    batch = rng.integers(0, 256, (32, 8, 8, 3), dtype=np.uint8)
    ax = plot_pixel_histogram(batch)[-1]

    assert "the first 4 of 32 images" == ax.figure.get_supxlabel()
    assert [f"image {number}" for number in range(1, 5)] == [
        text.get_text() for text in ax.get_legend().get_texts()
    ]
    assert 4 == len({patch.get_linestyle() for patch in ax.patches})


def test_one_image_may_have_a_name(image):
    """The name is shown."""
    legend = plot_pixel_histogram(image, bins=5, titles=["a cat"])[-1].get_legend()

    assert ["a cat"] == [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize("mode", ["unit", "tf", "torch", "caffe"])
def test_all_that_a_mode_can_give_is_in_view(mode, image):
    """Images that were scaled twice then fill only a thin strip, and look wrong."""
    lows, highs = (scale(np.full((1, 1, 3), end, np.uint8), mode)[0, 0] for end in (0, 255))
    for ax, low, high in zip(
        plot_pixel_histogram(scale(image, mode), bins=5, mode=mode), lows, highs, strict=True
    ):
        left, right = ax.get_xlim()
        margin = 0.03 * (high - low)

        assert low - margin < left < low
        assert high < right < high + margin


@pytest.mark.parametrize("change", [np.negative, np.positive])
def test_values_outside_of_the_mode_are_told(image, change):
    """Raw pixels get a note in the title; values inside the range do not."""
    outside = change(image.astype("float32")) / 100
    titles = [ax.get_title() for ax in plot_pixel_histogram(outside, bins=5, mode="tf")]
    right = [ax.get_title() for ax in plot_pixel_histogram(scale(image, "tf"), bins=5, mode="tf")]

    assert titles[2].endswith("\noutside -1 to 1")
    assert not any("outside" in title for title in right)
