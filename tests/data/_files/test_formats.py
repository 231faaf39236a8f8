"""read_image of every other kind of file: the pixels that an independent oracle has."""

import cv2
import numpy as np
import pytest
from PIL import Image, features

from cnnkit.data import read_image


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

    @pytest.mark.parametrize(("low", "high"), [(-3, 3), (0, 1), (20, 90_000)])
    def test_float_tiff_is_spread_over_its_range(self, write_image, rng, low, high):
        """Float values are scaled from the range they have to 0..255."""
        values = rng.uniform(low, high, (8, 8)).astype(np.float32)
        path = write_image("float.tif", values)
        span = values.astype(np.float64) - values.min()
        expected = np.rint(span * 255 / span.max())

        actual = read_image(path)

        np.testing.assert_array_equal(expected, actual[..., 0])

    def test_constant_float_tiff_can_be_read(self, write_image):
        """A float image of one value causes no division by zero."""
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

    @pytest.mark.parametrize("depth", [8, 16])
    def test_portable_graymap(self, tmp_path, rng, depth):
        """PGM files of both depths are read, the deep one scaled by 257."""
        values = rng.integers(0, 2**depth, (9, 7)).astype(f">u{depth // 8}")
        path = tmp_path / "gray.pgm"
        path.write_bytes(b"P5 7 9 %d\n" % (2**depth - 1) + values.tobytes())
        expected = np.rint(values / (257 if depth == 16 else 1))

        actual = read_image(path)

        np.testing.assert_array_equal(np.dstack([expected] * 3), actual)

    @pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
    def test_16_bit_colors(self, tmp_path, rng, name):
        """Colors of 16 bits are divided by 257, within one level, not clipped."""
        values = rng.integers(0, 65536, (16, 16, 3), dtype=np.uint16)
        path = tmp_path / name
        path.write_bytes(cv2.imencode(path.suffix, values[..., ::-1])[1])

        actual = read_image(path)

        np.testing.assert_allclose(actual, values / 257, atol=1)

    def test_16_bit_gray_with_a_transparent_value(self, write_image):
        """The value that a deep PNG calls transparent becomes white, and only this one."""
        values = np.array([[0, 1000, 1001, 65535]], dtype=np.uint16)
        path = write_image("deep.png", values, transparency=1000)

        actual = read_image(path)

        assert [0, 255, 4, 255] == actual[0, :, 0].tolist()

    @pytest.mark.parametrize("size", [None, (1, 5)])
    def test_missing_values_of_a_float_tiff_are_black(self, write_image, size):
        """NaN and infinity become black and do not count for the range."""
        values = np.array([[np.nan, -1, 1, np.inf, -np.inf]], dtype=np.float32)
        path = write_image("holes.tif", values)

        actual = read_image(path, size)

        assert [0, 0, 255, 0, 0] == actual[0, :, 0].tolist()

    @pytest.mark.parametrize("value", [0.5, np.nan, np.inf, -np.inf])
    def test_even_float_tiff_is_black(self, write_image, value):
        """A float image without any range is black, and no warning is given."""
        path = write_image("flat.tif", np.full((4, 4), value, dtype=np.float32))

        actual = read_image(path)

        np.testing.assert_array_equal(np.zeros((4, 4, 3)), actual)

    @pytest.mark.parametrize("values", [[-500, 0, 250, 500], [0, 10**5, 1, 2 * 10**9]])
    def test_32_bit_integers_are_spread_over_their_range(self, write_image, values):
        """Integers beyond 16 bits are scaled from the range they have to 0..255."""
        path = write_image("wide.tif", np.array([values], dtype=np.int32))
        span = np.array(values, dtype=np.float64) - min(values)
        expected = np.rint(span * 255 / span.max())

        actual = read_image(path)

        np.testing.assert_array_equal(expected, actual[0, :, 1])

    def test_pages_of_different_sizes(self, write_image):
        """The first page decides the size."""
        pages = [Image.new("RGB", size, "red") for size in ((6, 4), (9, 9))]
        path = write_image("scan.tif", pages[0], save_all=True, append_images=pages[1:])

        actual = read_image(path)

        assert (4, 6, 3) == actual.shape

    @pytest.mark.parametrize("size", [None, (30, 45)])
    def test_first_picture_of_an_mpo(self, write_image, photo, size):
        """Of the two pictures of a stereo camera, the first is read."""
        path = write_image(
            "stereo.mpo", photo, save_all=True, append_images=[Image.new("RGB", photo.size)]
        )
        with Image.open(path) as file:
            assert ("MPO", 2) == (file.format, file.n_frames)
            first = np.asarray(file)
        lossless = write_image("first.png", first)

        actual = read_image(path, size)

        np.testing.assert_array_equal(read_image(lossless, size), actual)

    @pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
    def test_avif_comes_close(self, write_image, smooth):
        """An AVIF is read back to within a few levels."""
        path = write_image("photo.avif", smooth, quality=95)

        actual = read_image(path)

        assert np.abs(actual.astype(int) - smooth).mean() < 2

    @pytest.mark.skipif(not features.check("jpg_2000"), reason="this Pillow has no JPEG 2000")
    def test_jpeg_2000_keeps_every_pixel(self, write_image, pixels):
        """JPEG 2000 without loss is read back to the pixel."""
        path = write_image("photo.jp2", pixels)

        actual = read_image(path)

        np.testing.assert_array_equal(pixels, actual)
