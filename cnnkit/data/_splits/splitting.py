"""Splits into train, validation and test, optionally stratified or in whole groups."""

from __future__ import annotations

import warnings
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cnnkit._foundation.validation import check_whole_number
from cnnkit.data._splits.groups import group_codes, table_groups
from cnnkit.data._splits.shares import class_counts, counts_of, grouped_parts, shuffled_parts
from cnnkit.data._tables.split import PARTS, Split
from cnnkit.data._tables.tables import check_table
from cnnkit.data._tables.targets import flat_targets

Seed = int | np.random.Generator | None


def split_table(
    table: pd.DataFrame,
    *,
    validation_size: float = 0.2,
    test_size: float = 0.2,
    stratify: bool = True,
    groups: str | None = None,
    random_state: Seed = None,
    progress: bool = True,
) -> Split[pd.DataFrame]:
    """Split a table of images into disjoint tables for train, validation and test.

    The sizes of the parts are exact. With `stratify=True`, the count of each class in each part is
    within one image of its exact share. If whole groups can't give these sizes, the closest split
    found is returned, and a warning reports the largest deviation. For the same `random_state`, the
    split does not depend on the order of the rows.

    Args:
        table: A table as returned by `list_images`.
        validation_size: A fraction of the whole table below 1, or a number of images. May be 0.
        test_size: A fraction or a number of images, like `validation_size`.
        stratify: If True, all parts have the same mix of classes.
        groups: Which rows must stay together. The name of a column, such as the patient of an X-ray
            or the video of a frame: rows with equal values. `"duplicates"`: files with the same
            bytes. `"near-duplicates"`: also images that look alike (see `check_images`).
        random_state: A seed, a NumPy generator, or None for a different split on each call.
        progress: If True, show a progress bar while images are compared.

    Returns:
        A `Split` of tables. Rows keep their order and their index.

    Raises:
        ValueError: If a size is invalid, no images are left to train on, a class has too few images
            or groups to be in every part, or the column of groups does not exist or has missing
            values.

    Example:
        >>> import pandas as pd
        >>> from cnnkit.data import split_table
        >>> names = pd.Categorical(["cat"] * 60 + ["dog"] * 20)
        >>> table = pd.DataFrame({"file_paths": map(str, range(80)), "target_names": names})
        >>> table["targets"] = table["target_names"].cat.codes
        >>> split = split_table(table, random_state=0)
        >>> split.validation["target_names"].value_counts().to_dict()
        {'cat': 12, 'dog': 4}
    """
    check_table(table, labelled=stratify)
    order = np.argsort(table["file_paths"].to_numpy(dtype=object), kind="stable")
    by_name = table.iloc[order]
    classes = by_name["target_names"].to_numpy() if stratify else np.zeros(len(table))
    members = table_groups(by_name, groups, progress)
    parts = _parts(classes, members, validation_size, test_size, random_state)
    return Split(*(table.iloc[np.sort(order[parts == part])] for part in range(3)))


def split_arrays(
    images: ArrayLike,
    targets: ArrayLike,
    *,
    validation_size: float = 0.2,
    test_size: float = 0.2,
    stratify: bool = True,
    groups: ArrayLike | None = None,
    random_state: Seed = None,
) -> Split[tuple[NDArray[Any], NDArray[Any]]]:
    """Split arrays of images and targets into disjoint parts for train, validation and test.

    Args:
        images: An array `(images, …)`, for example `(images, height, width, channels)`.
        targets: Class numbers or names `(images,)` or `(images, 1)`, or one-hot rows
            `(images, classes)`.
        validation_size: A fraction of all images below 1, or a number of images. May be 0.
        test_size: A fraction or a number of images, like `validation_size`.
        stratify: If True, all parts have the same mix of classes.
        groups: A value for each image `(images,)`. Images with equal values stay together.
        random_state: A seed, a NumPy generator, or None for a different split on each call.

    Returns:
        A `Split` of pairs `(images, targets)`.

    Raises:
        ValueError: As for `split_table`, or if the numbers of images and targets differ.

    Example:
        >>> import numpy as np
        >>> from cnnkit.data import split_arrays
        >>> split = split_arrays(np.zeros((50, 8, 8, 1)), np.arange(50) % 5, random_state=0)
        >>> [len(images) for images, targets in split]
        [30, 10, 10]
    """
    images, targets = np.asarray(images), np.asarray(targets)
    if len(images) != len(targets):
        msg = (
            "`images` and `targets` must have the same length. "
            f"Received: {len(images)} images and {len(targets)} targets."
        )
        raise ValueError(msg)
    classes = flat_targets(targets) if stratify else np.zeros(len(images))
    members = None if groups is None else group_codes("groups", np.asarray(groups), len(images))
    parts = _parts(classes, members, validation_size, test_size, random_state)
    return Split(*((images[parts == part], targets[parts == part]) for part in range(3)))


