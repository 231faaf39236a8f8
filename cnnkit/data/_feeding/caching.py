"""Decoded, resized images kept in a file, in front of whatever is drawn at random.

Behind its header the file has a record for each image: its pixels, and whether it could be read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import cv2
import numpy as np
import PIL
from numpy.typing import NDArray

import cnnkit
from cnnkit._foundation.kept_files import HEADER, checked_path, kept_file
from cnnkit.data._feeding.sources import Source
from cnnkit.data._files.parallel import parallel_map
from cnnkit.exceptions import ImageReadError

_TITLE = b"cnnkit cache of images, uint8\n"


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
    path = checked_path(cache, _TITLE, "image_dataset")
    key = key_of_files(source.file_paths or [], reading)
    record = np.dtype([("pixels", np.uint8, source.shape), ("known", np.bool_)])
    fill = partial(_fill, source, record, raises, workers, progress)
    with kept_file(path, _TITLE, key, source.length * record.itemsize, fill) as file:
        records = np.memmap(file, dtype=record, mode="r", offset=HEADER, shape=(source.length,))
    known, pixels = np.array(records["known"]), records["pixels"]
    if raises:  # of a cache that was made without
        for place in np.flatnonzero(~known):
            source.read(int(place))

    def read(place: int) -> NDArray[np.uint8]:
        return np.asarray(pixels[place]) if known[place] else source.read(place)

    return source._replace(read=read)


def key_of_files(file_paths: Sequence[str], reading: Sequence[object]) -> str:
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
            file.seek(HEADER + place * record.itemsize)
            file.write(row.tobytes())

    parallel_map(keep, range(source.length), "caching images", workers, progress)
