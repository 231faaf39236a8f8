"""A whole table of images in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm.contrib.concurrent import thread_map

from cnnkit._validation import check_image_size, check_one_of, check_whole_number
from cnnkit.data._reading import CHANNELS, placed, read_image
from cnnkit.data._tables import check_table, class_names_of
from cnnkit.exceptions import ImageReadError


class LoadedImages(NamedTuple):
    """What `load_images` returns.

    Attributes:
        images: uint8 `(images, height, width, channels)` in 0..255.
        targets: Class numbers `(images,)`, or None for an unlabelled table.
        class_names: All class names in the order of their numbers, or None.
        table: The rows that were read, in the order of `images`.
        skipped: The rows that could not be read, with a column `reason`.
    """

    images: NDArray[np.uint8]
    targets: NDArray[np.int64] | None
    class_names: list[str] | None
    table: pd.DataFrame
    skipped: pd.DataFrame


def load_images(
    table: pd.DataFrame,
    image_size: Sequence[int],
    *,
    color_mode: str = "rgb",
    on_error: str = "raise",
    workers: int | None = None,
    progress: bool = True,
) -> LoadedImages:
    """Read all images of a table into one array.

    Args:
        table: A table as `list_images` gives it.
        image_size: `(height, width)` to resize to.
        color_mode: `"rgb"` or `"grayscale"`.
        on_error: `"raise"` at the first unreadable file, or `"skip"` it and report it in
            `skipped`.
        workers: Threads; the number of processors by default.
        progress: If True, show a progress bar.

    Returns:
        A `LoadedImages`.

    Raises:
        ImageReadError: If a file can't be read; the message names it and its place in the table.
        ValueError: If the size or an option has the wrong form.

    Example:
        >>> import pandas as pd
        >>> from sklearn.datasets import load_sample_images
        >>> from cnnkit.data import load_images
        >>> table = pd.DataFrame({"file_paths": load_sample_images().filenames})
        >>> load_images(table, (32, 48), progress=False).images.shape
        (2, 32, 48, 3)
    """
    check_one_of("on_error", on_error, ("raise", "skip"))
    check_one_of("color_mode", color_mode, tuple(CHANNELS))
    check_table(table, labelled=False)
    if workers is not None:
        check_whole_number("workers", workers)
    images = np.empty(
        (len(table), *check_image_size(image_size), CHANNELS[color_mode]), dtype=np.uint8
    )
    reasons = thread_map(
        partial(_read_into, images, list(table["file_paths"]), color_mode, on_error),
        range(len(table)),
        max_workers=workers or os.cpu_count(),
        desc="reading images",
        unit="image",
        disable=not progress,
    )
    reason = pd.Series(reasons, index=table.index, dtype=object)
    unread = reason.notna()
    kept = table[~unread]
    labelled = "targets" in table
    return LoadedImages(
        images=images[~unread.to_numpy()] if unread.any() else images,
        targets=kept["targets"].to_numpy(dtype=np.int64) if labelled else None,
        class_names=class_names_of(table) if labelled else None,
        table=kept,
        skipped=table[unread].assign(reason=reason[unread]),
    )


def _read_into(
    images: NDArray[np.uint8], paths: Sequence[str], color_mode: str, on_error: str, place: int
) -> str | None:
    """Read one image into its place; return why it could not be read, or None."""
    height, width = images.shape[1:3]
    try:
        images[place] = read_image(paths[place], (height, width), color_mode=color_mode)
    except ImageReadError as error:
        if on_error == "skip":
            return str(error)
        raise placed(error, place, len(paths)) from error
    return None
