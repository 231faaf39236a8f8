"""Records as a pipeline of TensorFlow's own operations, which runs where Python doesn't."""

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
    """Make a `tf.data.Dataset` of batches from what `write_records` wrote.

    Pixels and targets are those of `image_dataset`, raw, for a model that scales inside. All is
    done by TensorFlow's own operations, so that the workers of a tf.data service can do it as well.
    Augment by layers in the model, or by `.map` with operations of TensorFlow.

    Args:
        directory: The folder that `write_records` wrote.
        batch_size: Images a batch; the last batch may be smaller.
        label_mode: `"categorical"` (one-hot float32), `"int"`, `"binary"` (a float32 column, for
            two classes), or None for images only.
        shuffle: If True, another order in each epoch: shards in another order, 16 of them read in
            turn, and the next image drawn from among 64 MB. If False, the order of the table.
        seed: For the order; None for another one each time.
        shard: `(number, count)`: the part of this process, from `(0, count)` on. Of the table's
            rows it gets every `count`-th from its number on; all parts are equally long, for which
            up to `count - 1` images may be left out.
        drop_remainder: If True, leave out a last batch that is smaller.
        service: Address of the dispatcher of a tf.data service, such as
            `"grpc://10.0.0.1:5000"`: its workers, which must see the files by the same path, share
            out the shards, read and decode them. Every image still comes once an epoch, but in no
            order that can be told beforehand, and not with `shard`.
        verify: If True, compare the checksums of the shards beforehand, which reads each once.
            Without, TensorFlow still stops at a damaged record, but doesn't name the file.
        progress: If True, show a progress bar meanwhile.

    Returns:
        A dataset of `(images, targets)`, uint8 images, with static shapes and known length, and
        with `class_names`, an attribute that `.take()`, `.map()` and their like lose.

    Raises:
        FileNotFoundError: If the directory holds no records.
        ValueError: If a shard is missing, unfinished or damaged, with its path; if the number of
            shards isn't a multiple of `count`; if there are more than the system lets be open at a
            time, without `shuffle`; or if an argument has the wrong form.

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
            "`shard` must be left out with `service`, which shares out the shards itself. "
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
            return "was not written yet. Repeat the call of `write_records` to go on"
        if not os.path.isfile(path):  # noqa: PTH113  # as the other paths here
            return "is missing. Repeat the call of `write_records` to write it again"
        found = digest(path) if verify else manifest.sha256[number]
        if found == path:
            return "can't be read. Look at the disk and at its permissions"
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
    """Warn if batches would be of few classes."""
    if manifest.in_class_order and sum(manifest.images) * math.prod(manifest.shape) > _SHUFFLED:
        warnings.warn(
            "The records stand in the order of their classes, and only what is near is shuffled: "
            "batches will be of few classes. Write them from table.sample(frac=1, random_state=0).",
            UserWarning,
            stacklevel=3,
        )


def _check_open_files(shards: int) -> None:
    """Raise a ValueError if a process may not have so many shards open at a time."""
    try:
        import resource
    except ImportError:  # on Windows, which has another limit
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and shards + _OPEN_BESIDE > limit:
        msg = (
            "In the order of the table, all shards are read in turn, and so are open at a time. "
            f"Received: {shards} shards, where the system allows a process {limit} open files. "
            "Pass shuffle=True, raise the limit (`ulimit -n`), or write fewer, larger shards."
        )
        raise ValueError(msg)


def _in_order(paths: list[str]) -> Any:
    """Return the records of all shards, one of each in turn."""
    import tensorflow as tf

    files = tf.data.Dataset.from_tensor_slices(paths)
    return files.interleave(tf.data.TFRecordDataset, cycle_length=len(paths), block_length=1)


def _shuffled(paths: list[str], image_bytes: int, seed: int, *, in_turn: bool) -> Any:
    """Return the records in an order that each iteration draws anew.

    With a service, the shards are taken in turn: TensorFlow 2.21 gives each worker all of them
    where `shuffle` stands in front of `interleave`.
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
