"""A whole table of images in memory."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnnkit._foundation.validation import check_image_size, check_one_of
from cnnkit.data._feeding.skipping import reasons_of
from cnnkit.data._feeding.sources import table_reader
from cnnkit.data._files.reading import CHANNELS, check_reading, read_image
from cnnkit.data._tables.tables import check_table, class_names_of


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

    The array is the only large thing that is made. If it takes more than half of the memory that
    is free, a warning says so before the first file is read.

    Args:
        table: A table as `list_images` gives it.
        image_size: `(height, width)` to resize to.
        color_mode: `"rgb"` or `"grayscale"`.
        crop_to_aspect_ratio: If True, cut the sides of images rather than stretch them.
        pad_to_aspect_ratio: If True, add black borders rather than stretch images.
        on_error: What an unreadable file does: `"raise"`; `"skip"`: it is left out and reported in
            `skipped`; or `"warn"`: the same with a warning.
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
    check_one_of("on_error", on_error, ("raise", "skip", "warn"))
    check_reading(color_mode, crop_to_aspect_ratio, pad_to_aspect_ratio)
    check_table(table, labelled=None)
    shape = (len(table), *check_image_size(image_size), CHANNELS[color_mode])
    _warn_of_memory(math.prod(shape))
    images = np.empty(shape, dtype=np.uint8)
    read_file = partial(
        read_image,
        image_size=shape[1:3],
        color_mode=color_mode,
        crop_to_aspect_ratio=crop_to_aspect_ratio,
        pad_to_aspect_ratio=pad_to_aspect_ratio,
    )
    read = table_reader(table, read_file)
    reason = reasons_of(
        table,
        lambda place: images.__setitem__(place, read(place)),
        raises=on_error == "raise",
        workers=workers,
        progress=progress,
    )
    skipped = table[reason.notna()].assign(reason=reason[reason.notna()])
    if on_error == "warn" and len(skipped):
        msg = f"{len(skipped)} of {len(table)} images were left out. {skipped['reason'].iloc[0]}"
        warnings.warn(msg, UserWarning, stacklevel=2)
    kept = table[reason.isna()]
    labelled = "targets" in table
    return LoadedImages(
        images=_closed_up(images, reason.isna().to_numpy()),
        targets=kept["targets"].to_numpy(dtype=np.int64) if labelled else None,
        class_names=class_names_of(table) if labelled else None,
        table=kept,
        skipped=skipped,
    )


def _closed_up(images: NDArray[np.uint8], kept: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Move the kept images to the front, in place, and return them: no second block."""
    places = np.flatnonzero(kept)
    for new, old in enumerate(places):
        if new != old:
            images[new] = images[old]
    return images[: len(places)]


def _warn_of_memory(needed: int) -> None:
    free = _free_memory()
    if free is not None and needed > free / 2:
        msg = (
            f"The images take {needed / 1e9:.1f} GB of the {free / 1e9:.1f} GB of memory that are "
            "free. Use a smaller image_size, or `image_dataset`, which reads as it goes."
        )
        warnings.warn(msg, UserWarning, stacklevel=3)


def _free_memory() -> int | None:
    """Return the bytes of memory that can be had without swapping, where Linux tells."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    sizes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return sizes[0] * 1024 if sizes else None
