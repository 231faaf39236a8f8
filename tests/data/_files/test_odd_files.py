"""read_image on a folder of real files that trip image loaders.

The folder `odd` is looked for where the environment variable CNNKIT_DATA points; it comes with a
README.md that tells what every file is.
"""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from cnnkit.data import read_image
from cnnkit.exceptions import ImageReadError

FOLDER = Path(os.environ.get("CNNKIT_DATA", "no such folder")) / "odd"
UNKNOWN_KIND = r"Pillow does not recognize its format\.$"
# Each file's shape (height, width), or a part of the error's text.
FILES = {
    "16bit_qtables.jpg": (128, 128),
    "1bit_500.png": (500, 500),
    "1bit_trns.png": (64, 64),
    "DS_Store.bin": UNKNOWN_KIND,
    "README.md": UNKNOWN_KIND,
    "animated_31.gif": (240, 320),
    "animated_42.webp": (245, 245),
    "animated_cats.gif": (50, 75),
    "bad_exif_gray.jpg": (500, 500),
    "bomb.gif": r"exceeds limit of \d+ pixels",
    "broken_header.png": UNKNOWN_KIND,
    "broken_stream.png": r"unrecognized data stream contents|broken data stream",
    "camera_exif3.jpg": (900, 1600),
    "cmyk.tif": (100, 100),
    "cmyk_12px.jpg": (12, 12),
    "exif3.png": (512, 512),
    "exif_bad_types.jpg": (531, 800),
    "exif_landscape_0.jpg": (1200, 1800),
    "exif_landscape_1.jpg": (1200, 1800),
    "exif_landscape_2.jpg": (1200, 1800),
    "exif_landscape_3.jpg": (1200, 1800),
    "exif_landscape_5.jpg": (1200, 1800),
    "exif_landscape_6.jpg": (1200, 1800),
    "exif_landscape_8.jpg": (1200, 1800),
    "exif_portrait_6.jpg": (1800, 1200),
    "ff00_header.jpg": (225, 300),
    "float32.tiff": (128, 128),
    "gray.jpg": (128, 128),
    "gray12in16.tif": (100, 100),
    "gray16_noise.tif": (32, 32),
    "gray16_thermal.tiff": (512, 640),
    "gray16_trns.png": (64, 64),
    "iptc_640.jpg": (480, 640),
    "jpeg_named.png": (1512, 1134),
    "junk_header.jpg": (768, 1024),
    "lab.tif": (128, 128),
    "lfs_pointer.jpg": r"it is a Git LFS pointer; run `git lfs pull` to download the image\.$",
    "mpo_as_mpo.mpo": (480, 640),
    "multipage.tiff": (10, 10),
    "one_pixel_gray.jpg": (1, 1),
    "pal8.bmp": (64, 127),
    "palette_alpha_blocks.png": (480, 640),
    "palette_clipart.png": (225, 300),
    "palette_trns_single.png": (64, 64),
    "photo.avif": (128, 128),
    "photo.ppm": (128, 128),
    "photo.webp": (360, 480),
    "rgb16.tiff": (40, 100),
    "rgb24.bmp": (64, 127),
    "rgba16_premultiplied.tiff": (40, 100),
    "rgba_broccoli.png": (480, 554),
    "rgba_circle.png": (50, 50),
    "still.gif": (128, 128),
    "transparent.gif": (150, 200),
    "truncated.bmp": r"truncated",
    "truncated.jpg": r"truncated",
    "truncated.png": r"truncated",
    "two_pixels_exif8.jpg": (2, 1),
    "zero_width.gif": UNKNOWN_KIND,
}
SHAPES = {name: known for name, known in FILES.items() if isinstance(known, tuple)}
ERRORS = {name: known for name, known in FILES.items() if isinstance(known, str)}
JPEGS = [name for name in SHAPES if name.endswith((".jpg", ".mpo")) or name == "jpeg_named.png"]

pytestmark = [
    pytest.mark.skipif(not FOLDER.is_dir(), reason="CNNKIT_DATA names no folder that has odd/"),
    # The EXIF block of bad_exif_gray.jpg is cut short, and Pillow says so as it should.
    pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning"),
]


def upright(name):
    """The file as Pillow has it, turned by the orientation that it declares."""
    with Image.open(FOLDER / name) as file:
        return ImageOps.exif_transpose(file)


