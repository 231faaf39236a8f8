"""Batches of images as NumPy arrays: what `image_dataset` and `flow_from_tables` share.

What is drawn for an image depends on (seed, epoch, place in the table) and on nothing else, so
that neither the number of workers nor the order of their work changes a byte.
"""

import copy
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cnnkit._foundation.alignment import empty_aligned
from cnnkit._foundation.validation import check_whole_number
from cnnkit.data._feeding.sources import Source
from cnnkit.data._tables.targets import TargetMaker
from cnnkit.preprocess import scale
from cnnkit.preprocess._scaling import scaling_for
from cnnkit.preprocess._transforms import ImageTransform, check_same_shape


class Batches(Protocol):
    """What a dataset is made of: batches of arrays by their places, and the targets.

    Attributes:
        length: The number of images.
        shape: The shape of what stands for an image.
        dtype: Its type.
        targets: Returns the targets at some places, or None for images only.
        seed: The seed of the order and the draws.
    """

    length: int
    targets: TargetMaker | None
    seed: int

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __call__(self, epoch: int, places: NDArray[np.int64]) -> NDArray[Any]:
        """Return the batch `(len(places), *shape)`."""


@dataclass
class ImageBatches:
    """Images of a source by their places: read, transformed, and scaled.

    Attributes:
        source: The images.
        transform: An image transform, or None.
        mode: A mode of `cnnkit.preprocess.scale`; "none" leaves uint8.
        seed: The seed of the draws of the transform.
    """

    source: Source
    transform: ImageTransform | None
    mode: str
    seed: int
    _idle: deque[ImageTransform] = field(default_factory=deque, init=False, repr=False)
    _turn: Lock = field(default_factory=Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        scaling_for(self.mode, self.shape[-1])
        self.length, self.targets = self.source.length, self.source.targets

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave out what belongs to the threads of this process when another one gets a copy."""
        return ImageBatches, (self.source, self.transform, self.mode, self.seed)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.source.shape

    @property
    def dtype(self) -> type[np.generic]:
        return np.uint8 if self.mode == "none" else np.float32

    def __call__(self, epoch: int, places: NDArray[np.int64]) -> NDArray[Any]:
        """Return the batch `(len(places), height, width, channels)`."""
        images: NDArray[np.uint8] = empty_aligned((len(places), *self.shape), np.uint8)
        for row, place in enumerate(places):
            images[row] = self._transformed(int(epoch), int(place))
        return images if self.mode == "none" else scale(images, self.mode)

    def _transformed(self, epoch: int, place: int) -> NDArray[Any]:
        image = self.source.read(place)
        if self.transform is None:
            return image
        if self.transform.can_be_reseeded:
            transform = self._transform_of_its_own()
            transform.reseed(self.seed, epoch, place)
            changed = transform(image)
            self._idle.append(transform)
        elif self.transform.is_function:
            changed = self.transform(image)
        else:  # copies would all begin with the same random state
            with self._turn:
                changed = self.transform(image)
        check_same_shape(image.shape, changed.shape)
        return changed

    def _transform_of_its_own(self) -> ImageTransform:
        """Return a copy that no other thread uses; TensorFlow's threads keep no state."""
        try:
            return self._idle.pop()
        except IndexError:
            return copy.deepcopy(self.transform)  # type: ignore[return-value]  # never None here


@dataclass
class ArrayBatches:
    """Rows of an array by their places, with the targets and the seed of other batches."""

    array: NDArray[Any]
    targets: TargetMaker | None
    seed: int

    def __post_init__(self) -> None:
        self.length = len(self.array)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape[1:]

    @property
    def dtype(self) -> Any:
        return self.array.dtype.type

    def __call__(self, epoch: int, places: NDArray[np.int64]) -> NDArray[Any]:  # noqa: ARG002
        return self.array[places]


def order_of_epoch(count: int, shuffle: bool, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the places of all images in the order of an epoch."""
    places = np.arange(count, dtype=np.int64)
    return np.random.default_rng((seed, epoch)).permutation(places) if shuffle else places


def cut(places: NDArray[np.int64], batch_size: int) -> Iterator[NDArray[np.int64]]:
    """Yield the places of each batch; the last may be smaller."""
    for start in range(0, len(places), batch_size):
        yield places[start : start + batch_size]


def fresh_seed(seed: int | None) -> int:
    """Return the seed, or an unpredictable one for None; the global random state isn't touched."""
    if seed is None:
        return int(np.random.default_rng().integers(2**31))
    return check_whole_number("seed", seed, least=0)
