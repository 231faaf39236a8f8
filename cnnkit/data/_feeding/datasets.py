"""The fast way from images to a model: a `tf.data.Dataset`."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from cnnkit._foundation.validation import check_one_of, check_whole_number
from cnnkit.data._feeding.batches import ImageBatches, fresh_seed
from cnnkit.data._feeding.keeping import kept
from cnnkit.data._feeding.layers import as_layer_or_transform, through_layer
from cnnkit.data._feeding.pipelines import FixedImages, Passes, batch_dataset, workers_for
from cnnkit.data._feeding.sources import Reading, Source, array_source, table_source
from cnnkit.data._feeding.whole import Beforehand, whole
from cnnkit.data._tables.split import Split
from cnnkit.preprocess._transforms import Transform


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

    With a seed, every run gives the same bytes at any number of workers. What is drawn for an image
    depends only on the seed, the epoch, and the image's place, so each epoch draws anew. Epochs are
    counted by iterations over the dataset, starting at `initial_epoch`. This holds for transforms
    that have albumentations' `set_random_state`. A function or an object with its own random state
    keeps it, and all workers share it: they call a function concurrently, and an object one at a
    time.

    Args:
        source: A table from `list_images`, or a pair `(images, targets)` of uint8 images
            `(images, height, width, channels)` and class numbers `(images,)` or one-hot rows.
        image_size: `(height, width)` to resize to; required for a table, not allowed for arrays.
        batch_size: Images per batch; the last batch may be smaller.
        transform: An augmentation: an albumentations transform, anything with its protocol, a
            function of a uint8 array, or a Keras layer such as `RandomFlip` or a `Sequential` of
            them, which gets float32 batches in 0..255 and draws from its own seed. It must keep
            the shape. Use it for training data only.
        mode: A mode of `cnnkit.preprocess.scale`; `"none"` gives raw uint8 pixels, for a model
            with scaling inside.
        label_mode: `"categorical"` (one-hot float32), `"int"`, `"binary"` (a float32 column, for
            two classes), or None for images only.
        color_mode: `"rgb"` or `"grayscale"`, for a table.
        crop_to_aspect_ratio: If True, crop images instead of stretching them.
        pad_to_aspect_ratio: If True, add black borders instead of stretching images.
        class_names: Names of the classes, for arrays; by default their numbers. A table has its
            own.
        shuffle: If True, use a different order in each epoch.
        seed: Seed of the order and the transform; None for a different run each time.
        initial_epoch: Number of the first epoch, to resume a seeded run.
        cache: Where to keep the decoded and resized images, before the transform: `"memory"` or a
            file. They are read when the dataset is made; with `"memory"` and neither shuffling nor
            a transform, they are read in the first epoch. A file also serves later runs, and holds
            images that don't fit into memory. It is made anew if the files, their sizes, or their
            dates have changed; several processes may make it at the same time. With None, files are
            read in every epoch.
        on_error: What to do with an unreadable file. `"raise"` stops the iteration when the file is
            reached, which may be a few batches early; `"skip"` reads all files when the dataset is
            made, and leaves it out.
        workers: How many batches to make at the same time; by default the number of processors,
            at most 16, or one for tiny files. With 0, a batch is made when it is requested.
        progress: If True, show a progress bar while files are read before the first epoch.

    Returns:
        A dataset of `(images, targets)` with static shapes and known length. It has four further
        attributes, which `.take()`, `.map()`, and the like lose: `class_names`; `file_paths` in the
        table's order; `skipped`, a table of the files that were left out, with a column `reason`
        (these two are None for arrays); and `fixed_images`, from which `cache_features`
        takes them in the table's order (None with a transform).

    Raises:
        ImageReadError: If a file can't be read when the dataset is made; the message has its path
            and its place. In the middle of an epoch, TensorFlow turns the error into a
            `tf.errors.UnknownError` with the same text.
        ValueError: If an argument has the wrong form, the table has no images, or `cache` is the
            path of a file that isn't a cache.

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
    layer, change = as_layer_or_transform(transform)
    seed = fresh_seed(seed)
    reading = Reading(image_size, color_mode, crop_to_aspect_ratio, pad_to_aspect_ratio)
    threads = None if workers is None else max(1, workers)
    beforehand = Beforehand(on_error == "raise", threads, progress)
    keeps_batches = cache == "memory" and transform is None and not shuffle

    images = _source(source, reading, label_mode, class_names)
    images = kept(images, None if keeps_batches else cache, beforehand)
    images = _not_empty(whole(images, beforehand))
    batches = ImageBatches(images, change, "none" if layer else mode, seed)
    epochs = itertools.count(initial_epoch)
    passes = Passes(batch_size, shuffle, epochs, workers_for(images, workers))
    dataset = batch_dataset(batches, passes, cached=keeps_batches)

    if layer is not None:
        dataset = through_layer(dataset, layer, mode, images.shape, passes.workers)
    dataset.class_names = images.class_names
    dataset.file_paths = images.file_paths
    dataset.skipped = images.skipped
    dataset.fixed_images = FixedImages(batches, passes) if transform is None else None
    return dataset


def _source(
    source: Any, reading: Reading, label_mode: str | None, class_names: Sequence[str] | None
) -> Source:
    if isinstance(source, tuple):
        return _not_empty(array_source(source, label_mode, class_names))
    return _not_empty(table_source(source, reading, label_mode))


def _not_empty(images: Source) -> Source:
    """Return a source, or raise a ValueError if there is no image in it."""
    if not images.length:
        msg = "`source` must hold at least one image that can be read. Received: none."
        raise ValueError(msg)
    return images


def _check_belongs(
    source: Any,
    image_size: Sequence[int] | None,
    class_names: Sequence[str] | None,
    cache: str | os.PathLike[str] | None,
) -> None:
    """Raise a ValueError if an option is missing for a kind of source, or belongs to the other."""
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
