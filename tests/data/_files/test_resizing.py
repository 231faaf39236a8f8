"""read_image with a size: exact in shape, antialiased, centered, and upright."""

from image_files import exif_orientation


import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_images

from cnnkit.data import read_image
from cnnkit.data._files.resizing import resize

BILINEAR = Image.Resampling.BILINEAR
WHOLE, CROP, PAD = {}, {"crop_to_aspect_ratio": True}, {"pad_to_aspect_ratio": True}
# How an upright picture is stored, by the EXIF specification's tag 0x0112.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}

sides = st.integers(1, 40)
sizes = st.tuples(sides, sides)


def antialiased(pixels, size):
    """Pillow's bilinear filter, which widens when it reduces."""
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], BILINEAR))


def psnr(expected, actual):
    """Likeness in decibels: 30 is visibly different, 40 hardly, 50 not."""
    error = np.mean((expected.astype(np.float64) - actual) ** 2)
    return 10 * np.log10(255**2 / error)


def decoded(path):
    with Image.open(path) as file:
        return np.asarray(file.convert("RGB"))


@pytest.fixture(scope="module")
def photos():
    """The two sample photos of scikit-learn, 427x640."""
    return load_sample_images().images


@pytest.fixture(scope="module")
def turned(photos, tmp_path_factory):
    """A folder of a photo as an upright PNG, and as a JPEG in every orientation."""
    folder = tmp_path_factory.mktemp("turned")
    photo = photos[1][:420]  # whole blocks, so that turning leaves the decoder's work alike
    Image.fromarray(photo).save(folder / "upright.png", compress_level=1)
    for orientation, store in STORED.items():
        Image.fromarray(np.ascontiguousarray(store(photo))).save(
            folder / f"{orientation}.jpg",
            quality=98,
            subsampling=0,
            exif=exif_orientation(orientation),
        )
    return folder


@pytest.fixture
def slopes():
    """A picture whose red increases to the right and whose green increases downward."""
    rows, columns = np.mgrid[0:120, 0:200]
    return np.stack([columns + 28, rows * 2 + 9, np.full_like(rows, 90)], axis=-1).astype(np.uint8)


