"""Where images come from: rows of a table, or arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnnkit._foundation.validation import check_image_size, check_one_of
from cnnkit.data._files.reading import CHANNELS, check_reading, placed, read_image
from cnnkit.data._tables.tables import check_table, class_names_if_known
from cnnkit.data._tables.targets import LABEL_MODES, TargetMaker, flat_targets
from cnnkit.exceptions import ImageReadError


class Source(NamedTuple):
    """Images that can be read one by one, and what is known of them.

    Attributes:
        read: Gives the uint8 image at a place.
        length: How many images there are.
        shape: `(height, width, channels)` of every image.
        targets: Gives the targets at some places, or None.
        class_names: All class names in the order of their numbers, or None.
        file_paths: The file of each image, or None for arrays.
    """

    read: Callable[[int], NDArray[np.uint8]]
    length: int
    shape: tuple[int, int, int]
    targets: TargetMaker | None
    class_names: list[str] | None
    file_paths: list[str] | None


def table_reader(
    table: pd.DataFrame, read_file: Callable[[str], NDArray[np.uint8]]
) -> Callable[[int], NDArray[np.uint8]]:
    """Return a function that reads the image in a row of a table."""
    paths = list(table["file_paths"])

    def read(place: int) -> NDArray[np.uint8]:
        try:
            return read_file(paths[place])
        except ImageReadError as error:
            raise placed(error, place, len(paths)) from error

    return read


def table_source(
    table: pd.DataFrame,
    image_size: Sequence[int] | None,
    color_mode: str,
    label_mode: str | None,
    *,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
) -> Source:
    """Return the images of a table, read at a size."""
    check_one_of("label_mode", label_mode, LABEL_MODES)
    check_table(table, labelled=label_mode is not None)
    check_reading(color_mode, crop_to_aspect_ratio, pad_to_aspect_ratio)
    size = check_image_size(image_size)
    read_file = partial(
        read_image,
        image_size=size,
        color_mode=color_mode,
        crop_to_aspect_ratio=crop_to_aspect_ratio,
        pad_to_aspect_ratio=pad_to_aspect_ratio,
    )
    names = class_names_if_known(table)
    targets = None
    if label_mode is not None and names is not None:
        targets = TargetMaker(table["targets"].to_numpy(), len(names), label_mode)
    return Source(
        read=table_reader(table, read_file),
        length=len(table),
        shape=(*size, CHANNELS[color_mode]),
        targets=targets,
        class_names=names,
        file_paths=list(table["file_paths"]),
    )


def array_source(
    source: tuple[NDArray[Any], Any], label_mode: str | None, class_names: Sequence[str] | None
) -> Source:
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
    return Source(
        images.__getitem__, len(images), (height, width, channels), targets, names, file_paths=None
    )


def _class_numbers(targets: Any, count: int, names: list[str] | None) -> NDArray[np.int64]:
    given = np.asarray(targets)
    _check_one_hot(given)
    numbers = flat_targets(given) if given.ndim in (1, 2) else given
    whole = np.issubdtype(numbers.dtype, np.integer) and numbers.shape == (count,)
    most = len(names) - 1 if names else np.inf
    if not whole or numbers.min(initial=0) < 0 or numbers.max(initial=0) > most:
        msg = (
            f"`source` must hold a class number for each of {count} images, from 0 on"
            f"{f' to {most}' if names else ''}. Received: targets of shape {given.shape} and type "
            f"{given.dtype}."
        )
        raise ValueError(msg)
    return numbers.astype(np.int64)


def _check_one_hot(targets: NDArray[Any]) -> None:
    """Raise a ValueError if rows are no classes: several labels, none, or shares."""
    if targets.ndim != 2 or targets.shape[1] == 1:
        return
    wrong = np.flatnonzero(((targets != 0).sum(axis=1) != 1) | (targets.max(axis=1) != 1))
    if wrong.size:
        msg = (
            "`source` must hold one class for each image: numbers, or rows of one 1 and else 0. "
            f"Received: {targets[wrong[0]].tolist()} in row {wrong[0]}. Pass label_mode=None and "
            "zip images and targets of another form."
        )
        raise ValueError(msg)


def _count_classes(targets: Any, numbers: NDArray[np.int64]) -> int:
    """Return the width of one-hot rows, which the last class needn't be in, or what is seen."""
    shape = np.shape(targets)
    return shape[1] if len(shape) == 2 and shape[1] > 1 else int(numbers.max(initial=0)) + 1
