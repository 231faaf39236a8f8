"""The fast way from images to a model: a `tf.data.Dataset`."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnnkit._foundation.validation import check_one_of, check_whole_number
from cnnkit.data._feeding.batches import BatchMaker, fresh_seed
from cnnkit.data._feeding.caching import cached_in_file, key_of_files
from cnnkit.data._feeding.layers import check_keeps_classes, through_layer
from cnnkit.data._feeding.loading import load_images
from cnnkit.data._feeding.pipelines import batch_dataset, usual_workers
from cnnkit.data._feeding.recipes import ArrayMaker, Recipe
from cnnkit.data._feeding.skipping import reasons_of
from cnnkit.data._feeding.sources import Source, array_source, table_source
from cnnkit.data._tables.split import Split
from cnnkit.preprocess._transforms import (
    ImageTransform,
    Transform,
    is_keras_layer,
)


def image_dataset(
    source: pd.DataFrame | tuple[NDArray[Any], NDArray[Any]],
    image_size: Sequence[int] | None = None,
    *,
    batch_size: int = 32,
    transform: Transform | None = None,
    mode: str = "none",
    label_mode: str | None = "categorical",
    color_mode: str = "rgb",
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    class_names: Sequence[str] | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    initial_epoch: int = 0,
    cache: str | os.PathLike[str] | None = None,
    on_error: str = "raise",
    workers: int | None = None,
    progress: bool = True,
) -> Any:
    """Make a `tf.data.Dataset` of batches from a table of images or from arrays.

    With a seed, every run gives the same bytes at any number of workers, and every epoch another
    draw: what is drawn for an image depends on the seed, the epoch and its place alone. The epoch
    is the count of iterations over the dataset, from `initial_epoch` on. That holds for transforms
    with albumentations' `set_random_state`; a function or an object with a random state of its own
    keeps it, one for all workers. Workers call a function at the same time, and an object one after
    another.

    Args:
        source: A table as `list_images` gives it, or a pair `(images, targets)` of uint8 images
            `(images, height, width, channels)` and class numbers `(images,)` or one-hot rows.
        image_size: `(height, width)` to resize to; needed for a table, not for arrays.
        batch_size: Images a batch; the last batch may be smaller.
        transform: An augmentation: an albumentations transform, anything with its protocol, a
            function of a uint8 array, or a Keras layer such as `RandomFlip` or a `Sequential` of
            them, which gets float32 batches in 0..255 and draws from its own seed. It must keep
            the shape. For training data only.
        mode: A mode of `cnnkit.preprocess.scale`; `"none"` gives raw uint8 pixels, for a model
            that scales inside.
        label_mode: `"categorical"` (one-hot float32), `"int"`, `"binary"` (a float32 column, for
            two classes), or None for images only.
        color_mode: `"rgb"` or `"grayscale"`, for a table.
        crop_to_aspect_ratio: If True, cut the sides of images rather than stretch them.
        pad_to_aspect_ratio: If True, add black borders rather than stretch images.
        class_names: Names of the classes, for arrays; their numbers by default. A table has its
            own.
        shuffle: If True, another order in each epoch.
        seed: For the order and the transform; None for another run each time.
        initial_epoch: Number of the first epoch, to resume a seeded run.
        cache: `"memory"` or a file keeps the decoded, resized images, in front of the transform:
            they are read beforehand, or with `"memory"`, neither shuffled nor transformed, in the
            first epoch. A file serves later runs as well, and images that don't fit into memory;
            one that was made of other files, or of files of another length or date, is made anew,
            and several processes may make it at once. None reads the files in every epoch.
        on_error: What an unreadable file does: `"raise"` stops the iteration when it is reached,
            which may be some batches before its own; `"skip"` reads all files beforehand and leaves
            it out.
        workers: Batches made at the same time; by default the number of processors, at most 16,
            or one for tiny files. With 0, a batch is made when it is asked for.
        progress: If True, show a progress bar while files are read beforehand.

    Returns:
        A dataset of `(images, targets)` with static shapes and known length. It has three further
        attributes, lost by `.take()`, `.map()` and their like: `class_names`; `file_paths` in the
        table's order; and `skipped`, a table of the files that were left out, with a column
        `reason` (the last two are None for arrays).

    Raises:
        ImageReadError: If a file can't be read beforehand, with its path and its place. In the
            middle of an epoch TensorFlow makes a `tf.errors.UnknownError` of it, with the same
            text.
        ValueError: If an argument has the wrong form, the table has no images, or `cache` is the
            path of something else than a cache file.

    Example:
        >>> import numpy as np
        >>> from cnnkit.data import image_dataset
        >>> images = np.zeros((10, 8, 8, 3), dtype=np.uint8)
        >>> dataset = image_dataset((images, np.arange(10) % 2), batch_size=4)
        >>> len(dataset), dataset.class_names
        (3, ['0', '1'])
    """
    check_whole_number("batch_size", batch_size)
    check_whole_number("initial_epoch", initial_epoch, least=0)
    check_one_of("on_error", on_error, ("raise", "skip"))
    if workers is not None:
        check_whole_number("workers", workers, least=0)
    _check_belongs(source, image_size, class_names, cache)
    keeps_batches = cache == "memory" and transform is None and not shuffle
    reading = {
        "image_size": image_size,
        "color_mode": color_mode,
        "crop_to_aspect_ratio": crop_to_aspect_ratio,
        "pad_to_aspect_ratio": pad_to_aspect_ratio,
    }
    if isinstance(source, tuple):
        given, skipped = array_source(source, label_mode, class_names), None
    else:
        given, skipped = _table_images(
            source,
            label_mode,
            reading,
            None if keeps_batches else cache,
            on_error,
            {"workers": None if workers is None else max(1, workers), "progress": progress},
        )
    _check_any(given.length)
    if workers is None:
        workers = usual_workers(given.file_paths)
    layer = transform if is_keras_layer(transform) else None
    if layer is not None:
        check_keeps_classes(layer)
    change = None if transform is None or layer else ImageTransform(transform)
    make = BatchMaker(given.read, given.shape, change, "none" if layer else mode, fresh_seed(seed))
    batched = partial(
        batch_dataset,
        targets=given.targets,
        length=given.length,
        batch_size=batch_size,
        shuffle=shuffle,
        epochs=itertools.count(initial_epoch),
        workers=workers,
    )
    dataset = batched(make, cached=keeps_batches)
    if layer is not None:
        dataset = through_layer(dataset, layer, mode, given.shape, workers)
    dataset.class_names = given.class_names
    dataset.file_paths = given.file_paths
    dataset.skipped = skipped
    if transform is None:
        dataset.recipe = Recipe(
            make,
            given.length,
            batch_size,
            partial(_identity, given, source, reading),
            lambda array: batched(ArrayMaker(array, make.seed), cached=False),
        )
    return dataset


def _identity(given: Source, source: Any, reading: dict[str, Any]) -> str:
    """Return what tells images from other images."""
    if given.file_paths is not None:
        return key_of_files(given.file_paths, list(reading.values()))
    return hashlib.sha256(np.ascontiguousarray(source[0]).data).hexdigest()


def _table_images(
    table: pd.DataFrame,
    label_mode: str | None,
    reading: dict[str, Any],
    cache: str | os.PathLike[str] | None,
    on_error: str,
    running: dict[str, Any],
) -> tuple[Source, pd.DataFrame]:
    """Return the images of a table, cached as asked, and the rows that are left out."""
    given = table_source(table, label_mode=label_mode, **reading)
    _check_any(given.length)
    if cache == "memory":
        loaded = load_images(table, **reading, on_error=on_error, **running)
        given = table_source(loaded.table, label_mode=label_mode, **reading)
        return given._replace(read=loaded.images.__getitem__), loaded.skipped
    if cache is not None:
        raises = on_error == "raise"
        how = [value for name, value in reading.items() if name != "image_size"]
        given = cached_in_file(given, cache, [given.shape, *how], raises=raises, **running)
    if on_error == "raise":
        return given, table[:0].assign(reason=None)
    reason = reasons_of(table, given.read, raises=False, **running)
    rows = np.flatnonzero(reason.isna())
    kept = table_source(table.iloc[rows], label_mode=label_mode, **reading)
    skipped = table[reason.notna()].assign(reason=reason[reason.notna()])
    return kept._replace(read=lambda place: given.read(rows[place])), skipped


def _check_any(length: int) -> None:
    if not length:
        msg = "`source` must hold at least one image that can be read. Received: none."
        raise ValueError(msg)


def _check_belongs(
    source: Any,
    image_size: Sequence[int] | None,
    class_names: Sequence[str] | None,
    cache: str | os.PathLike[str] | None,
) -> None:
    """Raise a ValueError if an option is missing for this source, or belongs to the other kind."""
    is_arrays = isinstance(source, tuple)
    if isinstance(source, Split):
        msg = "`source` must be one table. Received: a Split. Pass split.train or another part."
        raise TypeError(msg)
    if not is_arrays and image_size is None:
        msg = (
            "`image_size` must be given for a table, because batches need one size. "
            "Received: image_size=None."
        )
        raise ValueError(msg)
    if is_arrays and image_size is not None:
        msg = (
            "`image_size` is for a table; arrays are taken as they are. "
            f"Received: image_size={image_size!r}. Resize the arrays first."
        )
        raise ValueError(msg)
    if is_arrays and cache not in (None, "memory"):
        msg = (
            "`cache` can't be a file for arrays, which are in memory already. "
            f"Received: cache={os.fspath(cache)!r}. Leave it out."
        )
        raise ValueError(msg)
    if not is_arrays and class_names is not None:
        msg = (
            "`class_names` is for arrays; a table has its own. "
            f"Received: class_names={class_names!r}. Give them to `list_images`."
        )
        raise ValueError(msg)