class TestAntialiasing:
    """Reduced images are smoothed, nearly as by Pillow's kernel."""

    @pytest.mark.parametrize(("suffix", "options"), [("jpg", {"quality": 90}), ("png", {})])
    def test_photos_are_as_pillow_reduces_them(self, write_image, photos, suffix, options):
        """Photos reduced to 224x224 agree with Pillow to 43 dB; plain bilinear does not."""
        ours, plain = [], []
        for number, photo in enumerate(photos):
            picture = Image.fromarray(photo).resize((500, 375), Image.Resampling.LANCZOS)
            path = write_image(f"{number}.{suffix}", picture, **options)
            stored = decoded(path)
            expected = antialiased(stored, (224, 224))
            ours.append(psnr(expected, read_image(path, (224, 224))))
            plain.append(psnr(expected, cv2.resize(stored, (224, 224))))

        assert np.mean(ours) >= 43
        assert np.mean(plain) <= 36

    @pytest.mark.parametrize(
        "size", [(64, 64), (120, 160), (224, 224), (239, 318), (300, 400), (600, 800)]
    )
    def test_jpegs_decoded_smaller_are_as_pillow_reduces_them(self, write_image, photos, size):
        """A JPEG decoded at 1/2, 1/4 or 1/8 of its size still agrees with Pillow to 40 dB.

        The sizes lie around the thresholds of the reductions.
        """
        ours = []
        for number, photo in enumerate(photos):
            picture = Image.fromarray(photo).resize((1600, 1200), Image.Resampling.LANCZOS)
            path = write_image(f"{number}.jpg", picture, quality=90)
            expected = antialiased(decoded(path), size)
            ours.append(psnr(expected, read_image(path, size)))

        assert np.mean(ours) >= 40

    @pytest.mark.parametrize(
        ("size", "least"), [((420, 630), 54), ((360, 540), 42), ((300, 450), 40), ((240, 360), 43)]
    )
    def test_slight_reductions_are_as_pillow_does_them(self, write_image, photos, size, least):
        """Slightly smaller is slightly smoothed: neither blurred nor jagged."""
        ours = []
        for number, photo in enumerate(photos):
            path = write_image(f"{number}.png", photo)
            ours.append(psnr(antialiased(photo, size), read_image(path, size)))

        assert np.mean(ours) >= least

    def test_fine_checks_become_gray(self, write_image):
        """One-pixel checks reduced fivefold are an even gray; without antialiasing they alias."""
        checks = (np.indices((60, 60)).sum(axis=0) % 2 * 255).astype(np.uint8)
        path = write_image("checks.png", checks)

        actual = read_image(path, (12, 12))

        np.testing.assert_allclose(actual, np.full((12, 12, 3), 127.5), atol=6)

    @pytest.mark.parametrize("side", [64, 100, 128])
    def test_rings_too_fine_become_gray(self, write_image, side):
        """Of a zone plate, the rings twice too fine for the target give no false rings."""
        rows, columns = np.mgrid[:512, :512] - 255.5
        # A phase of pi r² / 512 has r / 512 periods per pixel.
        waves = np.cos(np.pi * (rows**2 + columns**2) / 512)
        plate = np.rint(127.5 + 127.5 * waves).astype(np.uint8)
        path = write_image("plate.png", plate)
        radius = np.hypot(*(np.mgrid[:side, :side] - (side - 1) / 2)) * 512 / side
        fine = (radius > side) & (radius < 256)

        actual = read_image(path, (side, side))[fine].astype(np.float64)

        assert abs(actual.mean() - 127.5) < 1
        assert actual.std() < 4
        assert cv2.resize(plate, (side, side))[fine].std() > 30

    @pytest.mark.parametrize("size", [(20, 30), (40, 60), (64, 50), (33, 31), (21, 30), (200, 301)])
    def test_enlarging_is_bilinear(self, write_image, pixels, size):
        """Without reduction nothing is smoothed: the pixels are Pillow's, within one level."""
        path = write_image("photo.png", pixels)
        expected = antialiased(pixels, size).astype(int)

        actual = read_image(path, size)

        np.testing.assert_allclose(actual, expected, atol=1)

    def test_same_size_keeps_every_pixel(self, write_image, pixels):
        """At its own size an image is as it was."""
        path = write_image("photo.png", pixels)

        actual = read_image(path, (20, 30))

        np.testing.assert_array_equal(pixels, actual)

    def test_one_pixel_is_the_mean(self, write_image, photos):
        """A single pixel has the color of the whole, within a few levels."""
        path = write_image("photo.png", photos[0])
        expected = antialiased(photos[0], (1, 1))

        actual = read_image(path, (1, 1))

        np.testing.assert_allclose(actual.astype(int), expected, atol=4)

    @pytest.mark.parametrize("stored", [(1, 1), (1, 7), (7, 1), (1, 400), (400, 1), (13, 17)])
    @pytest.mark.parametrize("level", [1, 128, 254, 255])
    def test_even_color_stays(self, write_image, stored, level):
        """An even image stays even to the level, in whatever shape and size."""
        path = write_image("even.png", np.full((*stored, 3), level, dtype=np.uint8))

        for size in [(1, 1), (1, 9), (9, 1), (3, 5), (31, 2), (60, 60)]:
            for options in (WHOLE, CROP):
                actual = read_image(path, size, **options)
                np.testing.assert_array_equal(np.full((*size, 3), level), actual)

    @given(stored=st.tuples(st.integers(1, 300), st.integers(1, 300)), size=sizes)
    def test_even_color_stays_at_any_reduction(self, stored, size):
        """The weights of every kernel sum to 1, also as OpenCV takes them."""
        for level in (100, 255):
            even = np.full((*stored, 3), level, dtype=np.uint8)

            np.testing.assert_array_equal(np.full((*size, 3), level), resize(even, size))

    def test_narrow_and_wide_reductions_differ(self, write_image, photos):
        """Rows and columns are smoothed each by their own reduction."""
        path = write_image("photo.png", photos[1])
        for size in [(427, 80), (53, 640)]:
            expected = antialiased(photos[1], size)

            actual = read_image(path, size)

            assert psnr(expected, actual) >= 40


