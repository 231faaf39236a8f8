"""Writing images to a few large files, for machines that share a disk or have none."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from cnnkit._foundation.validation import check_whole_number
from cnnkit._foundation.whole_files import PARTIAL, whole
from cnnkit.data._feeding.sources import Reading, Source, key_of, table_source
from cnnkit.data._records.manifest import NAME, Manifest, read_manifest, write_manifest

_SHARD = 2**27  # bytes, by default
_AT_ONCE = 64  # images in the making


def write_records(
    table: pd.DataFrame,
    directory: str | os.PathLike[str],
    image_size: Sequence[int],
    *,
    shards: int | None = None,
    color_mode: str = "rgb",
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Read and resize the images of a table, and write them to a few large TFRecord files.

    This is for images that many machines read, or that are stored where many small files are slow.
    On a single machine, `image_dataset` with `cache=` does the same. Pixels are stored without
    loss: an image of 224 x 224 pixels takes 150 kB.

    If a run is interrupted or killed, repeat the call: it continues after the last complete shard.
    It also writes shards again that have been lost. Other files in the directory are not touched.
    The same table gives the same bytes, interrupted or not.

    Rows are dealt to the shards in turn: row 0 to the first shard, row 1 to the second, and so on.
    For training, shuffle the table first with `table.sample(frac=1, random_state=0)`, because
    `record_dataset` shuffles only records that are close to each other.

    Args:
        table: A table from `list_images`. If it has no classes, neither have the records.
        directory: The folder for the shards and `records.json`; it is created if necessary.
        image_size: `(height, width)` to resize to.
        shards: Number of files. For several processes, choose a multiple of their number. By
            default, each file has at most 128 MB.
        color_mode: `"rgb"` or `"grayscale"`.
        crop_to_aspect_ratio: If True, crop images instead of stretching them.
        pad_to_aspect_ratio: If True, add black borders instead of stretching images.
        workers: Number of threads that read images; by default the number of processors.
        progress: If True, show a progress bar.

    Returns:
        The shards: a table with `file_paths`, `images` (how many) and `sha256`. A record is a
        `tf.train.Example` with `image` (its uint8 pixels), `target`, `target_name` and `path`.

    Raises:
        FileExistsError: If the directory holds records of other images, of another size, or with
            another number of shards; of files that have changed or moved since; or from other
            versions of cnnkit, OpenCV, or Pillow, which may read other pixels.
        ImageReadError: If a file can't be read; the message has its path and its place.
            `check_images` finds all such files in advance. If you remove or replace the file, the
            records are different ones: delete the folder and start again.
        OSError: If a shard can't be written. No incomplete file is left behind.
        ValueError: If an argument has the wrong form, or there are more shards than images.

    Example:
        >>> import tempfile, PIL.Image
        >>> from pathlib import Path
        >>> from cnnkit.data import list_images, record_dataset, write_records
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in ("cat", "dog"):
        ...         Path(root, "photos", name).mkdir(parents=True)
        ...         PIL.Image.new("RGB", (8, 8)).save(Path(root, "photos", name, "1.png"))
        ...     table = list_images(f"{root}/photos").sample(frac=1, random_state=0)
        ...     written = write_records(table, f"{root}/records", (8, 8), progress=False)
        ...     dataset = record_dataset(f"{root}/records", batch_size=2, progress=False)
        ...     images, targets = next(iter(dataset))
        >>> written["images"].tolist(), images.shape.as_list(), dataset.class_names
        ([2], [2, 8, 8, 3], ['cat', 'dog'])
    """
    reading = Reading(image_size, color_mode, crop_to_aspect_ratio, pad_to_aspect_ratio)
    label_mode = "int" if "targets" in getattr(table, "columns", ()) else None
    source = table_source(table, reading, label_mode)
    if workers is not None:
        check_whole_number("workers", workers)
    folder = Path(directory).absolute()
    manifest = _opened(folder, _planned(source, shards))
    _write_shards(folder, manifest, source, workers, progress)
    paths = [os.fspath(manifest.shard(folder, n)) for n in range(len(manifest.images))]
    columns = {"file_paths": paths, "images": manifest.images, "sha256": manifest.sha256}
    return pd.DataFrame(columns)


