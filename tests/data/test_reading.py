"""read_image: upright, RGB, antialiased, and clear about what it can't read."""

import io
import re
import warnings

import numpy as np
import pytest
from PIL import Image

from cnnkit.data import read_image
from cnnkit.exceptions import CnnkitError, ImageReadError

# How a stored picture must be turned to stand upright, by the EXIF specification's tag 0x0112.
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: lambda stored: np.rot90(stored, 1),
}


def exif_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def encoded(image, form, **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


@pytest.fixture
def pixels(rng):
    """A wide picture of random pixels: no turn or flip leaves it as it is."""
    return rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.fixture
def smooth():
    """A picture with slow slopes, which a lossy format keeps nearly as it is."""
    rows, columns = np.mgrid[0:64, 0:96]
    return np.stack([rows * 3, columns * 2, 255 - rows - columns], axis=-1).astype(np.uint8)


class TestOrientation:
    """The orientation in EXIF data is applied."""

    @pytest.mark.parametrize("orientation", sorted(UPRIGHT))
    def test_png_stands_upright(self, write_image, pixels, orientation):
        """Each of the eight orientations is undone, to the pixel."""
        path = write_image("photo.png", pixels, exif=exif_orientation(orientation))

        actual = read_image(path)

        np.testing.assert_array_equal(UPRIGHT[orientation](pixels), actual)

    @pytest.mark.parametrize("orientation", sorted(UPRIGHT))
    def test_jpeg_stands_upright(self, write_image, smooth, orientation):
        """A JPEG is turned like a PNG: what its decoder gives, turned."""
        path = write_image("photo.jpg", smooth, exif=exif_orientation(orientation))
        with Image.open(path) as file:
            stored = np.asarray(file)

        actual = read_image(path)

        np.testing.assert_array_equal(UPRIGHT[orientation](stored), actual)

    def test_size_is_that_of_the_upright_image(self, write_image, pixels):
        """Resizing acts after turning, so that height stays height."""
        path = write_image("photo.png", pixels, exif=exif_orientation(6))
        upright = Image.fromarray(np.ascontiguousarray(UPRIGHT[6](pixels)))
        expected = np.asarray(upright.resize((5, 15), Image.Resampling.BILINEAR))

        actual = read_image(path, (15, 5))

        np.testing.assert_array_equal(expected, actual)

    def test_16_bit_image_is_turned(self, write_image, rng):
        """The orientation holds for 16-bit images too."""
        values = rng.integers(0, 65536, (4, 6), dtype=np.uint16)
        path = write_image("deep.png", values, exif=exif_orientation(6))

        actual = read_image(path)

        assert (6, 4, 3) == actual.shape

    def test_unknown_orientation_is_ignored(self, write_image, pixels):
        """An orientation outside 1..8 leaves the picture as it is stored."""
        path = write_image("photo.png", pixels, exif=exif_orientation(9))

        actual = read_image(path)

        np.testing.assert_array_equal(pixels, actual)


class TestTransparency:
    """Transparency is laid on white."""

    def test_rgba_is_blended_with_white(self, write_image, rng):
        """Every pixel is color and white, weighed by the opacity, within one level."""
        rgba = rng.integers(0, 256, (16, 16, 4), dtype=np.uint8)
        path = write_image("sticker.png", rgba)
        opacity = rgba[..., 3:] / 255
        expected = rgba[..., :3] * opacity + 255 * (1 - opacity)

        actual = read_image(path)

        np.testing.assert_allclose(actual, expected, atol=1)

    def test_hidden_color_does_not_show(self, write_image):
        """A fully transparent pixel is white whatever color it hides."""
        rgba = np.zeros((4, 4, 4), dtype=np.uint8)
        rgba[..., 0] = 200
        path = write_image("sticker.png", rgba)

        actual = read_image(path)

        np.testing.assert_array_equal(np.full((4, 4, 3), 255), actual)

    def test_opaque_rgba_keeps_its_colors(self, write_image, pixels):
        """An alpha channel that is opaque everywhere changes nothing."""
        rgba = np.dstack([pixels, np.full(pixels.shape[:2], 255, dtype=np.uint8)])
        path = write_image("opaque.png", rgba)

        actual = read_image(path)

        np.testing.assert_array_equal(pixels, actual)

    @pytest.mark.parametrize("name", ["palette.png", "palette.gif"])
    def test_transparent_color_of_a_palette_is_white(self, write_image, name):
        """The palette entry that is marked transparent becomes white, others stay."""
        image = Image.new("P", (4, 2))
        image.putpalette([255, 0, 0, 0, 0, 255])
        image.putdata([0, 0, 1, 1] * 2)
        path = write_image(name, image, transparency=1)
        expected = np.array([[[255, 0, 0]] * 2 + [[255, 255, 255]] * 2] * 2)

        actual = read_image(path)

        np.testing.assert_array_equal(expected, actual)

    def test_palette_with_an_opacity_for_each_color(self, write_image):
        """A palette may give each color an opacity of its own."""
        image = Image.new("P", (3, 1))
        image.putpalette([255, 0, 0, 0, 0, 255, 0, 255, 0])
        image.putdata([0, 1, 2])
        path = write_image("palette.png", image, transparency=bytes([255, 0, 51]))
        expected = np.array([[[255, 0, 0], [255, 255, 255], [204, 255, 204]]])

        actual = read_image(path)

        np.testing.assert_allclose(actual, expected, atol=1)

    def test_gray_with_alpha_is_blended_with_white(self, write_image):
        """A grayscale image with alpha is laid on white as well."""
        gray_alpha = np.array([[[0, 255], [0, 0], [100, 51]]], dtype=np.uint8)
        path = write_image("gray_alpha.png", gray_alpha)
        expected = np.repeat([[[0], [255], [224]]], 3, axis=2)

        actual = read_image(path)

        np.testing.assert_allclose(actual, expected, atol=1)


class TestFormats:
    """Whatever the file's format and depth, the result is uint8 RGB."""

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("photo.png", {}),
            ("photo.bmp", {}),
            ("photo.tif", {}),
            ("photo.tiff", {"compression": "tiff_lzw"}),
            ("photo.webp", {"lossless": True}),
            ("photo.ppm", {}),
        ],
    )
    def test_lossless_formats_keep_every_pixel(self, write_image, pixels, name, options):
        """A lossless file is read back to the pixel."""
        path = write_image(name, pixels, **options)

        actual = read_image(path)

        assert np.uint8 == actual.dtype
        np.testing.assert_array_equal(pixels, actual)

    @pytest.mark.parametrize("name", ["photo.jpg", "photo.webp"])
    def test_lossy_formats_come_close(self, write_image, smooth, name):
        """A lossy file is read back to within a few levels, channels in the order R, G, B."""
        path = write_image(name, smooth, quality=95)

        actual = read_image(path)

        assert np.abs(actual.astype(int) - smooth).mean() < 2

    def test_format_is_known_by_content(self, write_image, pixels):
        """A PNG file named .jpg is read all the same."""
        path = write_image("misnamed.jpg", pixels, format="PNG")

        actual = read_image(path)

        np.testing.assert_array_equal(pixels, actual)

    def test_16_bit_png_is_scaled(self, write_image, rng):
        """16-bit values are divided by 257 and rounded, not clipped at 255."""
        values = rng.integers(0, 40_000, (32, 32), dtype=np.uint16)
        values[0, :4] = [1, 255, 256, 32768]
        path = write_image("deep.png", values)
        expected = np.rint(values.astype(np.float64) * 255 / 65535)[..., None]

        actual = read_image(path)

        np.testing.assert_array_equal(np.repeat(expected, 3, axis=2), actual)

    def test_16_bit_tiff_is_scaled(self, write_image, rng):
        """A 16-bit TIFF is scaled as a PNG is."""
        values = rng.integers(0, 65536, (32, 32), dtype=np.uint16)
        path = write_image("deep.tif", values)
        expected = np.rint(values.astype(np.float64) * 255 / 65535)

        actual = read_image(path)

        np.testing.assert_array_equal(expected, actual[..., 1])

    def test_float_tiff_is_spread_over_its_range(self, write_image, rng):
        """Float values are scaled from the range they have to 0..255."""
        values = rng.normal(size=(8, 8)).astype(np.float32)
        path = write_image("float.tif", values)
        span = values.astype(np.float64) - values.min()
        expected = np.rint(span * 255 / span.max())

        actual = read_image(path)

        np.testing.assert_array_equal(expected, actual[..., 0])

    def test_constant_float_tiff_can_be_read(self, write_image):
        """A float image without any contrast doesn't divide by zero."""
        path = write_image("flat.tif", np.full((4, 4), 0.5, dtype=np.float32))

        actual = read_image(path)

        assert (4, 4, 3) == actual.shape

    @pytest.mark.parametrize(
        ("ink", "expected"),
        [((0, 0, 0, 0), 255), ((0, 0, 0, 255), 0), ((255, 255, 255, 0), 0)],
    )
    @pytest.mark.parametrize("name", ["print.jpg", "print.tif"])
    def test_cmyk_becomes_rgb(self, write_image, name, ink, expected):
        """No ink is white; full black, or full cyan, magenta and yellow, is black."""
        path = write_image(name, Image.new("CMYK", (8, 8), ink))

        actual = read_image(path)

        np.testing.assert_allclose(actual, np.full((8, 8, 3), expected), atol=2)

    def test_cyan_ink_takes_red(self, write_image):
        """Cyan ink alone leaves green and blue."""
        path = write_image("cyan.tif", Image.new("CMYK", (4, 4), (255, 0, 0, 0)))

        actual = read_image(path)

        assert [0, 255, 255] == actual[0, 0].tolist()

    def test_grayscale_file_gets_three_equal_channels(self, write_image, rng):
        """A grayscale file is repeated over R, G and B."""
        gray = rng.integers(0, 256, (9, 7), dtype=np.uint8)
        path = write_image("gray.png", gray)

        actual = read_image(path)

        np.testing.assert_array_equal(np.dstack([gray] * 3), actual)

    def test_bilevel_file_is_black_and_white(self, write_image):
        """One-bit pixels become 0 and 255."""
        path = write_image("scan.png", Image.fromarray(np.array([[True, False]])))

        actual = read_image(path)

        assert [[[255] * 3, [0] * 3]] == actual.tolist()

    @pytest.mark.parametrize("name", ["film.gif", "film.webp", "film.png", "film.tif"])
    def test_first_frame_is_taken(self, write_image, name):
        """Of several frames the first is read."""
        red, blue = (Image.new("RGB", (6, 6), color) for color in ("red", "blue"))
        options = {"lossless": True} if name.endswith("webp") else {}
        path = write_image(name, red, save_all=True, append_images=[blue], **options)

        actual = read_image(path)

        assert [255, 0, 0] == actual[3, 3].tolist()

    def test_path_may_be_a_string(self, write_image, pixels):
        """A path is a string or a Path."""
        path = write_image("photo.png", pixels)

        np.testing.assert_array_equal(read_image(path), read_image(str(path)))

    def test_names_in_other_scripts(self, write_image, pixels):
        """Korean names and blanks in a path are no obstacle."""
        path = write_image("장미 꽃/사진 1.png", pixels)

        actual = read_image(path)

        np.testing.assert_array_equal(pixels, actual)

    def test_array_is_its_own(self, write_image, pixels):
        """The array can be written to."""
        path = write_image("photo.png", pixels)

        assert read_image(path).flags.writeable