class TestSize:
    """Sizes are (height, width), exactly."""

    def test_size_may_be_a_list_of_numpy_integers(self, write_image, pixels):
        """Any sequence of two whole numbers is a size."""
        path = write_image("photo.png", pixels)

        actual = read_image(path, [np.int64(4), np.int32(6)])

        assert (4, 6, 3) == actual.shape

    @settings(deadline=None)  # a busy machine is no failure
    @given(
        sizes,
        sizes,
        st.sampled_from([WHOLE, CROP, PAD]),
        st.sampled_from(sorted(STORED)),
        st.integers(0, 2**32),
    )
    def test_shape_and_range(self, tmp_path_factory, stored, size, options, orientation, seed):
        """Any image at any size has that size, and no level that it didn't have around it."""
        drawn = np.random.default_rng(seed).integers(60, 200, (*stored, 3), dtype=np.uint8)
        path = tmp_path_factory.mktemp("drawn") / "drawn.png"
        Image.fromarray(drawn).save(path, exif=exif_orientation(orientation))

        actual = read_image(path, size, **options)

        assert (*size, 3) == actual.shape
        assert np.uint8 == actual.dtype
        shown = actual[actual > 0] if options is PAD else actual
        assert drawn.min() - 1 <= shown.min()
        assert shown.max() <= drawn.max() + 1

    @settings(deadline=None)  # a busy machine is no failure
    @given(sizes, sizes, st.sampled_from([WHOLE, CROP, PAD]), st.sampled_from(["RGB", "L"]))
    def test_shape_of_jpegs(self, tmp_path_factory, stored, size, options, mode):
        """A JPEG decoded smaller has the wanted size too, whatever its sides."""
        path = tmp_path_factory.mktemp("drawn") / "drawn.jpg"
        Image.new(mode, (4 * stored[1] + 1, 4 * stored[0] + 1), 150).save(path)

        actual = read_image(path, size, **options)

        assert (*size, 3) == actual.shape

    def test_array_is_its_own(self, write_image, pixels):
        """A resized array is contiguous and can be written to, whatever the orientation."""
        for orientation in STORED:
            path = write_image("photo.png", pixels, exif=exif_orientation(orientation))

            actual = read_image(path, (20, 30))

            assert actual.flags.writeable
            assert actual.flags.c_contiguous


