"""From batches to a `tf.data.Dataset`."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.data._feeding.batches import (
    ArrayBatches,
    Batches,
    ImageBatches,
    cut,
    order_of_epoch,
)
from cnnkit.data._feeding.sources import Source, key_of

_MOST_WORKERS = 16  # by default: beyond it they wait for Python's lock, each with a batch in hand
_TINY = 3000  # bytes: such a file is decoded before a second thread has got hold of the lock
_BYTES_A_CALL = 2**23  # TensorFlow takes a millisecond to call Python: small batches share a call
_MOST_BATCHES_A_CALL = 16


def workers_for(source: Source, workers: int | None) -> int:
    """Return how many workers to take; by default as many as processors, or one for tiny files."""
    if workers is not None:
        return workers
    files = [path for path in map(Path, (source.file_paths or [])[:32]) if path.exists()]
    sizes = [path.stat().st_size for path in files]
    return 1 if sizes and np.median(sizes) < _TINY else min(os.cpu_count() or 1, _MOST_WORKERS)


@dataclass(frozen=True)
class Passes:
    """How a dataset passes over its images.

    Attributes:
        batch_size: Images per batch.
        shuffle: If True, each epoch has another order.
        epochs: Yields the number of each epoch.
        workers: Batches that are made at the same time; with 0, a batch is made when it is asked
            for.
    """

    batch_size: int
    shuffle: bool
    epochs: Iterator[int]
    workers: int


@dataclass(frozen=True)
class FixedImages:
    """The images of a dataset that are the same in every epoch, in the order of the table.

    `cnnkit.transfer.cache_features` runs a frozen network over them, and puts the features in their
    place.
    """

    batches: ImageBatches
    passes: Passes

    def __len__(self) -> int:
        return self.batches.length

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield the images `(batch, height, width, channels)`."""
        for places in cut(np.arange(len(self)), self.passes.batch_size):
            yield self.batches(0, places)

    @property
    def key(self) -> str:
        """A digest that tells these images from others."""
        told = (key_of(self.batches.source), self.batches.shape, self.batches.mode)
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def replaced_by(self, arrays: NDArray[Any]) -> Any:
        """Return a dataset like this one, with a row of `arrays` in place of each image.

        It has the same batches, targets, order, and seed, and counts the same epochs.
        """
        given = ArrayBatches(arrays, self.batches.targets, self.batches.seed)
        return batch_dataset(given, self.passes)


def batch_dataset(batches: Batches, passes: Passes, *, cached: bool = False) -> Any:
    """Map batches of places, which are cheap to order, to batches of images, in parallel.

    TensorFlow's autotuning is off: with it, a dataset was seen to wait for a second at the end of
    an epoch. And nothing comes from a Python generator: on Python
    3.11 `Dataset.from_generator` makes the process give all larger blocks of memory back to the
    system at once (`ApplyPython311MemoryPatch`, TensorFlow 2.21). They are allocated again for
    each image, and reading took twice as long.

    Args:
        batches: Makes the images of a batch, and its targets.
        passes: How to pass over them.
        cached: If True, keep the finished batches in memory.
    """
    import tensorflow as tf

    targets = batches.targets

    def load(epoch: Any, places: Any) -> Any:
        if targets is None:
            images = tf.numpy_function(batches, (epoch, places), batches.dtype, stateful=False)
            return tf.ensure_shape(images, (None, *batches.shape))
        images, labels = tf.numpy_function(
            lambda *which: (batches(*which), targets(which[1])),  # a call takes time: one for both
            (epoch, places),
            (batches.dtype, targets.dtype),
            stateful=False,
        )
        return (
            tf.ensure_shape(images, (None, *batches.shape)),
            tf.ensure_shape(labels, (None, *targets.shape)),
        )

    workers = passes.workers
    together = _batches_a_call(batches, passes.batch_size) if workers else 1
    parallel = {"num_parallel_calls": workers, "deterministic": True} if workers else {}
    dataset = _places(batches, passes, together).map(load, **parallel)
    dataset = dataset.rebatch(passes.batch_size) if together > 1 else dataset
    count = math.ceil(batches.length / passes.batch_size)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(count))
    dataset = dataset.cache() if cached else dataset
    return ahead(dataset, workers).with_options(_options(workers))


def _batches_a_call(batches: Batches, batch_size: int) -> int:
    size: int = batch_size * math.prod(batches.shape) * np.dtype(batches.dtype).itemsize
    return min(max(1, _BYTES_A_CALL // size), _MOST_BATCHES_A_CALL)


def ahead(dataset: Any, workers: int) -> Any:
    """Make two batches before they are asked for, unless there are no workers to do so."""
    return dataset.prefetch(2) if workers else dataset


def _places(batches: Batches, passes: Passes, together: int) -> Any:
    """Return a dataset of the epoch and the places of some batches, another epoch at each pass."""
    import tensorflow as tf

    def next_epoch() -> tuple[np.int64, NDArray[np.int64]]:
        epoch = next(passes.epochs)
        order = order_of_epoch(batches.length, passes.shuffle, batches.seed, epoch)
        return np.int64(epoch), order

    def places_of_epoch(_: Any) -> Any:
        epoch, order = tf.numpy_function(next_epoch, (), (tf.int64, tf.int64))
        epoch, order = tf.ensure_shape(epoch, ()), tf.ensure_shape(order, (batches.length,))
        places = tf.data.Dataset.from_tensor_slices(order).batch(passes.batch_size * together)
        return places.map(lambda some: (epoch, some))

    return tf.data.Dataset.range(1).flat_map(places_of_epoch)


def _options(workers: int) -> Any:
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    # Its own threads: making batches must not delay the training step.
    options.threading.private_threadpool_size = max(1, workers)
    return options
