"""Decoded, resized images kept in memory or in a file, before any random transform.

Behind its header the file has a record for each image: its pixels, and whether it could be read.
"""

from __future__ import annotations

import os
import warnings
from functools import partial
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cnnkit._foundation.kept_files import HEADER, checked_path, kept_file
from cnnkit.data._feeding.sources import Source, key_of
from cnnkit.data._feeding.whole import Beforehand, unreadable

_TITLE = b"cnnkit cache of images, uint8\n"


def kept(source: Source, cache: str | os.PathLike[str] | None, beforehand: Beforehand) -> Source:
    """Keep the images of a source where `cache` says: `"memory"`, a file, or None."""
    if cache is None or source.table is None:  # arrays are in memory
        return source
    if cache == "memory":
        return in_memory(source, beforehand)[0]
    return _in_file(source, cache, beforehand)


def in_memory(source: Source, beforehand: Beforehand) -> tuple[Source, NDArray[np.uint8]]:
    """Read all images into an array; return the source that takes them from there, and the array.

    Warns if the array needs more than half of the memory that is free.
    """
    shape = (source.length, *source.shape)
    _warn_of_memory(prod(shape))
    images = np.empty(shape, dtype=np.uint8)
    reasons = unreadable(source, range(source.length), beforehand, keep=images.__setitem__)
    return source._replace(read=images.__getitem__, unreadable=reasons), images


def _in_file(source: Source, cache: str | os.PathLike[str], beforehand: Beforehand) -> Source:
    """Return the source that takes its images from a cache file, which is made if it doesn't fit.

    A file that was made of other images, or of files that have changed since, is made anew.
    """
    path = checked_path(cache, _TITLE, "image_dataset")
    record = np.dtype([("pixels", np.uint8, source.shape), ("known", np.bool_)])
    size = source.length * record.itemsize
    fill = partial(_fill, source, record, beforehand)
    with kept_file(path, _TITLE, key_of(source), size, fill) as file:
        records = np.memmap(file, dtype=record, mode="r", offset=HEADER, shape=(source.length,))
    known, pixels = np.array(records["known"]), np.asarray(records["pixels"])

    def read(place: int) -> NDArray[np.uint8]:
        image: NDArray[np.uint8] = pixels[place] if known[place] else source.read(place)
        return image

    missing = np.flatnonzero(~known).tolist()
    reasons = unreadable(source, missing, beforehand) if missing else {}
    return source._replace(read=read, unreadable=reasons)


def _fill(source: Source, record: np.dtype[Any], beforehand: Beforehand, file: BinaryIO) -> None:
    """Write every image to its place in a file; the places of unreadable ones stay zero."""
    lock = Lock()

    def keep(place: int, pixels: NDArray[np.uint8]) -> None:
        row = np.zeros(1, dtype=record)
        row["pixels"][0], row["known"] = pixels, True
        with lock:
            file.seek(HEADER + place * record.itemsize)
            file.write(row.tobytes())

    unreadable(source, range(source.length), beforehand, keep=keep, title="caching images")
    file.flush()
    file.truncate(HEADER + source.length * record.itemsize)


def _warn_of_memory(needed: int) -> None:
    free = free_memory()
    if free is not None and needed > free / 2:
        msg = (
            f"The images take {needed / 1e9:.1f} GB of the {free / 1e9:.1f} GB of memory that are "
            "free. Use a smaller image_size, or `image_dataset`, which reads as it goes."
        )
        warnings.warn(msg, UserWarning, stacklevel=4)


def free_memory() -> int | None:
    """Return the bytes of memory that are available without swapping, if Linux tells."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    sizes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return sizes[0] * 1024 if sizes else None
