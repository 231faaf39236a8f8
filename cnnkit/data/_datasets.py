"""The fast way from images to a model: a `tf.data.Dataset`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnnkit._transforms import ImageTransform, Transform, check_same_shape, is_keras_layer
from cnnkit._validation import check_one_of, check_whole_number
from cnnkit.data._batches import (
    LABEL_MODES,
    BatchMaker,
    Source,
    TargetMaker,
    cut,
    fresh_seed,
    order_of_epoch,
    remembering,
    table_source,
)
from cnnkit.data._skipping import reasons_of
from cnnkit.data._split import Split
from cnnkit.data._splitting import flat_targets
from cnnkit.preprocess import scale


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
    cache: str | None = None,
    on_error: str = "raise",
    workers: int | None = None,
    progress: bool = True,
) -> Any:
    """Make a `tf.data.Dataset` of batches from a table of images or from arrays.

    With a seed, every run gives the same bytes at any number of workers, and every epoch another
    draw: what is drawn for an image depends on the seed, the epoch and its place alone. The epoch
    is the count of iterations over the dataset, from `initial_epoch` on. That holds for transforms
    with albumentations' `set_random_state`; a function with a random state of its own keeps it.

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
        cache: `"memory"` keeps the decoded, resized images, in front of the transform; None reads
            the files in every epoch.
        on_error: What an unreadable file does: `"raise"` stops the iteration when it is reached;
            `"skip"` reads all files beforehand and leaves it out.
        workers: Batches made at the same time; chosen by TensorFlow by default.
        progress: If True, show a progress bar while files are read beforehand.

    Returns:
        A dataset of `(images, targets)` with static shapes and known length. It has three further
        attributes, lost by `.take()`, `.map()` and their like: `class_names`; `file_paths` in the
        table's order; and `skipped`, a table of the files that were left out, with a column
        `reason` (the last two are None for arrays).

    Raises:
        ValueError: If an argument has the wrong form, or the table has no images. A file that
            can't be read stops the iteration with its path.

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
    check_one_of("cache", cache, (None, "memory"))
    check_one_of("on_error", on_error, ("raise", "skip"))
    if workers is not None:
        check_whole_number("workers", workers)
    _check_belongs(source, image_size, class_names)
    if isinstance(source, tuple):
        given, skipped = _array_source(source, label_mode, class_names), None
    else:
        read_table = partial(
            table_source,
            image_size=image_size or (),
            color_mode=color_mode,
            label_mode=label_mode,
            crop_to_aspect_ratio=crop_to_aspect_ratio,
            pad_to_aspect_ratio=pad_to_aspect_ratio,
        )
        given = read_table(source)
        skipped = source[:0].assign(reason=None)
        if on_error == "skip":
            readable, skipped = _readable(source, given, workers, progress)
            given = read_table(readable)
    if not given.length:
        msg = "`source` must hold at least one image that can be read. Received: none."
        raise ValueError(msg)
    seed = fresh_seed(seed)
    read = given.read
    if cache == "memory" and given.file_paths is not None:
        read = remembering(read, given.length, given.shape)
    layer = transform if is_keras_layer(transform) else None
    change = None if transform is None or layer else ImageTransform(transform)
    make = BatchMaker(read, given.shape, change, "none" if layer else mode, seed)
    batches = _batches(given.length, batch_size, shuffle, seed, itertools.count(initial_epoch))
    batch_count = math.ceil(given.length / batch_size)
    dataset = _dataset(batches, make, given.targets, workers, batch_count)
    if layer is not None:
        dataset = _through_layer(dataset, layer, mode, given.shape)
    dataset.class_names = given.class_names
    dataset.file_paths = given.file_paths
    dataset.skipped = skipped
    return dataset


