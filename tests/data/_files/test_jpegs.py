"""read_image of JPEGs: the pixels that an independent oracle has, whatever the header says."""

from image_files import encoded


import io
import re
import struct

import numpy as np
import pytest
from PIL import ExifTags, Image

from cnnkit.data import read_image
from cnnkit.data._files.decoding import usual_jpeg_size
from cnnkit.exceptions import ImageReadError


def decoded(path):
    """The pixels that Pillow gives."""
    with Image.open(path) as file:
        return np.asarray(file.convert("RGB"))


def without_segment(jpeg, marker):
    """Take one of the segments out of a JPEG's header, in which each tells its own length."""
    start = jpeg.index(bytes([0xFF, marker]))
    length = int.from_bytes(jpeg[start + 2 : start + 4], "big")
    return jpeg[:start] + jpeg[start + 2 + length :]


def exif_with_thumbnail(thumbnail):
    """EXIF data as cameras write it: nothing of the image, then a small JPEG of it."""
    entries = (
        struct.pack("<HHII", 0x0103, 3, 1, 6)  # the thumbnail is a JPEG
        + struct.pack("<HHII", 0x0201, 4, 1, 56)  # and begins here
        + struct.pack("<HHII", 0x0202, 4, 1, len(thumbnail))
    )
    first = struct.pack("<HI", 0, 14)  # no entries; the second directory is at 14
    second = struct.pack("<H", 3) + entries + struct.pack("<I", 0)
    return b"Exif\0\0" + b"II*\0" + struct.pack("<I", 8) + first + second + thumbnail


def with_pixels_declared(jpeg, height, width):
    """Let a JPEG's header tell another size."""
    place = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:place] + struct.pack(">HH", height, width) + jpeg[place + 4 :]


XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/">
<rdf:Description tiff:Orientation="6"/></x:xmpmeta>"""


class TestHeaderOfJpeg:
    """The header of a usual JPEG is read without Pillow, which reads all others."""

    @pytest.mark.parametrize("mode", ["RGB", "L"])
    @pytest.mark.parametrize("options", [{}, {"progressive": True}, {"comment": b"\xff\xc0\0"}])
    @pytest.mark.parametrize("size", [(161, 107), (1, 1), (300, 2)])
    def test_same_size_as_pillow(self, photo, mode, options, size):
        """It tells the height and the width that Pillow tells."""
        data = encoded(photo.resize(size).convert(mode), "JPEG", **options)

        assert Image.open(io.BytesIO(data)).size[::-1] == usual_jpeg_size(data)

    @pytest.mark.parametrize(
        "options",
        [{"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}, {"xmp": XMP}, {"mode": "CMYK"}],
        ids=["EXIF", "XMP", "CMYK"],
    )
    def test_unusual_is_left_to_pillow(self, photo, options):
        """JPEGs with an orientation, or without one or three channels, are left to Pillow."""
        image = photo.convert(options.pop("mode", "RGB"))

        assert usual_jpeg_size(encoded(image, "JPEG", **options)) is None

    def test_frames_that_are_left_to_pillow(self, photo):
        """Other coding methods, two frames, and other depths are left to Pillow."""
        data = encoded(photo, "JPEG")
        place = data.index(b"\xff\xc0")
        length = 2 + int.from_bytes(data[place + 2 : place + 4])
        frame = data[place : place + length]

        assert usual_jpeg_size(data) is not None
        assert usual_jpeg_size(data.replace(frame, b"\xff\xc9" + frame[2:])) is None
        assert usual_jpeg_size(data.replace(frame, frame + frame)) is None
        assert usual_jpeg_size(data.replace(frame, b"")) is None
        assert usual_jpeg_size(data.replace(frame, frame[:4] + b"\x0c" + frame[5:])) is None

    def test_orientation_in_xmp_data(self, write_image, photo):
        """An orientation that stands in XMP data alone is applied, as Pillow does."""
        path = write_image("photo.jpg", photo, xmp=XMP)

        actual = read_image(path)

        assert (161, 107, 3) == actual.shape
        np.testing.assert_array_equal(np.rot90(decoded(path), -1), actual)

    def test_size_beyond_the_limit(self, tmp_path, photo):
        """A header that declares more pixels than Pillow allows is refused by its error."""
        path = tmp_path / "bomb.jpg"
        path.write_bytes(with_pixels_declared(encoded(photo, "JPEG"), 65000, 65000))

        with pytest.raises(ImageReadError, match=r"bomb\.jpg.*4225000000 pixels. exceeds limit"):
            read_image(path, (8, 8))

    def test_limit_of_pillow_is_asked(self, photo, monkeypatch):
        """The limit is Pillow's own, wherever it is set."""
        data = encoded(photo, "JPEG")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 161 * 107 - 1)
        assert usual_jpeg_size(data) is None
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
        assert (107, 161) == usual_jpeg_size(data)


