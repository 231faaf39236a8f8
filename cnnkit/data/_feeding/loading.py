"""A whole table of images in memory."""

from __future__ import annotations

import warnings
from collections.abc import Container, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnnkit._foundation.validation import check_one_of
from cnnkit.data._feeding.keeping import in_memory
from cnnkit.data._feeding.sources import Reading, table_source
from cnnkit.data._feeding.whole import Beforehand, whole


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
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    on_error: str = "raise",
    workers: int | None = None,
    progress: bool = True,
) -> LoadedImages:
    """Read all images of a table into one array.

    The array is the only large object that is made. If it needs more than half of the free memory,
    a warning says so before the first file is read.

    Args:
        table: A table from `list_images`.
        image_size: `(height, width)` to resize to.
        color_mode: `"rgb"` or `"grayscale"`.
        crop_to_aspect_ratio: If True, crop images instead of stretching them.
        pad_to_aspect_ratio: If True, add black borders instead of stretching images.
        on_error: What to do with an unreadable file: `"raise"`; `"skip"`, which leaves it out and
            reports it in `skipped`; or `"warn"`, which does the same with a warning.
        workers: Number of threads; by default the number of processors.
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
    check_one_of("on_error", on_error, ("raise", "skip", "warn"))
    labelled = "targets" in getattr(table, "columns", ())
    reading = Reading(image_size, color_mode, crop_to_aspect_ratio, pad_to_aspect_ratio)
    beforehand = Beforehand(on_error == "raise", workers, progress)

    source = table_source(table, reading, "int" if labelled else None)
    source, images = in_memory(source, beforehand)
    left: Any = whole(source, beforehand)

    if on_error == "warn" and source.unreadable:
        some = next(iter(source.unreadable.values()))
        msg = f"{len(source.unreadable)} of {source.length} images were left out. {some}"
        warnings.warn(msg, UserWarning, stacklevel=2)
    return LoadedImages(
        images=_closed_up(images, source.unreadable or {}),
        targets=left.table["targets"].to_numpy(dtype=np.int64) if labelled else None,
        class_names=source.class_names if labelled else None,
        table=left.table,
        skipped=left.skipped,
    )


def _closed_up(images: NDArray[np.uint8], gaps: Container[int]) -> NDArray[np.uint8]:
    """Move the images that were read to the front, in place, and return them."""
    places = [place for place in range(len(images)) if place not in gaps]
    for new, old in enumerate(places):
        if new != old:
            images[new] = images[old]
    return images[: len(places)]
