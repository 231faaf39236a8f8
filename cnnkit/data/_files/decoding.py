"""From an open file to pixels: Pillow for every kind, OpenCV where it gives the same and sooner."""

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

# What Pillow's plugins raise for damaged files.
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
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # not stuffing, restart or fill
# Start-of-frame segments; from the fourth on hierarchical, lossless or of arithmetic coding.
_FRAMES = {bytes((0xFF, 0xC0 + kind)) for kind in range(16) if kind not in (4, 8, 12)}
_LAST_USUAL_FRAME = 0xC2
_LARGE, _MOST_PIXELS_A_BYTE = 2**24, 2000
_UNUSUAL = (b"Exif\0", b"http:", b"MPF\0")  # EXIF and XMP hold an orientation, MPF more images
_REDUCED = {
    1: cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 is upright, and what broken EXIF data mean."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except DECODING_ERRORS:
        return 1
    return orientation if orientation in _TURNS else 1


def turns_of(image: Image.Image) -> tuple[bool, bool, bool]:
    """Return what makes the stored pixels upright: swap axes, reverse rows, reverse columns."""
    return _TURNS[orientation_of(image)]


def upright(pixels: NDArray[np.uint8], turns: tuple[bool, bool, bool]) -> NDArray[np.uint8]:
    """Turn and mirror pixels as they are stored."""
    swap, rows, columns = turns
    if swap:
        pixels = pixels.swapaxes(0, 1)
    return pixels[:: -1 if rows else 1, :: -1 if columns else 1]


class Opened(NamedTuple):
    """An image file whose header is read.

    Attributes:
        size: Height and width as they are stored.
        turns: What makes it upright, as `upright` takes it.
        decode: Gives the stored pixels `(height, width, 3)`, of a JPEG up to so many times smaller
            as asked, 1, 2, 4 or 8, which is faster.
    """

    size: tuple[int, int]
    turns: tuple[bool, bool, bool]
    decode: Callable[[int], NDArray[np.uint8]]


def opened(file: BinaryIO) -> Opened:
    """Read the header: of a usual JPEG here, which takes a third of the time, else with Pillow."""
    start = file.read(len(_START))
    if start == _START:
        data = start + file.read()
        size = usual_jpeg_size(data)
        if size is not None:
            return Opened(size, _TURNS[1], partial(_decode_jpeg, data))
    image = Image.open(file)
    _check_plausible(image.size, file)
    if image.format != "JPEG":
        image.load()  # only then are size and orientation final, as in TIFF
    return Opened(image.size[::-1], turns_of(image), partial(_decode_any, file, image))


def _check_plausible(size: tuple[int, int], file: BinaryIO) -> None:
    """Raise an OSError for a large image in next to no bytes: it takes gigabytes to decode.

    PNG and GIF hold at most 1,300 pixels in a byte, when the image is blank.
    """
    pixels, held = math.prod(size), os.fstat(file.fileno()).st_size
    if pixels > max(_LARGE, _MOST_PIXELS_A_BYTE * held):
        msg = f"it declares {size[0]} x {size[1]} pixels in {held} bytes: damaged, blank or a bomb"
        raise OSError(msg)


def _decode_any(file: BinaryIO, image: Image.Image, reduction: int) -> NDArray[np.uint8]:
    if image.format == "JPEG" and image.mode in ("RGB", "L"):
        file.seek(0)
        data = file.read()
        if _segments(data) is not None:
            return _decode_jpeg(data, reduction)
    return np.asarray(_rgb(image))


def _decode_jpeg(data: bytes, reduction: int) -> NDArray[np.uint8]:
    """Decode with OpenCV, which lets other threads run.

    From memory, OpenCV refuses a file that ends too early. (From a path it fills the rest with
    gray, see `nox -s traps`.) Files whose structure is whole give the pixels that Pillow gives; on
    others OpenCV is less strict.
    """
    flags = _REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION
    pixels: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    if pixels is None:
        return np.asarray(_rgb(Image.open(BytesIO(data))))
    if reduction > 1:  # the reduced kinds come as BGR only
        cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
    return pixels


def usual_jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Return height and width of a whole JPEG of the usual kind; None leaves it to Pillow.

    Usual is 8 bits, one or three channels, Huffman coding, no orientation and no further images
    among its data, and a size that Pillow doesn't warn of.
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
    """Return marker and place of a JPEG's segments, None unless they go on to its end.

    The structure is that of ITU T.81, annex B.

    Raises:
        OSError: If nothing follows its pixels: decoders take padding for some.
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
        # Adobe's programs store CMYK inverted and leave a marker; Pillow takes all files to be
        # theirs. Without the marker nothing is inverted (libjpeg.txt, "Special color spaces").
        image = ImageChops.invert(image)
    return image.convert("RGB")


def _from_high_depth(image: Image.Image) -> Image.Image:
    """Scale 16-bit integers by their possible range, wider values by the range they have."""
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
    """Return Pillow's name of the kind of file, or None if it is not known."""
    try:
        with Image.open(path) as image:
            return image.format
    except DECODING_ERRORS:
        return None