def _planned(source: Source, shards: int | None) -> Manifest:
    """Return the manifest of the shards to write."""
    if shards is None:
        shards = max(1, -(-source.length * prod(source.shape) // _SHARD))
    check_whole_number("shards", shards)
    if shards > source.length:
        msg = (
            "`shards` must not be more than the images. "
            f"Received: shards={shards}, with {source.length} images in the table."
        )
        raise ValueError(msg)
    numbers = _numbers(source, range(source.length))
    changes = int(np.count_nonzero(np.diff(numbers)))
    told = (key_of(source), shards, source.class_names, numbers)
    return Manifest(
        key=hashlib.sha256(repr(told).encode()).hexdigest(),
        shape=source.shape,
        class_names=None if source.targets is None else source.class_names,
        in_class_order=0 < changes < len(set(numbers)),
        images=[len(range(number, source.length, shards)) for number in range(shards)],
        sha256=[None] * shards,
    )


def _numbers(source: Source, places: Sequence[int]) -> list[int]:
    made = source.targets
    return [] if made is None else made(np.asarray(places, dtype=np.int64)).tolist()


def _opened(folder: Path, planned: Manifest) -> Manifest:
    """Return the manifest in the folder if it fits, or write the planned one."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / NAME).exists():
        found = read_manifest(folder)
        if found.key == planned.key:
            return found
        others = (
            "records of other images, sizes, or numbers of shards, of files that have changed or "
            "moved since, or from other versions of cnnkit, OpenCV, or Pillow"
        )
    elif not any(folder.glob("images-*.tfrecord")):
        write_manifest(folder, planned)
        return planned
    else:
        others = f"shards without {NAME}"
    msg = (
        "`directory` must be new, or hold records of the same images. "
        f"Received: {os.fspath(folder)!r}, which holds {others}. Use another directory, or "
        "delete this one if you no longer need it."
    )
    raise FileExistsError(msg)


def _write_shards(
    folder: Path, manifest: Manifest, source: Source, workers: int | None, progress: bool
) -> None:
    """Write the missing shards, and add each to the manifest."""

    def is_to_write(number: int) -> bool:
        return manifest.sha256[number] is None or not manifest.shard(folder, number).exists()

    for left in folder.glob(f"{PARTIAL}*"):  # by a killed run
        left.unlink()
    missing = [number for number in range(len(manifest.images)) if is_to_write(number)]
    count = sum(manifest.images[number] for number in missing)
    threads = ThreadPoolExecutor(workers or os.cpu_count())
    bar = tqdm(total=count, desc="writing records", unit="image", disable=not progress)
    with threads as pool, bar:
        for number in missing:
            path = manifest.shard(folder, number)
            path.unlink(missing_ok=True)  # a killed run has written, but not noted it
            places = range(number, source.length, len(manifest.images))
            examples = _in_turn(pool, partial(_example, source), places)
            sums: list[str] = []
            with _told(path):
                whole(os.fspath(path), lambda part: sums.append(_written(part, examples, bar)))  # noqa: B023
            manifest.sha256[number] = sums[0]
            write_manifest(folder, manifest)


def _in_turn(
    pool: ThreadPoolExecutor, make: Callable[[int], bytes], places: Sequence[int]
) -> Iterator[bytes]:
    """Yield the record of each place; a few are made at a time."""
    left = iter(places)
    while some := list(islice(left, _AT_ONCE)):
        yield from pool.map(make, some)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn an error of TensorFlow into an OSError that names the file."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        msg = (
            f"Could not write {os.fspath(path)!r}: {error.message}. Fix the cause and repeat the "
            "call, which continues from there."
        )
        raise OSError(msg) from error


def _written(path: str, examples: Iterator[bytes], bar: Any) -> str:
    """Write a shard; return its checksum."""
    import tensorflow as tf

    with tf.io.TFRecordWriter(path) as writer:
        for example in examples:
            writer.write(example)
            bar.update()
    with Path(path).open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _example(source: Source, place: int) -> bytes:
    """Return the record of the image at a place."""
    import tensorflow as tf

    paths = source.file_paths or []
    words = {"image": source.read(place).tobytes(), "path": os.fsencode(paths[place])}
    whole = {}
    if source.class_names is not None and source.targets is not None:
        (number,) = _numbers(source, [place])
        words["target_name"] = os.fsencode(source.class_names[number])
        whole["target"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[number]))
    for name, word in words.items():
        whole[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[word]))
    made = tf.train.Example(features=tf.train.Features(feature=whole))
    # Otherwise the order of the fields differs from process to process.
    return bytes(made.SerializeToString(deterministic=True))