class TestGrayscale:
    """color_mode="grayscale" gives luminance."""

    def test_luminance_of_rec_601(self, write_image, pixels):
        """One channel: 0.299 R + 0.587 G + 0.114 B, rounded."""
        path = write_image("photo.png", pixels)
        expected = np.rint(pixels.astype(np.float64) @ [0.299, 0.587, 0.114])[..., None]

        actual = read_image(path, color_mode="grayscale")

        assert np.uint8 == actual.dtype
        np.testing.assert_array_equal(expected, actual)

    def test_gray_file_is_unchanged(self, write_image):
        """All 256 levels of a grayscale file come through."""
        gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
        path = write_image("gray.png", gray)

        actual = read_image(path, color_mode="grayscale")

        np.testing.assert_array_equal(gray[..., None], actual)

    def test_size_applies(self, write_image, pixels):
        """Grayscale images are resized too."""
        path = write_image("photo.png", pixels)

        actual = read_image(path, (10, 12), color_mode="grayscale")

        assert (10, 12, 1) == actual.shape


class TestResizing:
    """Sizes are (height, width), and reduction is antialiased."""

    @pytest.mark.parametrize("size", [(10, 15), (7, 31), (20, 30), (64, 50), (1, 1)])
    def test_equals_antialiased_bilinear(self, write_image, pixels, size):
        """Whatever the size, it is Pillow's bilinear filter, which widens when it reduces."""
        path = write_image("photo.png", pixels)
        height, width = size
        picture = Image.fromarray(pixels)
        expected = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))

        actual = read_image(path, size)

        np.testing.assert_array_equal(expected, actual)

    def test_fine_checks_become_gray(self, write_image):
        """One-pixel checks reduced fivefold are an even gray; without antialiasing they alias."""
        checks = (np.indices((60, 60)).sum(axis=0) % 2 * 255).astype(np.uint8)
        path = write_image("checks.png", checks)

        actual = read_image(path, (12, 12))

        np.testing.assert_allclose(actual, np.full((12, 12, 3), 127.5), atol=6)

    def test_size_may_be_a_list_of_numpy_integers(self, write_image, pixels):
        """Any sequence of two whole numbers is a size."""
        path = write_image("photo.png", pixels)

        actual = read_image(path, [np.int64(4), np.int32(6)])

        assert (4, 6, 3) == actual.shape

    @pytest.mark.parametrize(
        ("stored", "size", "box"),
        [
            ((40, 80), (20, 20), (20, 0, 60, 40)),
            ((80, 40), (20, 20), (0, 20, 40, 60)),
            ((40, 80), (10, 40), (0, 10, 80, 30)),
            ((40, 80), (20, 40), (0, 0, 80, 40)),
        ],
    )
    def test_crop_keeps_the_middle(self, write_image, rng, stored, size, box):
        """Cropping resizes the largest middle part that has the wanted aspect ratio."""
        pixels = rng.integers(0, 256, (*stored, 3), dtype=np.uint8)
        path = write_image("photo.png", pixels)
        picture = Image.fromarray(pixels)
        expected = np.asarray(picture.resize(size[::-1], Image.Resampling.BILINEAR, box=box))

        actual = read_image(path, size, crop_to_aspect_ratio=True)

        np.testing.assert_array_equal(expected, actual)

    def test_pad_adds_black_above_and_below(self, write_image, rng):
        """A wide picture in a square stands in the middle, with black bands of one height."""
        pixels = rng.integers(1, 256, (40, 80, 3), dtype=np.uint8)
        path = write_image("wide.png", pixels)
        middle = Image.fromarray(pixels).resize((32, 16), Image.Resampling.BILINEAR)
        expected = np.zeros((32, 32, 3), dtype=np.uint8)
        expected[8:24] = middle

        actual = read_image(path, (32, 32), pad_to_aspect_ratio=True)

        np.testing.assert_array_equal(expected, actual)

    def test_pad_adds_black_left_and_right(self, write_image, rng):
        """A tall picture in a square has its bands at the sides."""
        pixels = rng.integers(1, 256, (80, 40, 3), dtype=np.uint8)
        path = write_image("tall.png", pixels)
        middle = Image.fromarray(pixels).resize((16, 32), Image.Resampling.BILINEAR)
        expected = np.zeros((32, 32, 3), dtype=np.uint8)
        expected[:, 8:24] = middle

        actual = read_image(path, (32, 32), pad_to_aspect_ratio=True)

        np.testing.assert_array_equal(expected, actual)


