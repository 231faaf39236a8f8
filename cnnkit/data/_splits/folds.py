"""Folds for cross-validation."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnnkit._foundation.validation import check_whole_number
from cnnkit.data._splits.groups import table_groups
from cnnkit.data._splits.shares import counts_of
from cnnkit.data._splits.splitting import Seed
from cnnkit.data._tables.tables import check_table, class_names_of


def k_fold_tables(
    table: pd.DataFrame,
    n_splits: int = 5,
    *,
    stratify: bool = True,
    groups: str | None = None,
    random_state: Seed = None,
    progress: bool = True,
) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Split a table of images into folds, each of which is used once for validation.

    The folds are those of scikit-learn's `StratifiedKFold`, `StratifiedGroupKFold`, `GroupKFold`
    or `KFold` for the table sorted by its paths. So for the same `random_state`, they do not depend
    on the order of the rows.

    Args:
        table: A table as returned by `list_images`.
        n_splits: The number of folds, at least 2.
        stratify: If True, all folds have nearly the same mix of classes.
        groups: As for `split_table`: a column, `"duplicates"` or `"near-duplicates"`.
        random_state: A seed, a NumPy generator, or None for different folds on each call.
        progress: If True, show a progress bar while images are compared.

    Returns:
        A list of pairs of tables `(train, validation)`. Rows keep their order and their index.

    Raises:
        ValueError: If there are fewer images or groups than folds, a class is missing from a fold,
            or the column of groups does not exist or has missing values.

    Example:
        >>> import pandas as pd
        >>> from cnnkit.data import k_fold_tables
        >>> names = pd.Categorical(["cat"] * 10 + ["dog"] * 5)
        >>> table = pd.DataFrame({"file_paths": map(str, range(15)), "target_names": names})
        >>> table["targets"] = table["target_names"].cat.codes
        >>> folds = k_fold_tables(table, random_state=0)
        >>> [len(validation) for train, validation in folds]
        [3, 3, 3, 3, 3]
    """
    check_table(table, labelled=stratify)
    check_whole_number("n_splits", n_splits, least=2)
    order = np.argsort(table["file_paths"].to_numpy(dtype=object), kind="stable")
    by_name = table.iloc[order]
    members = table_groups(by_name, groups, progress)
    count = len(table) if members is None else members.max(initial=-1) + 1
    _check_enough(count, n_splits, groups)
    codes = by_name["targets"].to_numpy(dtype=np.intp) if stratify else None
    if codes is not None:
        _check_classes(by_name, np.bincount(codes), n_splits)
    fold = np.empty(len(table), dtype=np.intp)
    fold[order] = _folds(codes, members, n_splits, random_state, len(table))
    if codes is not None:
        in_folds = counts_of(codes, fold[order], (codes.max() + 1, n_splits)) > 0
        _check_classes(by_name, in_folds.sum(axis=1), n_splits)
    return [(table[fold != number], table[fold == number]) for number in range(n_splits)]


def _folds(
    codes: NDArray[np.intp] | None,
    groups: NDArray[np.intp] | None,
    n_splits: int,
    random_state: Seed,
    rows: int,
) -> NDArray[np.intp]:
    """Return the number of each row's validation fold."""
    from sklearn import model_selection

    kinds: dict[tuple[bool, bool], Any] = {
        (False, False): model_selection.KFold,
        (True, False): model_selection.StratifiedKFold,
        (False, True): model_selection.GroupKFold,
        (True, True): model_selection.StratifiedGroupKFold,
    }
    kind = kinds[codes is not None, groups is not None]
    seed: Any = random_state  # scikit-learn does not take a numpy.random.Generator
    if isinstance(seed, np.random.Generator):
        seed = int(seed.integers(2**31))
    splitter = kind(n_splits, shuffle=True, random_state=seed)
    fold = np.empty(rows, dtype=np.intp)
    for number, (_, validation) in enumerate(splitter.split(np.zeros(rows), codes, groups)):
        fold[validation] = number
    return fold


def _check_enough(count: int, n_splits: int, groups: str | None) -> None:
    if count < n_splits:
        what = "images" if groups is None else "groups"
        msg = (
            f"`n_splits` must not be larger than the number of {what}. "
            f"Received: n_splits={n_splits} for {count} {what}."
        )
        raise ValueError(msg)


def _check_classes(table: pd.DataFrame, reached: NDArray[np.intp], n_splits: int) -> None:
    """Raise a ValueError if a class is missing from a fold; `reached` counts the folds of each."""
    short = (reached > 0) & (reached < n_splits)
    if short.any():
        name = class_names_of(table)[int(short.argmax())]
        msg = (
            "Every class must have an image in every fold. Received: too few images or groups of "
            f"{name!r} for {n_splits} folds. Add images, leave the class out, make fewer folds, or "
            "pass stratify=False."
        )
        raise ValueError(msg)
