"""read_image: upright, in color or gray, and clear about what it can't read."""

from image_files import encoded, exif_orientation


import errno
import os
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
        """A JPEG is rotated after decoding, like a PNG."""
        path = write_image("photo.jpg", smooth, exif=exif_orientation(orientation))
        with Image.open(path) as file:
            stored = np.asarray(file)

        actual = read_image(path)

        np.testing.assert_array_equal(UPRIGHT[orientation](stored), actual)

    @pytest.mark.parametrize("size", [None, (30, 20)])
    @pytest.mark.parametrize("orientation", [2, 3, 6, 8])
    def test_tiff_stands_upright(self, write_image, pixels, orientation, size):
        """The orientation of a TIFF is a tag of its own, applied once."""
        expected = UPRIGHT[orientation](pixels)
        path = write_image("scan.tif", pixels, tiffinfo={0x0112: orientation})

        actual = read_image(path, size and expected.shape[:2])

        np.testing.assert_array_equal(expected, actual)

    @pytest.mark.parametrize("orientation", sorted(UPRIGHT))
    def test_webp_stands_upright(self, write_image, pixels, orientation):
        """A WebP has EXIF data too."""
        path = write_image("photo.webp", pixels, lossless=True, exif=exif_orientation(orientation))

        actual = read_image(path)

        np.testing.assert_array_equal(UPRIGHT[orientation](pixels), actual)

    @pytest.mark.parametrize("name", ["photo.jpg", "photo.png"])
    @pytest.mark.parametrize("broken", [b"no such thing", b"II*\0"])
    def test_broken_exif_data_is_ignored(self, write_image, pixels, name, broken):
        """Broken EXIF data do not prevent reading."""
        expected = read_image(write_image(f"plain/{name}", pixels))
        path = write_image(name, pixels, exif=b"Exif\0\0" + broken)

        actual = read_image(path)

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
        """The error is an OSError, too."""
        path = tmp_path / "notes.jpg"
        path.write_text("not an image")

        with pytest.raises(OSError, match=r"notes\.jpg") as caught:
            read_image(path)

        assert isinstance(caught.value, CnnkitError)

    def test_cause_is_kept(self, tmp_path):
        """The decoder's error is kept as the cause."""
        path = tmp_path / "notes.jpg"
        path.write_text("not an image")

        with pytest.raises(ImageReadError, match="does not recognize") as caught:
            read_image(path)

        assert isinstance(caught.value.__cause__, OSError)

    def test_missing_file(self, tmp_path):
        """A missing file is named, with the system's reason."""
        path = tmp_path / "없는 파일.jpg"

        with pytest.raises(ImageReadError, match=r"없는 파일\.jpg' as an image: No such file"):
            read_image(path)

    def test_empty_file(self, tmp_path):
        """An empty file is named."""
        path = tmp_path / "empty.png"
        path.touch()

        with pytest.raises(ImageReadError, match=r"empty\.png' as an image: it is empty\.$"):
            read_image(path)

    def test_pointer_of_git_lfs(self, tmp_path):
        """A Git LFS pointer is recognized, and the message says what to do."""
        path = tmp_path / "pointer.jpg"
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")

        with pytest.raises(
            ImageReadError, match=r"pointer\.jpg' .*Git LFS pointer; run `git lfs pull`"
        ):
            read_image(path)

    def test_file_without_permission(self, write_image, pixels, monkeypatch):
        """A file that may not be read is named, with the system's reason."""
        path = write_image("private.png", pixels)
        path.chmod(0)
        if os.access(path, os.R_OK):  # an administrator may read everything

            def refuse(path, _):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

            monkeypatch.setattr("builtins.open", refuse)

        with pytest.raises(
            ImageReadError, match=r"private\.png' as an image: Permission denied\.$"
        ):
            read_image(path)

    def test_folder(self, tmp_path):
        """A folder is no image."""
        with pytest.raises(ImageReadError, match="as an image: Is a directory"):
            read_image(tmp_path)

    @pytest.mark.parametrize("kind", ["webp", "jp2", "avif"])
    def test_blank_giant(self, tmp_path, kind):
        """A small file that declares a huge image is refused before decoding."""
        options = {"speed": 10} if kind == "avif" else {"lossless": True}
        Image.new("L", (4200, 4000)).save(tmp_path / f"blank.{kind}", **options)

        with pytest.raises(ImageReadError, match=r"declares 4200 x 4000 pixels in \d+ bytes"):
            read_image(tmp_path / f"blank.{kind}")

    @pytest.mark.parametrize("kind", ["png", "gif", "tif", "jpg", "bmp"])
    def test_blank_and_large(self, tmp_path, kind):
        """Blank images in other formats are large enough to be read, even in gray."""
        Image.new("L", (4200, 4000)).save(tmp_path / f"blank.{kind}", compression="tiff_deflate")

        assert read_image(tmp_path / f"blank.{kind}", (8, 8)).max() == 0

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
            r"Received: both\. Leave one out\.$"
        )

        with pytest.raises(ValueError, match=text):
            read_image(
                tmp_path / "photo.png",
                (8, 8),
                crop_to_aspect_ratio=True,
                pad_to_aspect_ratio=True,
            )
