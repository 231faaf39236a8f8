"""Decoded, resized images kept in a file, in front of whatever is drawn at random.

The file is a line that says what it is, a line that says of which images, and a record for each
image: its pixels, and whether it could be read. It is complete, or it isn't there: it is made under
another name and moved to its place. Processes that make it at the same time write the same bytes to
the same places of one file, and whoever comes first moves it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
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
    if not _fits(path, key, source.length * record.itemsize):
        part = path.with_name(f"{path.name}.{key[:16]}.part")
        try:
            _write(part, key, source, record, raises, workers, progress)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _move(part, path, lambda: _fits(path, key, source.length * record.itemsize))
    records = np.memmap(path, dtype=record, mode="r", offset=_HEADER, shape=(source.length,))
    known, pixels = np.array(records["known"]), records["pixels"]

    def read(place: int) -> NDArray[np.uint8]:
        return np.asarray(pixels[place]) if known[place] else source.read(place)

    return source._replace(read=read)


def _checked(cache: str | os.PathLike[str]) -> Path:
    """Return the path, or raise rather than overwrite a file that somebody may want."""
    path = Path(cache)
    is_word = isinstance(cache, str) and not path.suffix and path.name == cache  # a slip, perhaps
    if is_word or path.is_dir() or (path.exists() and _head(path) not in (b"", _TITLE)):
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


def _fits(path: Path, key: str, size: int) -> bool:
    """Tell whether a cache file is there, of these images and whole."""
    if not path.exists() or path.stat().st_size != _HEADER + size:
        return False
    with path.open("rb") as file:
        return file.read(_HEADER) == _header(key)


def _header(key: str) -> bytes:
    return (_TITLE + key.encode() + b"\n").ljust(_HEADER)


def _write(
    part: Path,
    key: str,
    source: Source,
    record: np.dtype[Any],
    raises: bool,
    workers: int | None,
    progress: bool,
) -> None:
    """Write every image to its place in a file, over whatever is left of an earlier attempt."""
    part.parent.mkdir(parents=True, exist_ok=True)
    part.touch()  # "r+" needs a file and, unlike "w", leaves another process's bytes alone
    lock = Lock()
    with part.open("r+b") as file:
        file.write(_header(key))

        def keep(place: int) -> None:
            row = np.zeros(1, dtype=record)
            try:
                row["pixels"][0] = source.read(place)
                row["known"] = True
            except ImageReadError:
                if raises:
                    raise
            with lock:
                _put(file, _HEADER + place * record.itemsize, row)

        parallel_map(keep, range(source.length), "caching images", workers, progress)
        file.flush()
        os.fsync(file.fileno())


def _put(file: BinaryIO, offset: int, row: NDArray[Any]) -> None:
    file.seek(offset)
    file.write(row.tobytes())


def _move(part: Path, path: Path, is_done: Callable[[], bool]) -> None:
    try:
        part.replace(path)
    except OSError:  # another process has moved it
        if not is_done():
            raise
