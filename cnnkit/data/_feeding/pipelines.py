"""From a maker of batches to a `tf.data.Dataset`."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.data._feeding.batches import BatchMaker, order_of_epoch
from cnnkit.data._feeding.recipes import ArrayMaker
from cnnkit.data._tables.targets import TargetMaker

_MOST_WORKERS = 16  # by default: beyond it they wait for Python's lock, each with a batch in hand
_TINY = 3000  # bytes: such a file is decoded before a second thread has got hold of the lock
_BYTES_A_CALL = 2**23  # TensorFlow takes a millisecond to call Python: small batches share a call
_MOST_BATCHES_A_CALL = 16


def usual_workers(file_paths: Sequence[str] | None) -> int:
    """Return how many workers to take by default: processors, or one for tiny files."""
    some = [path.stat().st_size for path in map(Path, (file_paths or [])[:32]) if path.exists()]
    return 1 if some and np.median(some) < _TINY else min(os.cpu_count() or 1, _MOST_WORKERS)


def batch_dataset(
    make: BatchMaker | ArrayMaker,
    *,
    targets: TargetMaker | None,
    length: int,
    batch_size: int,
    shuffle: bool,
    epochs: Iterator[int],
    cached: bool,
    workers: int,
) -> Any:
    """Map batches of places, which are cheap to order, to batches of images, side by side.

    Nothing here is left to TensorFlow to tune while it runs: with its tuner, a dataset was seen to
    wait for a second at the end of an epoch. And nothing comes from a Python generator: on Python
    3.11 `Dataset.from_generator` makes the process give all larger blocks of memory back to the
    system at once (`ApplyPython311MemoryPatch`, TensorFlow 2.21), so that they are paid for again
    with each image: reading took twice as long.

    Args:
        make: Makes the images of a batch.
        targets: Makes its targets, or None for images only.
        length: How many images there are.
        batch_size: Images a batch.
        shuffle: If True, another order in each epoch.
        epochs: Gives the number of each epoch.
        cached: If True, keep the finished batches in memory.
        workers: Batches made at the same time; 0 for none but the one that is asked for.
    """
    import tensorflow as tf

    def load(epoch: Any, places: Any) -> Any:
        if targets is None:
            images = tf.numpy_function(make, (epoch, places), make.dtype, stateful=False)
            return tf.ensure_shape(images, (None, *make.shape))
        images, labels = tf.numpy_function(
            lambda *which: (make(*which), targets(which[1])),  # one call: each takes its time
            (epoch, places),
            (make.dtype, targets.dtype),
            stateful=False,
        )
        return (
            tf.ensure_shape(images, (None, *make.shape)),
            tf.ensure_shape(labels, (None, *targets.shape)),
        )

    together = _batches_a_call(make, batch_size) if workers else 1
    places = _places(length, batch_size * together, shuffle, make.seed, epochs)
    parallel = {"num_parallel_calls": workers, "deterministic": True} if workers else {}
    dataset = places.map(load, **parallel)
    dataset = dataset.rebatch(batch_size) if together > 1 else dataset
    count = tf.data.experimental.assert_cardinality(math.ceil(length / batch_size))
    dataset = dataset.apply(count)
    dataset = dataset.cache() if cached else dataset
    return ahead(dataset, workers).with_options(_options(workers))


def _batches_a_call(make: BatchMaker | ArrayMaker, batch_size: int) -> int:
    size = batch_size * math.prod(make.shape) * np.dtype(make.dtype).itemsize
    return min(max(1, _BYTES_A_CALL // size), _MOST_BATCHES_A_CALL)


def ahead(dataset: Any, workers: int) -> Any:
    """Make two batches before they are asked for, unless there are no workers to do so."""
    return dataset.prefetch(2) if workers else dataset


def _places(length: int, batch_size: int, shuffle: bool, seed: int, epochs: Iterator[int]) -> Any:
    """Return a dataset of the epoch and the places of each batch, another epoch at each pass."""
    import tensorflow as tf

    def next_epoch() -> tuple[np.int64, NDArray[np.int64]]:
        epoch = next(epochs)
        return np.int64(epoch), order_of_epoch(length, shuffle, seed, epoch)

    def batches(_: Any) -> Any:
        epoch, order = tf.numpy_function(next_epoch, (), (tf.int64, tf.int64))
        epoch, order = tf.ensure_shape(epoch, ()), tf.ensure_shape(order, (length,))
        places = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
        return places.map(lambda some: (epoch, some))

    return tf.data.Dataset.range(1).flat_map(batches)


def _options(workers: int) -> Any:
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    # Threads of its own: batches in the making must not hold up the training step.
    options.threading.private_threadpool_size = max(1, workers)
    return options
