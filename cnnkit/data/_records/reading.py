"""Reading records with TensorFlow's own operations, which also run where Python doesn't."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnnkit._foundation.digests import digest
from cnnkit._foundation.validation import check_one_of, check_whole_number, check_whole_numbers
from cnnkit.data._feeding.batches import fresh_seed
from cnnkit.data._files.parallel import parallel_map
from cnnkit.data._records.manifest import Manifest, read_manifest
from cnnkit.data._tables.targets import LABEL_MODES, TargetMaker

_SHUFFLED = 2**26  # bytes of images among which the next is drawn
_OPEN = 16  # shards read at a time when their order doesn't matter
_OPEN_BESIDE = 64  # files that a process with TensorFlow has open anyway


def record_dataset(
    directory: str | os.PathLike[str],
    *,
    batch_size: int = 32,
    label_mode: str | None = "categorical",
    shuffle: bool = False,
    seed: int | None = None,
    shard: Sequence[int] = (0, 1),
    drop_remainder: bool = False,
    service: str | None = None,
    verify: bool = True,
    progress: bool = True,
) -> Any:
    """Make a `tf.data.Dataset` of batches from the files of `write_records`.

    Pixels and targets are those of `image_dataset`, with raw pixels for a model with scaling
    inside. Only TensorFlow operations are used, so the workers of a tf.data service can run them.
    Augment with layers in the model, or with `.map` and TensorFlow operations.

    Args:
        directory: The folder that `write_records` wrote.
        batch_size: Images per batch; the last batch may be smaller.
        label_mode: `"categorical"` (one-hot float32), `"int"`, `"binary"` (a float32 column, for
            two classes), or None for images only.
        shuffle: If True, use a different order in each epoch: the shards are shuffled, 16 of them
            are read in turn, and the next image is drawn from a buffer of 64 MB. If False, use the
            order of the table.
        seed: Seed of the order; None for a different order each time.
        shard: `(number, count)`, the part of this process, starting at `(0, count)`. It gets every
            `count`-th row of the table, starting at `number`. All parts have the same length, so
            up to `count - 1` images may be left out.
        drop_remainder: If True, leave out the last batch if it is smaller.
        service: Address of the dispatcher of a tf.data service, such as
            `"grpc://10.0.0.1:5000"`. Its workers must see the files at the same paths; they divide
            the shards among themselves, and read and decode them. Each image still comes once per
            epoch, but in an unpredictable order. It can't be combined with `shard`.
        verify: If True, compare the checksums of the shards first, which reads each of them once.
            Otherwise TensorFlow still stops at a damaged record, but doesn't name the file.
        progress: If True, show a progress bar while the checksums are computed.

    Returns:
        A dataset of `(images, targets)`, uint8 images, with static shapes and known length, and
        with `class_names`, an attribute that `.take()`, `.map()`, and the like lose.

    Raises:
        FileNotFoundError: If the directory holds no records.
        ValueError: If a shard is missing, incomplete, or damaged (the message has its path); if the
            number of shards isn't a multiple of `count`; if there are, without `shuffle`, more
            shards than a process may have open files; or if an argument has the wrong form.

    Example:
        >>> import tempfile, PIL.Image
        >>> from pathlib import Path
        >>> from cnnkit.data import list_images, record_dataset, write_records
        >>> with tempfile.TemporaryDirectory() as root:
        ...     Path(root, "photos", "cat").mkdir(parents=True)
        ...     PIL.Image.new("RGB", (8, 8)).save(Path(root, "photos", "cat", "1.png"))
        ...     written = write_records(
        ...         list_images(f"{root}/photos"), f"{root}/records", (8, 8), progress=False
        ...     )
        ...     dataset = record_dataset(f"{root}/records", label_mode="int", progress=False)
        ...     images, targets = next(iter(dataset))
        >>> images.shape.as_list(), targets.numpy().tolist()
        ([1, 8, 8, 3], [0])
    """
    check_whole_number("batch_size", batch_size)
    check_one_of("label_mode", label_mode, LABEL_MODES)
    folder = Path(directory)
    manifest = read_manifest(folder)
    numbers = _share(shard, len(manifest.images), service)
    _check_shards(folder, manifest, numbers, verify, progress)
    _check_labels(manifest, label_mode)
    paths = [os.fspath(manifest.shard(folder.absolute(), number)) for number in numbers]
    length = sum(manifest.images) // shard[1]
    if shuffle:
        _check_order(manifest)
        seed = fresh_seed(seed)
        records = _shuffled(paths, math.prod(manifest.shape), seed, in_turn=service is not None)
    else:
        if service is None:
            _check_open_files(len(paths))
        records = _in_order(paths)
    drops = drop_remainder and service is None  # each worker of a service has a last batch
    batches = records.take(length).batch(batch_size, drop_remainder=drops)
    dataset = batches.map(_decoder(manifest, label_mode), num_parallel_calls=os.cpu_count())
    if service is not None:
        dataset = _served(dataset, service).rebatch(batch_size, drop_remainder=drop_remainder)
    rounded = math.floor if drop_remainder else math.ceil
    dataset = dataset.apply(_cardinality(rounded(length / batch_size))).prefetch(2)
    dataset.class_names = manifest.class_names
    return dataset


def _share(shard: Sequence[int], shards: int, service: str | None) -> range:
    """Return the numbers of the shards that a process reads."""
    check_whole_numbers("shard", shard, least=0)
    if len(shard) != 2:
        msg = f"`shard` must be (number, count). Received: shard={shard!r}."
        raise ValueError(msg)
    number, count = shard
    if service is not None and count != 1:
        msg = (
            "`shard` must be left out with `service`, which divides the shards itself. "
            f"Received: shard={tuple(shard)!r}."
        )
        raise ValueError(msg)
    if number >= count:
        msg = (
            "`shard` must be (number, count), with a number from 0 to count - 1. "
            f"Received: shard={tuple(shard)!r}."
        )
        raise ValueError(msg)
    if shards % count:
        msg = (
            "The number of shards must be a multiple of the processes. "
            f"Received: {shards} shards, shard={tuple(shard)!r}. "
            f"Write them with shards={-(-shards // count) * count}."
        )
        raise ValueError(msg)
    return range(number, shards, count)


def _check_shards(
    folder: Path, manifest: Manifest, numbers: Sequence[int], verify: bool, progress: bool
) -> None:
    """Raise a ValueError unless all shards are there and, if asked, as they were written."""

    def state(number: int) -> str | None:
        path = os.fspath(manifest.shard(folder, number))
        if manifest.sha256[number] is None:
            return "has not been written yet. Repeat the call of `write_records` to continue"
        if not os.path.isfile(path):  # noqa: PTH113  # as the other paths here
            return "is missing. Repeat the call of `write_records` to write it again"
        found = digest(path) if verify else manifest.sha256[number]
        if found == path:
            return "can't be read. Check the disk and its permissions"
        if found != manifest.sha256[number]:
            return "is damaged. Delete it, and repeat the call of `write_records`"
        return None

    states = parallel_map(state, numbers, "verifying shards", None, progress and verify, "shard")
    for number, wrong in zip(numbers, states, strict=True):
        if wrong:
            msg = (
                "Every shard must be as it was written. "
                f"Received: {os.fspath(manifest.shard(folder, number))!r}, which {wrong}."
            )
            raise ValueError(msg)


def _check_labels(manifest: Manifest, label_mode: str | None) -> None:
    if label_mode is not None and manifest.class_names is None:
        msg = (
            "`label_mode` must be None for records without classes. "
            f"Received: label_mode={label_mode!r}."
        )
        raise ValueError(msg)


def _check_order(manifest: Manifest) -> None:
    """Warn if batches would hold few classes."""
    if manifest.in_class_order and sum(manifest.images) * math.prod(manifest.shape) > _SHUFFLED:
        warnings.warn(
            "The records are sorted by class, and only neighboring ones are shuffled, so batches "
            "will hold few classes. Write them from table.sample(frac=1, random_state=0).",
            UserWarning,
            stacklevel=3,
        )


def _check_open_files(shards: int) -> None:
    """Raise a ValueError if a process may not have as many files open as there are shards."""
    try:
        import resource
    except ImportError:  # on Windows, which has another limit
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and shards + _OPEN_BESIDE > limit:
        msg = (
            "To keep the order of the table, all shards are read in turn and are open at once. "
            f"Received: {shards} shards, while the system allows a process {limit} open files. "
            "Pass shuffle=True, raise the limit (`ulimit -n`), or write fewer, larger shards."
        )
        raise ValueError(msg)


def _in_order(paths: list[str]) -> Any:
    """Return the records of all shards, one of each in turn."""
    import tensorflow as tf

    files = tf.data.Dataset.from_tensor_slices(paths)
    return files.interleave(tf.data.TFRecordDataset, cycle_length=len(paths), block_length=1)


def _shuffled(paths: list[str], image_bytes: int, seed: int, *, in_turn: bool) -> Any:
    """Return the records in an order that differs in each iteration.

    With a service, the shards are taken in turn: if `shuffle` comes before `interleave`, TensorFlow
    2.21 gives all of them to each worker.
    """
    import tensorflow as tf

    files = tf.data.Dataset.from_tensor_slices(paths)
    files = files if in_turn else files.shuffle(len(paths), seed=seed)
    records = files.interleave(tf.data.TFRecordDataset, cycle_length=_OPEN, block_length=1)
    return records.shuffle(max(1, _SHUFFLED // image_bytes), seed=seed)


def _served(dataset: Any, service: str) -> Any:
    import tensorflow as tf

    once = tf.data.experimental.service.ShardingPolicy.DYNAMIC
    return dataset.apply(tf.data.experimental.service.distribute(once, service))


def _decoder(manifest: Manifest, label_mode: str | None) -> Any:
    """Return a function from a batch of records to images and targets."""
    import tensorflow as tf

    fields = {"image": tf.io.FixedLenFeature((), tf.string)}
    if label_mode is not None:
        fields["target"] = tf.io.FixedLenFeature((), tf.int64)
        made = TargetMaker(np.empty(0), len(manifest.class_names or []), label_mode)

    def decode(records: Any) -> Any:
        found = tf.io.parse_example(records, fields)
        pixels = tf.io.decode_raw(found["image"], tf.uint8)
        images = tf.reshape(pixels, (-1, *manifest.shape))
        if label_mode is None:
            return images
        numbers = found["target"]
        if label_mode == "categorical":
            return images, tf.one_hot(numbers, made.classes, dtype=made.dtype)
        return images, tf.reshape(tf.cast(numbers, made.dtype), (-1, *made.shape))

    return decode


def _cardinality(count: int) -> Any:
    import tensorflow as tf

    return tf.data.experimental.assert_cardinality(count)
