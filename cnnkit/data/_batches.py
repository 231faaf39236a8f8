"""Batches of images as NumPy arrays: what `image_dataset` and `flow_from_tables` share.

What is drawn for an image depends on (seed, epoch, place in the table) and on nothing else, so
that neither the number of workers nor the order of their work changes a byte.
"""

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnnkit._transforms import ImageTransform, check_same_shape
from cnnkit._validation import check_image_size, check_one_of, check_whole_number
from cnnkit.data._reading import CHANNELS, check_reading, placed, read_image
from cnnkit.data._tables import check_table, class_names_of
from cnnkit.exceptions import ImageReadError
from cnnkit.preprocess import scale
from cnnkit.preprocess._scaling import scaling_for

LABEL_MODES = ("categorical", "int", "binary", None)


@dataclass
class BatchMaker:
    """Images by their places: read, transformed and scaled.

    Attributes:
        read: Gives the uint8 image at a place.
        shape: `(height, width, channels)` of every image.
        transform: An image transform, or None.
        mode: A mode of `cnnkit.preprocess.scale`; "none" leaves uint8.
        seed: What the draws of the transform begin from.
    """

    read: Callable[[int], NDArray[np.uint8]]
    shape: tuple[int, int, int]
    transform: ImageTransform | None
    mode: str
    seed: int
    _own: threading.local = field(default_factory=threading.local)

    def __post_init__(self) -> None:
        scaling_for(self.mode, self.shape[-1])

    @property
    def dtype(self) -> type[np.generic]:
        return np.uint8 if self.mode == "none" else np.float32

    def __call__(self, epoch: int, places: NDArray[np.int64]) -> NDArray[Any]:
        """Return the batch `(len(places), height, width, channels)`."""
        images = np.empty((len(places), *self.shape), dtype=np.uint8)
        for row, place in enumerate(places):
            images[row] = self._transformed(int(epoch), int(place))
        return images if self.mode == "none" else scale(images, self.mode)

    def _transformed(self, epoch: int, place: int) -> NDArray[Any]:
        image = self.read(place)
        if self.transform is None:
            return image
        transform = self._transform_of_this_thread()
        transform.reseed((self.seed, epoch, place))
        changed = transform(image)
        check_same_shape(image.shape, changed.shape)
        return changed

    def _transform_of_this_thread(self) -> ImageTransform:
        if not hasattr(self._own, "transform"):
            self._own.transform = copy.deepcopy(self.transform)
        own: ImageTransform = self._own.transform
        return own


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


def remembering(
    read: Callable[[int], NDArray[np.uint8]], count: int, shape: tuple[int, int, int]
) -> Callable[[int], NDArray[np.uint8]]:
    """Return a function that reads each image once and keeps it in memory."""
    images = np.empty((count, *shape), dtype=np.uint8)
    known = np.zeros(count, dtype=bool)

    def read_once(place: int) -> NDArray[np.uint8]:
        if not known[place]:
            images[place] = read(place)
            known[place] = True
        image: NDArray[np.uint8] = images[place]
        return image

    return read_once


def order_of_epoch(count: int, shuffle: bool, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the places of all images in the order of an epoch."""
    places = np.arange(count, dtype=np.int64)
    return np.random.default_rng((seed, epoch)).permutation(places) if shuffle else places


def cut(places: NDArray[np.int64], batch_size: int) -> Iterator[NDArray[np.int64]]:
    """Yield the places of each batch; the last may be smaller."""
    for start in range(0, len(places), batch_size):
        yield places[start : start + batch_size]


@dataclass
class TargetMaker:
    """Targets by their places, in the form that a loss wants.

    Attributes:
        numbers: The class number of each image.
        classes: How many classes there are.
        label_mode: "categorical" for one-hot rows, "int", or "binary" for a column of 0 and 1.
    """

    numbers: NDArray[Any]
    classes: int
    label_mode: str

    def __post_init__(self) -> None:
        if self.label_mode == "binary" and self.classes != 2:
            msg = (
                "Binary labels need two classes. "
                f"Received: {self.classes} classes. Use 'categorical'."
            )
            raise ValueError(msg)

    @property
    def shape(self) -> tuple[int, ...]:
        return {"categorical": (self.classes,), "int": (), "binary": (1,)}[self.label_mode]

    @property
    def dtype(self) -> type[np.generic]:
        return np.int32 if self.label_mode == "int" else np.float32

    def __call__(self, places: NDArray[np.int64]) -> NDArray[Any]:
        """Return the targets `(len(places), *shape)`."""
        numbers = self.numbers[places]
        if self.label_mode == "categorical":
            numbers = numbers[:, None] == np.arange(self.classes)
        targets: NDArray[Any] = numbers.astype(self.dtype)
        return targets.reshape(len(places), *self.shape)


def fresh_seed(seed: int | None) -> int:
    """Return the seed, or an unpredictable one for None; the global random state isn't touched."""
    if seed is None:
        return int(np.random.default_rng().integers(2**31))
    return check_whole_number("seed", seed, least=0)


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


def table_source(
    table: pd.DataFrame,
    image_size: Sequence[int],
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
    names = class_names_of(table) if "target_names" in table else None
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