class TestJpeg:
    """Whole JPEGs give the pixels that Pillow gives, bit for bit; cut ones are refused."""

    @pytest.mark.parametrize("mode", ["RGB", "L"])
    @pytest.mark.parametrize(
        "options",
        [
            {"quality": 90},
            {"quality": 5},
            {"quality": 100, "subsampling": "4:4:4"},
            {"subsampling": "4:2:2"},
            {"subsampling": "4:2:0"},
            {"progressive": True},
            {"progressive": True, "subsampling": "4:4:4", "optimize": True},
            {"restart_marker_rows": 1},
            {"restart_marker_blocks": 3},
        ],
        ids=str,
    )
    def test_pixels_are_those_of_pillow(self, write_image, photo, mode, options):
        """Whatever the encoder's options, every pixel is the same."""
        path = write_image("photo.jpg", photo.convert(mode), **options)

        actual = read_image(path)

        np.testing.assert_array_equal(decoded(path), actual)

    @pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 8), (17, 2), (33, 31)])
    def test_small_and_odd_sizes(self, write_image, photo, size):
        """Blocks that the image doesn't fill are no obstacle."""
        path = write_image("photo.jpg", photo.crop((0, 0, *size)))

        actual = read_image(path)

        np.testing.assert_array_equal(decoded(path), actual)

    def test_colors_stored_as_rgb(self, write_image, photo):
        """A JPEG may hold red, green and blue rather than luminance and two chroma channels."""
        path = write_image("photo.jpg", photo, keep_rgb=True, quality=95)

        actual = read_image(path)

        np.testing.assert_array_equal(decoded(path), actual)
        assert np.abs(actual.astype(int) - np.asarray(photo)).mean() < 4

    @pytest.mark.parametrize("behind", [b"\0" * 500, b"behind the end " * 40, b"\xff\xd9", b"\xff"])
    def test_what_follows_the_end_is_ignored(self, tmp_path, photo, behind):
        """Data after the end of the image are ignored."""
        data = encoded(photo, "JPEG")
        path = tmp_path / "photo.jpg"
        path.write_bytes(data + behind)
        with Image.open(io.BytesIO(data)) as file:
            expected = np.asarray(file)

        actual = read_image(path)

        np.testing.assert_array_equal(expected, actual)

    @pytest.mark.parametrize("size", [None, (20, 30)])
    def test_embedded_thumbnail_is_not_taken(self, tmp_path, photo, size):
        """The small image in a camera's EXIF data stays where it is."""
        thumbnail = encoded(Image.new("RGB", (16, 16), "red"), "JPEG")
        path = tmp_path / "camera.jpg"
        path.write_bytes(encoded(photo, "JPEG", exif=exif_with_thumbnail(thumbnail)))
        with Image.open(path) as file:
            assert 0x0201 in file.getexif().get_ifd(ExifTags.IFD.IFD1)  # Pillow finds it
        plain = tmp_path / "plain.jpg"
        plain.write_bytes(encoded(photo, "JPEG"))

        actual = read_image(path, size)

        np.testing.assert_array_equal(read_image(plain, size), actual)

    @pytest.mark.parametrize("size", [None, (20, 30)], ids=["full", "reduced"])
    @pytest.mark.parametrize("behind", [b"", b"\0" * 64], ids=["end", "few zeros"])
    @pytest.mark.parametrize("progressive", [False, True])
    def test_cut_at_any_place(self, tmp_path, photo, progressive, behind, size):
        """Wherever a file was cut, it is named, and never half an image is returned."""
        data = encoded(photo, "JPEG", quality=90, progressive=progressive)
        path = tmp_path / "cut.jpg"
        for place in np.linspace(2, len(data) - 64, 40).astype(int):
            path.write_bytes(data[:place] + behind)
            with pytest.raises(ImageReadError, match=re.escape(f"Could not read {str(path)!r} as")):
                read_image(path, size)

    @pytest.mark.parametrize("behind", [b"\0" * 50_000, b"text " * 200], ids=["zeros", "text"])
    @pytest.mark.parametrize("progressive", [False, True])
    def test_cut_and_filled_up(self, tmp_path, photo, progressive, behind):
        """A file cut short and filled up with something else has no end marker."""
        data = encoded(photo, "JPEG", quality=90, progressive=progressive)
        path = tmp_path / "filled.jpg"
        for place in np.linspace(2, len(data) - 64, 40).astype(int):
            path.write_bytes(data[:place] + behind)
            with pytest.raises(ImageReadError, match=r"filled\.jpg' as an image"):
                read_image(path)

    def test_bytes_behind_the_end(self, tmp_path, photo):
        """Phones put videos behind their photos: what follows the end is not looked at."""
        data = encoded(photo, "JPEG", quality=90)
        path = tmp_path / "motion.jpg"
        path.write_bytes(data)
        expected = read_image(path)
        for seed in range(10):
            path.write_bytes(data + np.random.default_rng(seed).bytes(300_000))

            np.testing.assert_array_equal(expected, read_image(path))

    @pytest.mark.parametrize("progressive", [False, True])
    def test_cut_with_an_image_behind(self, tmp_path, photo, progressive):
        """A whole image behind one that is cut short does not make it whole."""
        data = encoded(photo, "JPEG", quality=90, progressive=progressive)
        path = tmp_path / "two.jpg"
        for place in np.linspace(len(data) // 4, len(data) - 64, 20).astype(int):
            path.write_bytes(data[:place] + data)
            with pytest.raises(ImageReadError, match=r"two\.jpg' as an image"):
                read_image(path)

    def test_junk_between_segments_is_read_in_silence(self, tmp_path, photo, capfd):
        """What Pillow reads past is read, and no library writes to the error stream."""
        data = encoded(photo, "JPEG", quality=90)
        place = data.index(b"\xff\xdb")  # the first table
        path = tmp_path / "junk.jpg"
        path.write_bytes(data[:place] + b"some junk" + data[place:])
        with Image.open(path) as file:
            expected = np.asarray(file.convert("RGB"))

        actual = read_image(path)

        np.testing.assert_array_equal(expected, actual)
        assert ("", "") == capfd.readouterr()

    @pytest.mark.parametrize(
        "ink", [(0, 0, 0, 0), (0, 0, 0, 255), (255, 0, 0, 0), (30, 200, 90, 40), (200, 10, 0, 120)]
    )
    @pytest.mark.parametrize("marker", [True, False], ids=["Adobe", "plain"])
    def test_cmyk_with_and_without_marker(self, tmp_path, ink, marker):
        """Adobe's programs store ink inverted and leave a marker; others store it as it is."""
        jpeg = encoded(Image.new("CMYK", (16, 16), ink), "JPEG", quality=100)  # as Adobe does
        path = tmp_path / "print.jpg"
        path.write_bytes(jpeg if marker else without_segment(jpeg, 0xEE))
        *colors, black = np.array(ink if marker else [255 - value for value in ink]) / 255
        expected = 255 * (1 - np.array(colors)) * (1 - black)

        actual = read_image(path)

        np.testing.assert_allclose(actual, np.broadcast_to(expected, (16, 16, 3)), atol=3)