def likeness(one, other):
    """The correlation of two pictures of one size."""
    return np.corrcoef(one.ravel(), other.ravel())[0, 1]


class TestEveryFile:
    """Each file is an image of the known shape, or an error that names it and says why."""

    def test_table_is_complete(self):
        """The table has every file of the folder and no other."""
        assert sorted(FILES) == sorted(path.name for path in FOLDER.iterdir())

    @pytest.mark.parametrize("name", sorted(SHAPES.keys() - {"lab.tif"}))
    def test_shape(self, name):
        """A readable file is an upright uint8 image."""
        actual = read_image(FOLDER / name)

        assert (*SHAPES[name], 3) == actual.shape
        assert np.uint8 == actual.dtype

    @pytest.mark.parametrize("name", sorted(SHAPES.keys() - {"lab.tif"}))
    @pytest.mark.parametrize(
        "options", [{}, {"crop_to_aspect_ratio": True}, {"pad_to_aspect_ratio": True}], ids=str
    )
    def test_size(self, name, options):
        """A readable file can be had at any size, in gray too."""
        actual = read_image(FOLDER / name, (33, 57), color_mode="grayscale", **options)

        assert (33, 57, 1) == actual.shape

    @pytest.mark.parametrize("name", sorted(ERRORS))
    @pytest.mark.parametrize("size", [None, (32, 32)])
    def test_error(self, name, size):
        """An unreadable file is named, with the reason."""
        path = FOLDER / name
        text = rf"^Could not read {re.escape(repr(str(path)))} as an image: .*(?:{ERRORS[name]})"

        with pytest.raises(ImageReadError, match=text):
            read_image(path, size)

    def test_lab_colors(self):
        """Pillow 13 converts CIE Lab; before, it can't, and the file is named."""
        try:
            actual = read_image(FOLDER / "lab.tif")
        except ImageReadError as error:
            assert "lab.tif" in str(error)  # noqa: PT017  # either way is right
        else:
            with Image.open(FOLDER / "still.gif") as file:  # the same portrait
                expected = np.asarray(file.convert("RGB"), dtype=np.float64)
            assert likeness(expected, actual) > 0.95


