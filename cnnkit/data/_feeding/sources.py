"""Where images come from: rows of a table, or arrays."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import PIL
from numpy.typing import NDArray

import cnnkit
from cnnkit._foundation.validation import check_image_size, check_one_of
from cnnkit.data._files.reading import CHANNELS, check_reading, placed, read_image
from cnnkit.data._tables.tables import check_table, class_names_if_known
from cnnkit.data._tables.targets import LABEL_MODES, TargetMaker, flat_targets
from cnnkit.exceptions import ImageReadError

ReadImage = Callable[[int], NDArray[np.uint8]]


class Reading(NamedTuple):
    """How a file becomes pixels: the options of `read_image`."""

    image_size: Sequence[int] | None
    color_mode: str = "rgb"
    crop_to_aspect_ratio: bool = False
    pad_to_aspect_ratio: bool = False

    def checked(self) -> Reading:
        """Return the same with the size as a pair of ints, or raise for a wrong option."""
        check_reading(self.color_mode, self.crop_to_aspect_ratio, self.pad_to_aspect_ratio)
        return self._replace(image_size=check_image_size(self.image_size))


class Source(NamedTuple):
    """Images that can be read one by one, and what is known about them.

    Attributes:
        read: Returns the uint8 image at a place.
        length: The number of images.
        shape: `(height, width, channels)` of every image.
        targets: Returns the targets at some places, or None.
        class_names: All class names in the order of their numbers, or None.
        reading: How the files are read, or None for arrays.
        table: The rows of the images, or None for arrays.
        skipped: The rows that were left out, with a column `reason`, or None for arrays.
        unreadable: Why images can't be read, by their places; None if nobody has looked yet.
    """

    read: ReadImage
    length: int
    shape: tuple[int, int, int]
    targets: TargetMaker | None
    class_names: list[str] | None
    reading: Reading | None = None
    table: pd.DataFrame | None = None
    skipped: pd.DataFrame | None = None
    unreadable: dict[int, str] | None = None

    @property
    def file_paths(self) -> list[str] | None:
        """The file of each image, or None for arrays."""
        return None if self.table is None else list(self.table["file_paths"])


def table_source(table: pd.DataFrame, reading: Reading, label_mode: str | None) -> Source:
    """Return the images of a table, which are read when they are asked for."""
    check_one_of("label_mode", label_mode, LABEL_MODES)
    check_table(table, labelled=label_mode is not None)
    reading = reading.checked()
    names = class_names_if_known(table)
    targets = None
    if label_mode is not None and names is not None:
        targets = TargetMaker(table["targets"].to_numpy(), len(names), label_mode)
    height, width = check_image_size(reading.image_size)
    return Source(
        read=partial(_read_row, list(table["file_paths"]), reading),
        length=len(table),
        shape=(height, width, CHANNELS[reading.color_mode]),
        targets=targets,
        class_names=names,
        reading=reading,
        table=table,
        skipped=table[:0].assign(reason=None),
    )


def _read_row(paths: list[str], reading: Reading, place: int) -> NDArray[np.uint8]:
    try:
        return read_image(paths[place], **reading._asdict())
    except ImageReadError as error:
        raise placed(error, place, len(paths)) from error


def array_source(
    source: tuple[NDArray[Any], Any], label_mode: str | None, class_names: Sequence[str] | None
) -> Source:
    """Return the images of arrays."""
    images = np.asarray(source[0])
    if images.dtype != np.uint8 or images.ndim != 4:
        msg = (
            "`source` must hold uint8 images (images, height, width, channels). "
            f"Received: {images.dtype} images of shape {images.shape}."
        )
        raise ValueError(msg)
    names = None if class_names is None else list(class_names)
    check_one_of("label_mode", label_mode, LABEL_MODES)
    targets = None
    if label_mode is not None:
        numbers = _class_numbers(source[1], len(images), names)
        if names is None:
            names = [str(number) for number in range(_count_classes(source[1], numbers))]
        targets = TargetMaker(numbers, len(names), label_mode)
    height, width, channels = images.shape[1:]
    return Source(images.__getitem__, len(images), (height, width, channels), targets, names)


def subset(source: Source, places: NDArray[np.intp]) -> Source:
    """Return some of the images of a table."""
    targets = source.targets
    if targets is not None:
        targets = dataclasses.replace(targets, numbers=targets.numbers[places])
    return source._replace(
        read=lambda place: source.read(int(places[place])),
        length=len(places),
        targets=targets,
        table=None if source.table is None else source.table.iloc[places],
    )


def key_of(source: Source) -> str:
    """Return a digest that tells the images of a source from others.

    Files are told by their paths, sizes, and dates and by how they are read; arrays by their
    pixels.
    """
    versions = (cnnkit.__version__, cv2.__version__, PIL.__version__)
    key = hashlib.sha256(repr((versions, source.shape, source.reading)).encode())
    if source.file_paths is None:
        for place in range(source.length):
            key.update(np.ascontiguousarray(source.read(place)).data)
    for path in source.file_paths or ():
        key.update(repr((os.path.abspath(path), _state(path))).encode())  # noqa: PTH100  # not resolved
    return key.hexdigest()


def _state(path: str) -> tuple[int, int]:
    try:
        status = Path(path).stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _class_numbers(targets: Any, count: int, names: list[str] | None) -> NDArray[np.int64]:
    given = np.asarray(targets)
    _check_one_hot(given)
    numbers = flat_targets(given) if given.ndim in (1, 2) else given
    whole = np.issubdtype(numbers.dtype, np.integer) and numbers.shape == (count,)
    most = len(names) - 1 if names else np.inf
    if not whole or numbers.min(initial=0) < 0 or numbers.max(initial=0) > most:
        msg = (
            f"`source` must hold a class number for each of {count} images, from 0"
            f"{f' to {most}' if names else ' up'}. "
            f"Received: targets of shape {given.shape} and type {given.dtype}."
        )
        raise ValueError(msg)
    return numbers.astype(np.int64)


def _check_one_hot(targets: NDArray[Any]) -> None:
    """Raise a ValueError if rows are not one-hot: several labels, none, or fractions."""
    if targets.ndim != 2 or targets.shape[1] == 1:
        return
    wrong = np.flatnonzero(((targets != 0).sum(axis=1) != 1) | (targets.max(axis=1) != 1))
    if wrong.size:
        msg = (
            "`source` must hold one class for each image: class numbers, or one-hot rows. "
            f"Received: {targets[wrong[0]].tolist()} in row {wrong[0]}. Pass label_mode=None and "
            "zip images and targets of another form."
        )
        raise ValueError(msg)


def _count_classes(targets: Any, numbers: NDArray[np.int64]) -> int:
    """Return the width of one-hot rows, or the number of classes that occur."""
    shape = np.shape(targets)
    return shape[1] if len(shape) == 2 and shape[1] > 1 else int(numbers.max(initial=0)) + 1
