"""The table of images: a pandas DataFrame with a row for each file."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnnkit._foundation.validation import listed
from cnnkit.data._tables.names import normal


def class_names_of(table: pd.DataFrame) -> list[str]:
    """Return all class names of a table, in the order of their numbers."""
    return list(table["target_names"].cat.categories)


def class_names_if_known(table: pd.DataFrame) -> list[str] | None:
    """Return all class names of a table, or None if it has none, as after reading a CSV file."""
    names = table.get("target_names")
    known = names is not None and isinstance(names.dtype, pd.CategoricalDtype)
    return class_names_of(table) if known else None


def with_targets(
    table: pd.DataFrame, names: Sequence[str], class_names: Sequence[str] | None
) -> pd.DataFrame:
    """Add the two target columns to a table of files, given a class name for each file."""
    known, codes = np.unique(np.asarray(names, dtype=object), return_inverse=True)
    return with_codes(table, known.tolist(), codes, class_names)


def with_codes(
    table: pd.DataFrame,
    known: list[str],
    codes: NDArray[np.intp],
    class_names: Sequence[str] | None,
) -> pd.DataFrame:
    """Add the two target columns, given indices into a list of known class names."""
    categories = known if class_names is None else [normal(name) for name in class_names]
    unknown = sorted(set(known) - set(categories))
    if unknown or len(set(categories)) < len(categories):
        reason = (
            f"but there are images of {listed(map(repr, unknown))}"
            if unknown
            else "which names a class twice"
        )
        msg = (
            "`class_names` must name every class exactly once. "
            f"Received: class_names={categories!r}, {reason}."
        )
        raise ValueError(msg)
    numbers = np.array([categories.index(name) for name in known], dtype="int64")[codes]
    target_names = pd.Categorical.from_codes(numbers, categories=pd.Index(categories))
    return table.assign(target_names=target_names, targets=numbers)


def check_table(table: object, *, labelled: bool | None = True) -> None:
    """Raise a ValueError unless `table` is a table of images.

    Args:
        table: What to check.
        labelled: Whether the table must have labels. If None, they are checked if present.
    """
    if labelled is None:
        labelled = isinstance(table, pd.DataFrame) and "targets" in table
    columns = ["file_paths", "target_names", "targets"] if labelled else ["file_paths"]
    if not isinstance(table, pd.DataFrame) or not set(columns) <= set(table.columns):
        received = list(table.columns) if isinstance(table, pd.DataFrame) else type(table).__name__
        msg = (
            f"`table` must be a DataFrame with the columns {', '.join(columns)}. "
            f"Received: {received}. `list_images` makes one."
        )
        raise ValueError(msg)
    if labelled:
        _check_numbers(table)


def check_unique_index(table: pd.DataFrame) -> None:
    """Raise a ValueError unless the index identifies the rows."""
    if not table.index.is_unique:
        msg = (
            "`table` must have a unique index, so that rows can be dropped by it. Received: an "
            "index with repeated values. Call table.reset_index(drop=True)."
        )
        raise ValueError(msg)


def _check_numbers(table: pd.DataFrame) -> None:
    """Raise a ValueError unless the numbers of the classes are the codes of their names."""
    names = table["target_names"]
    categorical = isinstance(names.dtype, pd.CategoricalDtype)
    if categorical and names.notna().all() and (names.cat.codes == table["targets"]).all():
        return
    received = "numbers that are not the codes of the names" if categorical else "plain names"
    if names.isna().any():
        received = "rows without a class"
    msg = (
        "`table` must have Categorical `target_names`, and `targets` that are their codes. "
        f"Received: {received}. Recompute both: names = table['target_names'].astype('category'); "
        "table.assign(target_names=names, targets=names.cat.codes)."
    )
    raise ValueError(msg)
