"""Iterators for those who work with the flows of ImageDataGenerator."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from cnnkit._foundation.validation import check_one_of, check_whole_number
from cnnkit.data._feeding.batches import ImageBatches, fresh_seed
from cnnkit.data._feeding.sources import Reading, table_source
from cnnkit.data._tables.split import Split
from cnnkit.data._tables.tables import check_table
from cnnkit.preprocess._transforms import ImageTransform, Transform

# The words of ImageDataGenerator's flows for the label modes of `image_dataset`.
_CLASS_MODES = {"categorical": "categorical", "sparse": "int", "binary": "binary", None: None}


def flow_from_tables(
    split: Split[pd.DataFrame],
    image_size: Sequence[int],
    *,
    transform: Transform | None = None,
    mode: str = "none",
    batch_size: int = 32,
    class_mode: str | None = "categorical",
    color_mode: str = "rgb",
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    seed: int | None = None,
    workers: int = 1,
) -> Split[Any]:
    """Make iterators over the train, validation, and test tables at once.

    They look like ImageDataGenerator's iterators without their traps: only the train images are
    shuffled and transformed, all three have the same class order, and `read_image` reads the files.
    With a seed, each batch has the same bytes in every run, at any number of workers. Keras chooses
    the order of the batches: it shuffles them unless `fit(shuffle=False)`. An epoch is one pass
    over the table, so do not use `steps_per_epoch`.

    Args:
        split: Tables from `split_table` or `list_splits`.
        image_size: `(height, width)` to resize to.
        transform: As for `image_dataset`; it is applied to the train images only.
        mode: A mode of `cnnkit.preprocess.scale`, for all three.
        batch_size: Images per batch.
        class_mode: `"categorical"`, `"sparse"`, `"binary"`, or None for images only.
        color_mode: `"rgb"` or `"grayscale"`.
        crop_to_aspect_ratio: If True, crop images instead of stretching them.
        pad_to_aspect_ratio: If True, add black borders instead of stretching images.
        seed: Seed of the order and the transform; None for a different run each time.
        workers: Threads in which Keras loads batches; with 0, a batch is made when it is requested.

    Returns:
        A `Split` of three `keras.utils.PyDataset` objects with the attributes of Keras's
        iterators: `class_indices`, `classes`, `filepaths`, `samples`.

    Raises:
        ValueError: If an argument has the wrong form or the tables have different classes.

    Example:
        >>> import pandas as pd
        >>> from sklearn.datasets import load_sample_images
        >>> from cnnkit.data import Split, flow_from_tables
        >>> names = pd.Categorical(["china", "flower"])
        >>> table = pd.DataFrame(
        ...     {"file_paths": load_sample_images().filenames, "target_names": names}
        ... ).assign(targets=names.codes)
        >>> flows = flow_from_tables(Split(table, table, table), (32, 32))
        >>> images, targets = flows.test[0]
        >>> images.shape, targets.tolist()
        ((2, 32, 32, 3), [[1.0, 0.0], [0.0, 1.0]])
    """
    check_one_of("class_mode", class_mode, tuple(_CLASS_MODES))
    check_whole_number("batch_size", batch_size)
    check_whole_number("workers", workers, least=0)
    _check_one_class_order(split)
    # Keras loads here, not with cnnkit.data.
    from cnnkit.data._feeding.iterators import TableIterator

    seed = fresh_seed(seed)
    reading = Reading(image_size, color_mode, crop_to_aspect_ratio, pad_to_aspect_ratio)
    change = None if transform is None else ImageTransform(transform)

    def flow(table: pd.DataFrame, *, is_train: bool) -> Any:
        images = table_source(table, reading, _CLASS_MODES[class_mode])
        batches = ImageBatches(images, change if is_train else None, mode, seed)
        return TableIterator(table, batches, batch_size, shuffle=is_train, workers=workers)

    return Split(
        flow(split.train, is_train=True),
        flow(split.validation, is_train=False),
        flow(split.test, is_train=False),
    )


def _check_one_class_order(split: Split[pd.DataFrame]) -> None:
    if not isinstance(split, Split):
        msg = (
            f"`split` must be a Split of three tables. Received: {type(split).__name__}. "
            "`split_table` and `list_splits` make one."
        )
        raise TypeError(msg)
    for table in split:
        check_table(table)
    orders = [list(table["target_names"].cat.categories) for table in split]
    if orders[1] != orders[0] or orders[2] != orders[0]:
        msg = (
            "`split` must have one class order in all its tables. "
            f"Received: {orders[0]}, {orders[1]} and {orders[2]}. "
            "Use `split_table` or `list_splits`."
        )
        raise ValueError(msg)