def _readable(
    table: pd.DataFrame, given: Source, workers: int | None, progress: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows whose images can be read, and the others with the reason."""
    reason = reasons_of(table, given.read, raises=False, workers=workers, progress=progress)
    unread = reason.notna()
    return table[~unread], table[unread].assign(reason=reason[unread])


def _batches(
    length: int, batch_size: int, shuffle: bool, seed: int, epochs: Iterator[int]
) -> Callable[[], Iterator[tuple[int, NDArray[np.int64]]]]:
    """Return what gives the epoch and the places of each batch, another epoch at each call."""

    def batches() -> Iterator[tuple[int, NDArray[np.int64]]]:
        epoch = next(epochs)
        for places in cut(order_of_epoch(length, shuffle, seed, epoch), batch_size):
            yield epoch, places

    return batches


def _dataset(
    batches: Callable[[], Iterator[tuple[int, NDArray[np.int64]]]],
    make: BatchMaker,
    targets: TargetMaker | None,
    workers: int | None,
    batch_count: int,
) -> Any:
    """Map batches of places, which are cheap to order, to batches of images, side by side."""
    import tensorflow as tf

    def load(epoch: Any, places: Any) -> Any:
        images = tf.numpy_function(make, (epoch, places), make.dtype, stateful=False)
        images = tf.ensure_shape(images, (None, *make.shape))
        if targets is None:
            return images
        labels = tf.numpy_function(targets, (places,), targets.dtype, stateful=False)
        return images, tf.ensure_shape(labels, (None, *targets.shape))

    signature = (tf.TensorSpec((), tf.int64), tf.TensorSpec((None,), tf.int64))
    return (
        tf.data.Dataset.from_generator(batches, output_signature=signature)
        .apply(tf.data.experimental.assert_cardinality(batch_count))
        .map(load, num_parallel_calls=workers or tf.data.AUTOTUNE, deterministic=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def _through_layer(dataset: Any, layer: Any, mode: str, shape: tuple[int, int, int]) -> Any:
    """Augment batches by a Keras layer, one after another: they share its random state."""
    import tensorflow as tf

    def augment(images: Any, *targets: Any) -> Any:
        changed = layer(tf.cast(images, tf.float32), training=True)
        check_same_shape(shape, tuple(changed.shape[1:]))
        if mode != "none":
            scaled = tf.numpy_function(partial(scale, mode=mode), [changed], tf.float32)
            changed = tf.ensure_shape(scaled, changed.shape)
        return (changed, *targets) if targets else changed

    return dataset.map(augment).prefetch(tf.data.AUTOTUNE)


def _check_belongs(
    source: Any, image_size: Sequence[int] | None, class_names: Sequence[str] | None
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
    if not is_arrays and class_names is not None:
        msg = (
            "`class_names` is for arrays; a table has its own. "
            f"Received: class_names={class_names!r}. Give them to `list_images`."
        )
        raise ValueError(msg)


def _array_source(
    source: tuple[NDArray[Any], Any], label_mode: str | None, class_names: Sequence[str] | None
) -> Source:
    images = np.asarray(source[0])
    if images.dtype != np.uint8 or images.ndim != 4:
        msg = (
            "`source` must hold uint8 images (images, height, width, channels). "
            f"Received: {images.dtype} images of shape {images.shape}."
        )
        raise ValueError(msg)
    names = None if class_names is None else list(class_names)
    check_one_of("label_mode", label_mode, LABEL_MODES)
    targets = None
    if label_mode is not None:
        numbers = _class_numbers(source[1], len(images), names)
        if names is None:
            names = [str(number) for number in range(int(numbers.max(initial=0)) + 1)]
        targets = TargetMaker(numbers, len(names), label_mode)
    height, width, channels = images.shape[1:]
    return Source(
        images.__getitem__, len(images), (height, width, channels), targets, names, file_paths=None
    )


def _class_numbers(targets: Any, count: int, names: list[str] | None) -> NDArray[np.int64]:
    given = np.asarray(targets)
    numbers = flat_targets(given) if given.ndim in (1, 2) else given
    whole = np.issubdtype(numbers.dtype, np.integer) and numbers.shape == (count,)
    most = len(names) - 1 if names else np.inf
    if not whole or numbers.min(initial=0) < 0 or numbers.max(initial=0) > most:
        msg = (
            f"`source` must hold a class number for each of {count} images, from 0 on"
            f"{f' to {most}' if names else ''}. Received: targets of shape {given.shape} and type "
            f"{given.dtype}."
        )
        raise ValueError(msg)
    return numbers.astype(np.int64)
