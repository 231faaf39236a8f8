"""From an open file to pixels: with Pillow, or with OpenCV where it is faster and equivalent."""

import math
import os
import re
import struct
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

# The exceptions that Pillow's plugins raise for damaged files.
DECODING_ERRORS = (
    *(OSError, ValueError, SyntaxError, EOFError, RuntimeError),
    *(IndexError, KeyError, TypeError, AssertionError),
    *(struct.error, Image.DecompressionBombError),
)
_ORIENTATION = 0x0112  # the EXIF tag
_TURNS = {
    # orientation: (swap the axes, reverse the rows, reverse the columns), in this order
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
_START, _SCAN, _END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # no stuffed, restart or fill bytes
# Start-of-frame segments. From the fourth on: lossless, hierarchical or arithmetic coding.
_FRAMES = {bytes((0xFF, 0xC0 + kind)) for kind in range(16) if kind not in (4, 8, 12)}
_LAST_USUAL_FRAME = 0xC2
_LARGE, _MOST_PIXELS_A_BYTE = 2**24, 2000
_UNUSUAL = (
    b"Exif\0",
    b"http:",
    b"MPF\0",
)  # EXIF and XMP may have an orientation, MPF has more images
_REDUCED = {
    1: cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8. It is 1, upright, if the EXIF data are broken."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except DECODING_ERRORS:
        return 1
    return orientation if orientation in _TURNS else 1


def turns_of(image: Image.Image) -> tuple[bool, bool, bool]:
    """Return how to make the stored pixels upright: swap axes, reverse rows, reverse columns."""
    return _TURNS[orientation_of(image)]


def upright(pixels: NDArray[np.uint8], turns: tuple[bool, bool, bool]) -> NDArray[np.uint8]:
    """Return stored pixels rotated and mirrored so that they are upright."""
    swap, rows, columns = turns
    if swap:
        pixels = pixels.swapaxes(0, 1)
    return pixels[:: -1 if rows else 1, :: -1 if columns else 1]


class Opened(NamedTuple):
    """An image file whose header has been read.

    Attributes:
        size: The stored height and width.
        turns: How to make the image upright; the argument of `upright`.
        decode: A function that returns the stored pixels `(height, width, 3)`. Its argument is 1,
            2, 4 or 8: how many times smaller a JPEG may be decoded, which is faster.
    """

    size: tuple[int, int]
    turns: tuple[bool, bool, bool]
    decode: Callable[[int], NDArray[np.uint8]]


def opened(file: BinaryIO) -> Opened:
    """Read the header. For common JPEGs this takes a third of the time that Pillow needs."""
    start = file.read(len(_START))
    if start == _START:
        data = start + file.read()
        size = usual_jpeg_size(data)
        if size is not None:
            return Opened(size, _TURNS[1], partial(_decode_jpeg, data))
    image = Image.open(file)
    _check_plausible(image.size, file)
    if image.format != "JPEG":
        image.load()  # a TIFF's size and orientation are final only now
    return Opened(image.size[::-1], turns_of(image), partial(_decode_any, file, image))


def _check_plausible(size: tuple[int, int], file: BinaryIO) -> None:
    """Raise an OSError if a very small file declares a huge image, which would exhaust memory.

    PNG and GIF reach at most 1,300 pixels per byte, for a blank image.
    """
    pixels, held = math.prod(size), os.fstat(file.fileno()).st_size
    if pixels > max(_LARGE, _MOST_PIXELS_A_BYTE * held):
        msg = (
            f"it declares {size[0]} x {size[1]} pixels in {held} bytes, so it is damaged, blank or "
            "a decompression bomb"
        )
        raise OSError(msg)


def _decode_any(file: BinaryIO, image: Image.Image, reduction: int) -> NDArray[np.uint8]:
    if image.format == "JPEG" and image.mode in ("RGB", "L"):
        file.seek(0)
        data = file.read()
        if _segments(data) is not None:
            return _decode_jpeg(data, reduction)
    return np.asarray(_rgb(image))


def _decode_jpeg(data: bytes, reduction: int) -> NDArray[np.uint8]:
    """Decode with OpenCV, which releases the GIL.

    OpenCV refuses a truncated file when it decodes from memory. (When it reads from a path, it
    fills the rest with gray; see `nox -s traps`.) For files with an intact structure the pixels
    equal Pillow's. For other files OpenCV is less strict than Pillow.
    """
    flags = _REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION
    pixels: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    if pixels is None:
        return np.asarray(_rgb(Image.open(BytesIO(data))))
    if reduction > 1:  # OpenCV has no reduced RGB modes
        cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
    return pixels


def usual_jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Return the height and width of a complete, common JPEG, or None to leave it to Pillow.

    A common JPEG has 8 bits, one or three channels, Huffman coding, no orientation, no further
    images, and a size that Pillow does not warn about.
    """
    segments = _segments(data)
    if segments is None or any(data.startswith(_UNUSUAL, place + 4) for _, place in segments):
        return None
    frames = [place for marker, place in segments if marker in _FRAMES]
    if len(frames) != 1 or data[frames[0] + 1] > _LAST_USUAL_FRAME:
        return None
    bits, height, width, channels = struct.unpack_from(">BHHB", data, frames[0] + 4)
    few = 0 < height * width <= (Image.MAX_IMAGE_PIXELS or math.inf)
    return (height, width) if bits == 8 and channels in (1, 3) and few else None


def _segments(data: bytes) -> list[tuple[bytes, int]] | None:
    """Return the markers and offsets of a JPEG's segments, or None if its structure is broken.

    The structure is defined in ITU T.81, annex B.

    Raises:
        OSError: If no marker follows the pixels. Decoders would fill the missing ones by padding.
    """
    segments: list[tuple[bytes, int]] = []
    place = len(_START)
    while data[place : place + 1] == b"\xff":
        marker = data[place : place + 2]
        if marker == _END:
            return segments
        if marker == _START:
            return None  # another image before the end of this one
        segments.append((marker, place))
        place += 2 + int.from_bytes(data[place + 2 : place + 4])
        if marker == _SCAN:
            following = _AFTER_SCAN.search(data, place)
            if following is None:
                msg = "image file is truncated: the end of the image is missing"
                raise OSError(msg)
            place = following.start()
    return None


def _rgb(image: Image.Image) -> Image.Image:
    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        return _from_high_depth(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image).convert("RGB")
    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        # Adobe's programs store inverted CMYK and add a marker. Pillow inverts all CMYK files, but
        # those without the marker are not inverted (libjpeg.txt, "Special color spaces").
        image = ImageChops.invert(image)
    return image.convert("RGB")


def _from_high_depth(image: Image.Image) -> Image.Image:
    """Scale 16-bit integers by their possible range, and other values by their actual range."""
    values = np.asarray(image, dtype=np.float64)
    known = np.isfinite(values)
    low, high = 0.0, 65535.0
    if image.mode == "F" or values.max() > high or values.min() < low:
        low, high = (values[known].min(), values[known].max()) if known.any() else (0.0, 1.0)
    levels = (values - low) * (255 / max(high - low, 1e-12))
    levels[~known] = 0
    if isinstance(image.info.get("transparency"), int):
        levels[values == image.info["transparency"]] = 255
    return Image.fromarray(np.rint(levels).astype(np.uint8)).convert("RGB")


def format_of(path: Path) -> str | None:
    """Return Pillow's name for the file format, or None if Pillow does not know it."""
    try:
        with Image.open(path) as image:
            return image.format
    except DECODING_ERRORS:
        return None
