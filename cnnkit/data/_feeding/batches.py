"""Batches of images as NumPy arrays: what `image_dataset` and `flow_from_tables` share.

What is drawn for an image depends on (seed, epoch, place in the table) and on nothing else, so
that neither the number of workers nor the order of their work changes a byte.
"""

import copy
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit._foundation.alignment import empty_aligned
from cnnkit._foundation.validation import check_whole_number
from cnnkit.preprocess import scale
from cnnkit.preprocess._scaling import scaling_for
from cnnkit.preprocess._transforms import ImageTransform, check_same_shape


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
    _idle: deque[ImageTransform] = field(default_factory=deque, init=False, repr=False)
    _turn: Lock = field(default_factory=Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        scaling_for(self.mode, self.shape[-1])

    def __reduce__(self) -> tuple[Any, ...]:
        """Go to another process without what is for the threads of this one."""
        return BatchMaker, (self.read, self.shape, self.transform, self.mode, self.seed)

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
        image = self.read(place)
        if self.transform is None:
            return image
        if self.transform.can_be_reseeded:
            transform = self._transform_of_its_own()
            transform.reseed(self.seed, epoch, place)
            changed = transform(image)
            self._idle.append(transform)
        elif self.transform.is_function:
            changed = self.transform(image)
        else:  # copies would all begin from the random state that it has
            with self._turn:
                changed = self.transform(image)
        check_same_shape(image.shape, changed.shape)
        return changed

    def _transform_of_its_own(self) -> ImageTransform:
        """Return a copy that no other thread uses: TensorFlow's keep nothing of their own."""
        try:
            return self._idle.pop()
        except IndexError:
            return copy.deepcopy(self.transform)  # type: ignore[return-value]  # never None here


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