class TestUnreadable:
    """A file that can't be read is an ImageReadError that names it."""

    # Pillow warns of the metadata in a TIFF before it gives up.
    @pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
    @pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF"])
    @pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
    def test_truncated_file(self, tmp_path, pixels, form, share):
        """A file that was cut short is refused, never half read, in every format."""
        data = encoded(Image.fromarray(pixels), form)
        path = tmp_path / f"cut.{form.lower()}"
        path.write_bytes(data[: int(len(data) * share)])

        with pytest.raises(ImageReadError, match=re.escape(f"Could not read {str(path)!r}")):
            read_image(path)

    @pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF"])
    def test_damaged_file_raises_nothing_else(self, tmp_path, pixels, form):
        """Whatever bytes are damaged, the file is read or an ImageReadError is raised."""
        data = encoded(Image.fromarray(pixels), form)
        generator = np.random.default_rng(2)
        path = tmp_path / f"damaged.{form.lower()}"
        escaped = set()
        for _ in range(60):
            damaged = bytearray(data)
            for place in generator.integers(0, min(len(data), 300), 3):
                damaged[place] = generator.integers(256)
            path.write_bytes(damaged)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow warns of odd metadata
                try:
                    read_image(path)
                except ImageReadError:
                    pass
                except Exception as error:  # noqa: BLE001  # any other is the failure looked for
                    escaped.add(repr(error))

        assert set() == escaped

    def test_truncated_jpeg_says_why(self, tmp_path, smooth):
        """The message ends with the reason."""
        data = encoded(Image.fromarray(smooth), "JPEG")
        path = tmp_path / "cut.jpg"
        path.write_bytes(data[: len(data) * 9 // 10])

        with pytest.raises(ImageReadError, match=r"cut\.jpg' as an image: .*truncated.*\.$"):
            read_image(path)

    def test_error_is_an_os_error(self, tmp_path):
        """Who catches OSError, as for any file, catches this too."""
        path = tmp_path / "notes.jpg"
        path.write_text("not an image")

        with pytest.raises(OSError, match=r"notes\.jpg") as caught:
            read_image(path)

        assert isinstance(caught.value, CnnkitError)

    def test_cause_is_kept(self, tmp_path):
        """The decoder's own error is the cause."""
        path = tmp_path / "notes.jpg"
        path.write_text("not an image")

        with pytest.raises(ImageReadError, match="not of a kind") as caught:
            read_image(path)

        assert isinstance(caught.value.__cause__, OSError)

    def test_missing_file(self, tmp_path):
        """A missing file is named, with the system's reason."""
        path = tmp_path / "없는 파일.jpg"

        with pytest.raises(ImageReadError, match=r"없는 파일\.jpg' as an image: No such file"):
            read_image(path)

    def test_empty_file(self, tmp_path):
        """A file of no bytes is named."""
        path = tmp_path / "empty.png"
        path.touch()

        with pytest.raises(ImageReadError, match=r"Could not read .*empty\.png' as an image"):
            read_image(path)

    def test_folder(self, tmp_path):
        """A folder is no image."""
        with pytest.raises(ImageReadError, match="as an image: Is a directory"):
            read_image(tmp_path)

    def test_oversized_file(self, write_image, pixels, monkeypatch):
        """A file with more pixels than Pillow allows is named like any other."""
        path = write_image("bomb.png", pixels)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

        with pytest.raises(ImageReadError, match=r"bomb\.png' as an image: .*exceeds limit"):
            read_image(path)


class TestArguments:
    """Wrong arguments are refused with the rule, what was received, and what to do."""

    @pytest.mark.parametrize(
        "image_size",
        [
            224,
            (224, 224, 3),
            (224,),
            (),
            (224.0, 224.0),
            (0.5, 0.5),
            "224",
            "22",
            (0, 8),
            (8, -1),
            (None, None),
            ("8", "8"),
            {8, 9},
        ],
    )
    def test_image_size_of_the_wrong_form(self, write_image, pixels, image_size):
        """A size is a pair of whole numbers of at least 1, and nothing else."""
        path = write_image("photo.png", pixels)
        text = (
            r"^`image_size` must be a pair of whole numbers, \(height, width\), for example "
            rf"\(224, 224\)\. Received: image_size={re.escape(repr(image_size))}\.$"
        )

        with pytest.raises(ValueError, match=text):
            read_image(path, image_size)

    def test_arguments_are_checked_before_the_file(self, tmp_path):
        """A wrong size is reported even where the file is missing."""
        with pytest.raises(ValueError, match="`image_size` must be"):
            read_image(tmp_path / "missing.png", 224)

    def test_unknown_color_mode(self, tmp_path):
        """The known color modes are named, and the nearest is suggested."""
        text = (
            r"^`color_mode` must be one of 'rgb' or 'grayscale'\. "
            r"Received: color_mode='greyscale'\. Did you mean 'grayscale'\?$"
        )

        with pytest.raises(ValueError, match=text):
            read_image(tmp_path / "photo.png", color_mode="greyscale")

    def test_crop_beside_pad(self, tmp_path):
        """An image can't be cropped and padded at once."""
        text = (
            r"^Only one of `crop_to_aspect_ratio` and `pad_to_aspect_ratio` can be True\. "
            r"Received: both\.$"
        )

        with pytest.raises(ValueError, match=text):
            read_image(
                tmp_path / "photo.png",
                (8, 8),
                crop_to_aspect_ratio=True,
                pad_to_aspect_ratio=True,
            )