class TestAspectRatio:
    """Cropping and padding keep the aspect ratio, and the middle in the middle."""

    @pytest.mark.parametrize("size", [(100, 100), (214, 500), (61, 320), (300, 51), (500, 700)])
    def test_crop_is_the_middle(self, write_image, photos, size):
        """As much as the aspect ratio asks for is cut on either side, in whole pixels."""
        path = write_image("photo.png", photos[1])
        height, width = photos[1].shape[:2]
        rows = min(height, round(width * size[0] / size[1]))
        columns = min(width, round(height * size[1] / size[0]))
        top, left = (height - rows) // 2, (width - columns) // 2
        expected = antialiased(photos[1][top : top + rows, left : left + columns], size)

        actual = read_image(path, size, crop_to_aspect_ratio=True)

        assert psnr(expected, actual) >= 42

    def test_crop_of_a_thread_is_cheap(self, write_image):
        """A picture a pixel wide is cut before it is enlarged, not after."""
        path = write_image("thread.png", np.zeros((10_000, 1, 3), dtype=np.uint8))
        tracemalloc.start()

        actual = read_image(path, (224, 224), crop_to_aspect_ratio=True)

        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (224, 224, 3) == actual.shape
        assert peak < 5e6

    @pytest.mark.parametrize("size", [(50, 50), (31, 60), (60, 200), (101, 21), (240, 240)])
    def test_crop_is_centered(self, write_image, slopes, size):
        """The margins on both sides are equal, within a pixel."""
        path = write_image("slopes.png", slopes)
        height, width = slopes.shape[:2]
        scale = max(size[0] / height, size[1] / width)

        actual = read_image(path, size, crop_to_aspect_ratio=True).astype(int)

        top, bottom = (actual[[0, -1], 0, 1] - 9) / 2
        left, right = actual[0, [0, -1], 0] - 28
        assert abs((top + bottom) - (height - 1)) <= 1 / scale + 2
        assert abs((left + right) - (width - 1)) <= 1 / scale + 2
        assert abs((bottom - top) - (size[0] / scale - 1)) <= 1 / scale + 2
        assert abs((right - left) - (size[1] / scale - 1)) <= 1 / scale + 2

    @pytest.mark.parametrize(
        ("size", "whole"),
        [
            ((100, 100), (67, 100)),
            ((100, 61), (41, 61)),
            ((50, 300), (50, 75)),
            ((427, 700), (427, 640)),
            ((700, 800), (534, 800)),
        ],
    )
    def test_pad_puts_the_whole_on_black(self, write_image, photos, size, whole):
        """The whole picture stands in the middle, with black on either side."""
        photo = np.maximum(photos[1], 16)
        path = write_image("photo.png", photo)
        top, left = ((want - have) // 2 for have, want in zip(whole, size, strict=True))
        inside = np.s_[top : top + whole[0], left : left + whole[1]]

        actual = read_image(path, size, pad_to_aspect_ratio=True)

        assert psnr(antialiased(photo, whole) + 1e-3, actual[inside]) >= 40
        actual[inside] = 0
        assert not actual.any()

    @pytest.mark.parametrize("size", [(50, 50), (31, 60), (33, 200), (101, 21), (240, 241)])
    def test_pad_is_centered(self, write_image, size):
        """The black borders have equal widths, within a pixel, on two opposite sides only."""
        path = write_image("bright.png", np.full((40, 70, 3), 200, dtype=np.uint8))

        actual = read_image(path, size, pad_to_aspect_ratio=True)

        bright = actual.all(axis=2)
        rows, columns = (np.flatnonzero(bright.any(axis=axis)) for axis in (1, 0))
        assert bright[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        for places, side in ((rows, size[0]), (columns, size[1])):
            assert abs(places[0] - (side - 1 - places[-1])) <= 1
        assert rows.size == size[0] or columns.size == size[1]
        assert abs(rows.size / columns.size - 40 / 70) <= 1 / columns.size

    def test_gray_images_are_padded(self, write_image, pixels):
        """In one channel the borders are black too."""
        path = write_image("photo.png", np.maximum(pixels, 1))

        actual = read_image(path, (30, 30), color_mode="grayscale", pad_to_aspect_ratio=True)

        assert (30, 30, 1) == actual.shape
        np.testing.assert_array_equal(np.zeros((10, 30, 1)), actual[[*range(5), *range(25, 30)]])
        assert actual[5:25].all()


class TestOrientation:
    """Turning upright and resizing go together: the size is that of the upright image."""

    @pytest.mark.parametrize("orientation", sorted(STORED))
    @pytest.mark.parametrize("options", [WHOLE, CROP, PAD], ids=["whole", "crop", "pad"])
    @pytest.mark.parametrize("size", [(30, 17), (25, 80), (150, 211)])
    def test_png_is_as_the_upright_one(self, write_image, slopes, orientation, options, size):
        """However a picture is stored, it shows the same at every size."""
        expected = read_image(write_image("upright.png", slopes), size, **options)
        stored = np.ascontiguousarray(STORED[orientation](slopes))
        path = write_image("stored.png", stored, exif=exif_orientation(orientation))

        actual = read_image(path, size, **options)

        np.testing.assert_allclose(actual.astype(int), expected, atol=2)

    @pytest.mark.parametrize("orientation", sorted(STORED))
    @pytest.mark.parametrize("options", [WHOLE, CROP, PAD], ids=["whole", "crop", "pad"])
    @pytest.mark.parametrize("size", [(60, 41), (40, 190)])
    def test_jpeg_is_as_the_upright_one(self, turned, orientation, options, size):
        """The same for JPEGs, decoded smaller or not."""
        expected = read_image(turned / "upright.png", size, **options)

        actual = read_image(turned / f"{orientation}.jpg", size, **options)

        assert psnr(expected, actual) >= 38


class TestStrips:
    """Images that are much longer than wide; a fuzzed file of 524,288 rows took four minutes."""

    @pytest.mark.parametrize("turned", [False, True])
    @pytest.mark.parametrize("rows", [1000, 4000, 20_000])
    def test_antialiased(self, photos, rows, turned):
        """They are as near to Pillow's as other images."""
        strip = cv2.resize(photos[0], (48, rows))
        strip = strip.transpose(1, 0, 2).copy() if turned else strip

        assert psnr(antialiased(strip, (32, 32)), resize(strip, (32, 32))) >= 42

    @pytest.mark.parametrize("shape", [(100_000, 40, 3), (40, 100_000, 3), (100_000, 1, 3)])
    def test_kernel_is_small(self, monkeypatch, shape):
        """The Gaussian kernel stays small for large reductions, as time grows with its size."""
        sizes, filtered = [], cv2.sepFilter2D

        def noted(pixels, depth, horizontal, vertical, **options):
            sizes.extend([len(horizontal), len(vertical)])
            return filtered(pixels, depth, horizontal, vertical, **options)

        monkeypatch.setattr(cv2, "sepFilter2D", noted)
        resize(np.zeros(shape, dtype=np.uint8), (32, 32))

        assert np.max(sizes) <= 13