def _parts(
    classes: NDArray[Any],
    groups: NDArray[np.intp] | None,
    validation_size: float,
    test_size: float,
    random_state: Seed,
) -> NDArray[np.intp]:
    """Return the part of each row: 0 for train, 1 for validation, 2 for test."""
    sizes = _sizes(len(classes), validation_size, test_size)
    names, codes = np.unique(classes, return_inverse=True)
    wanted = class_counts(np.bincount(codes), sizes)
    generator = np.random.default_rng(random_state)
    _check_every_class(names, wanted, wanted, "image(s)")
    if groups is None:
        return _single_parts(codes, wanted, generator)
    parts = grouped_parts(codes, groups, wanted, generator)
    counts = counts_of(codes, parts, wanted.shape)
    _check_every_class(names, counts, wanted, "image(s), in whole groups,")
    _warn_of_deviation(names, counts, wanted)
    return parts


def _single_parts(
    codes: NDArray[np.intp], counts: NDArray[np.intp], generator: np.random.Generator
) -> NDArray[np.intp]:
    parts = np.empty(len(codes), dtype=np.intp)
    for rows_of_class in shuffled_parts(codes, counts, generator):
        for part, rows in enumerate(rows_of_class):
            parts[rows] = part
    return parts


def _sizes(total: int, validation_size: float, test_size: float) -> NDArray[np.intp]:
    """Return the sizes of train, validation and test."""
    validation = _part_size("validation_size", validation_size, total)
    test = _part_size("test_size", test_size, total)
    if total - validation - test < 1:
        msg = (
            "`validation_size` and `test_size` must leave images to train on. Received: "
            f"{validation_size!r} and {test_size!r} of {total} images."
        )
        raise ValueError(msg)
    return np.array([total - validation - test, validation, test])


def _part_size(name: str, value: float, total: int) -> int:
    if hasattr(value, "__index__"):
        return check_whole_number(name, value, least=0)
    if isinstance(value, Real) and 0 <= value < 1:
        if value > 0 and total and round(value * total) == 0:
            msg = (
                f"`{name}` must be 0 or give at least one image. "
                f"Received: {value!r} of {total} images."
            )
            raise ValueError(msg)
        return round(value * total)
    msg = f"`{name}` must be a fraction below 1 or a whole number. Received: {name}={value!r}."
    raise ValueError(msg)


def _check_every_class(
    names: NDArray[Any], counts: NDArray[np.intp], wanted: NDArray[np.intp], what: str
) -> None:
    missing = ((counts == 0) & (wanted.sum(axis=0) > 0)).any(axis=1)
    if not missing.any():
        return
    row = int(missing.argmax())
    sizes = ", ".join(map(str, wanted.sum(axis=0)))
    if len(names) == 1:
        msg = (
            f"Every part must have an image. Received: {counts[row].sum()} {what} for parts of "
            f"{sizes} images. Add images or change the sizes."
        )
    else:
        msg = (
            "Every class must have an image in every part. Received: "
            f"{counts[row].sum()} {what} of {np.asarray(names[row]).item()!r} for parts of "
            f"{sizes} images. Add images, leave the class out, change the sizes, or pass "
            "stratify=False."
        )
    raise ValueError(msg)


def _warn_of_deviation(
    names: NDArray[Any], counts: NDArray[np.intp], wanted: NDArray[np.intp]
) -> None:
    off = np.abs(counts - wanted)
    if off.max() <= 1:
        return
    row, part = np.unravel_index(off.argmax(), off.shape)
    kind = f" of {np.asarray(names[row]).item()!r}" if len(names) > 1 else ""
    msg = (
        f"Whole groups can't give the sizes exactly. The largest deviation: {PARTS[part]} has "
        f"{counts[row, part]} images{kind} instead of {wanted[row, part]}."
    )
    warnings.warn(msg, UserWarning, stacklevel=4)
