"""Decoded, resized images kept in a file, in front of whatever is drawn at random.

The file is a line that says what it is, a line that says of which images, and a record for each
image: its pixels, and whether it could be read. It is complete, or it isn't there: every process
makes a file of its own and moves it to the place. Whatever happens there, it goes on with the very
file that it has made or looked at.
"""

from __future__ import annotations

import glob
import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import cv2
import numpy as np
import PIL
from numpy.typing import NDArray

import cnnkit
from cnnkit.data._parallel import parallel_map
from cnnkit.data._sources import Source
from cnnkit.exceptions import ImageReadError

_TITLE = b"cnnkit cache of images, uint8\n"
_HEADER = 128  # bytes, title and key in them


def cached_in_file(
    source: Source,
    cache: str | os.PathLike[str],
    reading: Sequence[object],
    *,
    raises: bool,
    workers: int | None,
    progress: bool,
) -> Source:
    """Return the same images, read from a cache file, which is made where it doesn't fit.

    Args:
        source: Images of files.
        cache: Path of the cache file. One made of other images, or of files that have changed
            since, is made anew.
        reading: Whatever else the pixels depend on: size, color mode and so on.
        raises: If True, an unreadable image is an error at once; else when it is asked for.
        workers: Threads that read the files.
        progress: If True, show a progress bar while they read.

    Raises:
        ValueError: If the path is that of something else than a cache file.
    """
    path = _checked(cache)
    key = _key(source.file_paths or [], reading)
    record = np.dtype([("pixels", np.uint8, source.shape), ("known", np.bool_)])
    file = _fitting(path, key, source.length * record.itemsize)
    if file is None:
        file = _made(path, key, partial(_fill, source, record, raises, workers, progress))
    with file:
        records = np.memmap(file, dtype=record, mode="r", offset=_HEADER, shape=(source.length,))
    known, pixels = np.array(records["known"]), records["pixels"]
    if raises:  # of a cache that was made without
        for place in np.flatnonzero(~known):
            source.read(int(place))

    def read(place: int) -> NDArray[np.uint8]:
        return np.asarray(pixels[place]) if known[place] else source.read(place)

    return source._replace(read=read)


def _checked(cache: str | os.PathLike[str]) -> Path:
    """Return the path, or raise rather than overwrite a file that somebody may want."""
    if not isinstance(cache, str | os.PathLike):
        msg = f"`cache` must be None, 'memory' or a path. Received: cache={cache!r}."
        raise TypeError(msg)
    path = Path(cache).resolve()
    is_word = cache == path.name and not path.suffix  # a slip, perhaps
    is_other = path.exists() and not (path.is_file() and _head(path) in (b"", _TITLE))
    if is_word or is_other:
        msg = (
            "`cache` must be None, 'memory' or the path of a cache file, new or made by "
            f"`image_dataset`. Received: cache={os.fspath(cache)!r}, which is something else. "
            "Choose a name such as 'train.cache'."
        )
        raise ValueError(msg)
    return path


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(_TITLE))


def _key(file_paths: Sequence[str], reading: Sequence[object]) -> str:
    """Return a number for the images: files, as large and as old as they are, and how read."""
    versions = (cnnkit.__version__, cv2.__version__, PIL.__version__)
    key = hashlib.sha256(repr((versions, *reading)).encode())
    for path in file_paths:
        try:
            status = Path(path).stat()
            state = (status.st_size, status.st_mtime_ns)
        except OSError:
            state = (-1, -1)
        key.update(repr((os.path.abspath(path), state)).encode())  # noqa: PTH100  # not resolved
    return key.hexdigest()


def _fitting(path: Path, key: str, size: int) -> BinaryIO | None:
    """Return the cache file, open, if it is there, of these images and whole."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    if os.fstat(file.fileno()).st_size == _HEADER + size and file.read(_HEADER) == _header(key):
        return file
    file.close()
    return None


def _header(key: str) -> bytes:
    return (_TITLE + key.encode() + b"\n").ljust(_HEADER)


def _made(path: Path, key: str, fill: Callable[[BinaryIO], None]) -> BinaryIO:
    """Write a cache file, move it to its place, and return it, open."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    file = part.open("x+b")
    try:
        file.write(_header(key))
        fill(file)
        file.flush()
        os.fsync(file.fileno())
        with suppress(FileNotFoundError):  # another process has tidied up, see below
            part.replace(path)
    except BaseException:
        with suppress(OSError):  # closing writes what is left, on a full disk in vain
            file.close()
        part.unlink(missing_ok=True)
        raise
    for left in path.parent.glob(f"{glob.escape(path.name)}.*.part"):  # by one that was killed
        with suppress(OSError):
            left.unlink()
    return file


def _fill(
    source: Source,
    record: np.dtype[Any],
    raises: bool,
    workers: int | None,
    progress: bool,
    file: BinaryIO,
) -> None:
    """Write every image to its place in a file."""
    lock = Lock()

    def keep(place: int) -> None:
        row = np.zeros(1, dtype=record)
        try:
            row["pixels"][0] = source.read(place)
            row["known"] = True
        except ImageReadError:
            if raises:
                raise
        with lock:
            file.seek(_HEADER + place * record.itemsize)
            file.write(row.tobytes())

    parallel_map(keep, range(source.length), "caching images", workers, progress)
