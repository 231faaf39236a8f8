"""What a dataset is made of, for those who would make another like it."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.data._feeding.batches import BatchMaker, cut


@dataclass
class Recipe:
    """A dataset whose images are the same in every epoch, and how to replace them.

    `cnnkit.transfer.cache_features` runs a frozen network over the images in the order of the
    table, and puts what comes out in their place: same batches, order and seed.

    Attributes:
        make: Makes batches of images by their places.
        length: How many images there are.
        batch_size: Images a batch.
        identity: What the images are told by, files or arrays.
        over: Gives the same dataset over other arrays, `(images, …)`.
    """

    make: BatchMaker
    length: int
    batch_size: int
    identity: Callable[[], str]
    over: Callable[[NDArray[Any]], Any]

    @property
    def key(self) -> str:
        told = (self.identity(), self.make.shape, self.make.mode)
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def batches(self) -> Iterator[NDArray[Any]]:
        """Yield all images in the order of the table."""
        for places in cut(np.arange(self.length), self.batch_size):
            yield self.make(0, places)


@dataclass
class ArrayMaker:
    """Rows of an array by their places, as `BatchMaker` gives images."""

    array: NDArray[Any]
    seed: int

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape[1:]

    @property
    def dtype(self) -> Any:
        return self.array.dtype.type

    def __call__(self, epoch: int, places: NDArray[np.int64]) -> NDArray[Any]:  # noqa: ARG002
        return self.array[places]
