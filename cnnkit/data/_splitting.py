"""Stratified splits into train, validation and test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cnnkit._validation import check_whole_number
from cnnkit.data._split import Split
from cnnkit.data._tables import check_table

Seed = int | np.random.Generator | None


def split_table(
    table: pd.DataFrame,
    *,
    validation_size: float = 0.2,
    test_size: float = 0.2,
    stratify: bool = True,
    random_state: Seed = None,
) -> Split[pd.DataFrame]:
    """Split a table of images into disjoint tables for train, validation and test.

    Stratified, each class's count in each part is within one image of its exact share, and the
    sizes of the parts are exact.

    Args:
        table: A table as `list_images` gives it.
        validation_size: A fraction of the whole table below 1, or a count; may be 0.
        test_size: Likewise.
        stratify: If True, all parts have the same mix of classes.
        random_state: A seed, a NumPy generator, or None for another split each time.

    Returns:
        A `Split` of tables; rows keep their order and their index.

    Raises:
        ValueError: If a size has the wrong form, nothing is left to train on, or a class has too
            few images to stand in every part.

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
    classes = table["target_names"].to_numpy() if stratify else np.zeros(len(table))
    rows = _split_rows(classes, validation_size, test_size, random_state)
    return Split(*(table.iloc[part] for part in rows))


def split_arrays(
    images: ArrayLike,
    targets: ArrayLike,
    *,
    validation_size: float = 0.2,
    test_size: float = 0.2,
    stratify: bool = True,
    random_state: Seed = None,
) -> Split[tuple[NDArray[Any], NDArray[Any]]]:
    """Split arrays of images and targets into disjoint parts for train, validation and test.

    Args:
        images: `(images, …)`, for example `(images, height, width, channels)`.
        targets: Class numbers or names `(images,)` or `(images, 1)`, or one-hot rows
            `(images, classes)`.
        validation_size: A fraction of all images below 1, or a count; may be 0.
        test_size: Likewise.
        stratify: If True, all parts have the same mix of classes.
        random_state: A seed, a NumPy generator, or None for another split each time.

    Returns:
        A `Split` of pairs `(images, targets)`.

    Raises:
        ValueError: As for `split_table`, or if images and targets differ in number.

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
    rows = _split_rows(classes, validation_size, test_size, random_state)
    return Split(*((images[part], targets[part]) for part in rows))


def flat_targets(targets: NDArray[Any]) -> NDArray[Any]:
    """Return one class for each image: of a column, of one-hot rows, or as it is."""
    if targets.ndim == 2:
        return targets[:, 0] if targets.shape[1] == 1 else targets.argmax(axis=1)
    return targets


def _split_rows(
    classes: NDArray[Any], validation_size: float, test_size: float, random_state: Seed
) -> list[NDArray[np.intp]]:
    """Return the row numbers of train, validation and test, each in ascending order."""
    validation = _part_size("validation_size", validation_size, len(classes))
    test = _part_size("test_size", test_size, len(classes))
    sizes = np.array([len(classes) - validation - test, validation, test])
    if sizes[0] < 1:
        msg = (
            "`validation_size` and `test_size` must leave images to train on. Received: "
            f"{validation_size!r} and {test_size!r} of {len(classes)} images."
        )
        raise ValueError(msg)
    names, codes = np.unique(classes, return_inverse=True)
    counts = class_counts(np.bincount(codes), sizes)
    _check_every_class(names, counts, sizes)
    generator = np.random.default_rng(random_state)
    parts = zip(*_shuffled_parts(codes, counts, generator), strict=True)
    return [np.sort(np.concatenate(part)) for part in parts]


def _part_size(name: str, value: float, total: int) -> int:
    if hasattr(value, "__index__"):
        return check_whole_number(name, value, least=0)
    if isinstance(value, Real) and 0 <= value < 1:
        return round(value * total)
    msg = f"`{name}` must be a fraction below 1 or a whole number. Received: {name}={value!r}."
    raise ValueError(msg)


def class_counts(class_sizes: NDArray[np.intp], sizes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Share out each class over the parts: `(classes, parts)` counts.

    Both margins are exact and every count is within one of its exact share. A class's images
    that are left after rounding down go to the parts that want most (Ryser's construction of a
    0/1 matrix with given margins), among equals to the largest remainder.
    """
    shares = np.outer(class_sizes, sizes)
    counts, remainders = np.divmod(shares, sizes.sum())
    wanted = sizes - counts.sum(axis=0)
    for row, left in enumerate(class_sizes - counts.sum(axis=1)):
        order = np.lexsort((-remainders[row], -wanted))[:left]
        counts[row, order] += 1
        wanted[order] -= 1
    return counts


def _check_every_class(
    names: NDArray[Any], counts: NDArray[np.intp], sizes: NDArray[np.intp]
) -> None:
    missing = ((counts == 0) & (sizes > 0)).any(axis=1)
    if missing.any():
        row = int(missing.argmax())
        msg = (
            "Every class must have an image in every part. Received: "
            f"{counts[row].sum()} image(s) of {np.asarray(names[row]).item()!r} for parts of "
            f"{', '.join(map(str, sizes))} images. Add images, leave the class out, make the parts "
            "larger, or pass stratify=False."
        )
        raise ValueError(msg)


def _shuffled_parts(
    codes: NDArray[np.intp], counts: NDArray[np.intp], generator: np.random.Generator
) -> Iterator[Sequence[NDArray[np.intp]]]:
    for code, row in enumerate(counts):
        shuffled = generator.permutation(np.flatnonzero(codes == code))
        yield np.split(shuffled, np.cumsum(row)[:-1])