class TestPixels:
    """Where something else knows the pixels, they are right."""

    @pytest.mark.parametrize("name", [name for name in JPEGS if name != "cmyk_12px.jpg"])
    def test_jpegs_are_as_pillow_reads_them(self, name):
        """A JPEG gives the same pixels as Pillow, bit for bit, whatever its header contains."""
        expected = np.asarray(upright(name).convert("RGB"))

        actual = read_image(FOLDER / name)

        np.testing.assert_array_equal(expected, actual)

    @pytest.mark.parametrize(
        "name",
        [
            "1bit_500.png",
            "cmyk.tif",
            "exif3.png",
            "multipage.tiff",
            "pal8.bmp",
            "palette_clipart.png",
            "photo.avif",
            "photo.ppm",
            "photo.webp",
            "rgb24.bmp",
            "still.gif",
        ],
    )
    def test_opaque_files_are_as_pillow_reads_them(self, name):
        """Other files of 8 bits without transparency give Pillow's pixels too."""
        expected = np.asarray(upright(name).convert("RGB"))

        actual = read_image(FOLDER / name)

        np.testing.assert_array_equal(expected, actual)

    @pytest.mark.parametrize("number", [1, 2, 3, 5, 6, 8])
    @pytest.mark.parametrize("size", [(40, 60), (75, 100)])
    def test_all_orientations_show_one_scene(self, number, size):
        """The landscape stands upright however it is stored."""
        expected = read_image(FOLDER / "exif_landscape_0.jpg", size).astype(np.float64)

        actual = read_image(FOLDER / f"exif_landscape_{number}.jpg", size)

        assert likeness(expected, actual) > 0.98
        assert likeness(expected, actual) > likeness(expected, actual[::-1]) + 0.05
        assert likeness(expected, actual) > likeness(expected, actual[:, ::-1]) + 0.05

    @pytest.mark.parametrize("name", ["gray12in16.tif", "gray16_noise.tif", "gray16_thermal.tiff"])
    def test_16_bit_gray_is_scaled(self, name):
        """16-bit values are divided by 257, so that nothing is clipped."""
        with Image.open(FOLDER / name) as file:
            values = np.asarray(file).astype(np.float64)
        expected = np.rint(values / 257)

        actual = read_image(FOLDER / name)

        np.testing.assert_array_equal(np.dstack([expected] * 3), actual)
        assert actual.max() < 255

    def test_16_bit_gray_with_a_transparent_value(self):
        """The transparent value is white, the rest is divided by 257."""
        with Image.open(FOLDER / "gray16_trns.png") as file:
            values, hidden = np.asarray(file).astype(np.float64), file.info["transparency"]
        expected = np.where(values == hidden, 255, np.rint(values / 257))

        actual = read_image(FOLDER / "gray16_trns.png")

        np.testing.assert_array_equal(expected, actual[..., 0])
        assert 255 == actual.max()

    @pytest.mark.parametrize("name", ["rgb16.tiff", "rgba16_premultiplied.tiff"])
    def test_16_bit_colors_are_not_clipped(self, name):
        """Deep colors have many levels, and few at the upper end."""
        actual = read_image(FOLDER / name)

        assert len(np.unique(actual)) > 100
        assert (actual == 255).mean() < 0.5

    def test_floats_are_spread_over_their_range(self):
        """Float values cover 0..255, from the least to the greatest."""
        with Image.open(FOLDER / "float32.tiff") as file:
            values = np.asarray(file).astype(np.float64)
        expected = np.rint((values - values.min()) * (255 / np.ptp(values)))

        actual = read_image(FOLDER / "float32.tiff")

        np.testing.assert_array_equal(expected, actual[..., 0])

    @pytest.mark.parametrize(
        "name",
        [
            "1bit_trns.png",
            "animated_31.gif",
            "palette_alpha_blocks.png",
            "palette_trns_single.png",
            "rgba_broccoli.png",
            "rgba_circle.png",
            "transparent.gif",
        ],
    )
    def test_transparency_is_laid_on_white(self, name):
        """Color and white are weighed by the opacity, within one level."""
        with Image.open(FOLDER / name) as file:
            rgba = np.asarray(file.convert("RGBA")).astype(np.float64)
        opacity = rgba[..., 3:] / 255
        expected = rgba[..., :3] * opacity + 255 * (1 - opacity)

        actual = read_image(FOLDER / name)

        np.testing.assert_allclose(actual, expected, atol=1)

    def test_shape_in_the_opacity_is_seen(self):
        """A circle whose colors are all black shows on white."""
        actual = read_image(FOLDER / "rgba_circle.png")

        assert 255 == actual.max()
        assert actual.min() < 100

    @pytest.mark.parametrize(
        "name",
        [
            "1bit_500.png",
            "bad_exif_gray.jpg",
            "float32.tiff",
            "gray.jpg",
            "gray16_thermal.tiff",
            "one_pixel_gray.jpg",
        ],
    )
    @pytest.mark.parametrize("size", [None, (20, 30)])
    def test_gray_stays_gray(self, name, size):
        """The three channels of a gray file are one."""
        actual = read_image(FOLDER / name, size)

        assert (actual == actual[..., :1]).all()

    @pytest.mark.parametrize("name", ["16bit_qtables.jpg", "photo.avif", "still.gif", "gray.jpg"])
    def test_versions_of_one_photo_are_alike(self, name):
        """The same portrait, stored without loss and in other ways."""
        expected = read_image(FOLDER / "photo.ppm", color_mode="grayscale").astype(np.float64)

        actual = read_image(FOLDER / name, color_mode="grayscale")

        assert likeness(expected, actual) > 0.95

    @pytest.mark.parametrize("name", ["animated_42.webp", "animated_cats.gif", "mpo_as_mpo.mpo"])
    def test_first_frame(self, name):
        """Of several frames the first is read."""
        frames = []
        with Image.open(FOLDER / name) as file:
            for place in (0, file.n_frames - 1):
                file.seek(place)
                frame = Image.new("RGBA", file.size, "white")
                frame.alpha_composite(file.convert("RGBA"))
                frames.append(np.asarray(frame.convert("RGB")).astype(int))

        actual = read_image(FOLDER / name)

        np.testing.assert_allclose(actual, frames[0], atol=1)
        assert np.abs(actual - frames[1]).max() > 20
