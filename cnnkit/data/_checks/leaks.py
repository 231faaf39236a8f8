"""Images that are in more than one part of a split."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd

from cnnkit.data._checks.duplicates import Codes, copies, members
from cnnkit.data._tables.split import PARTS, Split
from cnnkit.data._tables.tables import check_table, check_unique_index

_COLUMNS = ("part", "other_part", "kind", "file_paths", "other_path")


def find_leaks(
    split: Split[pd.DataFrame],
    *,
    near_duplicates: bool = True,
    workers: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Find images that are in more than one part of a split.

    A test image that the model has memorized from `train` says nothing about new images. Copies are
    found as in `check_images`. `split_table(…, groups="near-duplicates")` makes splits without
    leaks.

    Args:
        split: A `Split` of tables.
        near_duplicates: If False, only files with the same bytes count.
        workers: The number of threads. By default, the number of processors.
        progress: If True, show a progress bar.

    Returns:
        A DataFrame with a row for each image and each later part that contains a copy of it,
        indexed by the image's index in its part: `part`, `other_part`, `kind` ("the same bytes" or
        "looks nearly the same"), `file_paths` and `other_path`.

    Raises:
        TypeError: If `split` does not have three parts.
        ValueError: If a part is not a table of images, or its index is not unique.

    Example:
        >>> from pathlib import Path
        >>> import pandas as pd
        >>> from sklearn.datasets import load_sample_images
        >>> from cnnkit.data import Split, find_leaks
        >>> table = pd.DataFrame({"file_paths": load_sample_images().filenames})
        >>> split = Split(train=table, validation=table[:0], test=table[:1])
        >>> leaks = find_leaks(split, progress=False)
        >>> leaks[["kind", "part", "other_part"]].values.tolist()
        [['the same bytes', 'train', 'test']]
        >>> train = split.train.drop(leaks.query("part == 'train'").index)
        >>> [Path(path).name for path in train["file_paths"]]
        ['flower.jpg']
    """
    parts_given: object = split
    if not isinstance(parts_given, tuple) or len(parts_given) != len(PARTS):
        msg = (
            "`split` must be a Split of three tables. "
            f"Received: {type(split).__name__}. Call Split(train, validation, test) to make one."
        )
        raise TypeError(msg)
    for table in split:
        check_table(table, labelled=False)
        check_unique_index(table)
    paths = [path for table in split for path in table["file_paths"]]
    codes, groups = copies(paths, near=near_duplicates, workers=workers, progress=progress)
    parts = np.repeat(np.arange(len(PARTS)), [len(table) for table in split])
    pairs = list(_pairs(codes, groups, parts))
    labels = [label for table in split for label in table.index]
    rows = [
        (PARTS[parts[row]], PARTS[parts[other]], _kind(codes, row, other), paths[row], paths[other])
        for row, other in pairs
    ]
    return pd.DataFrame(rows, columns=list(_COLUMNS), index=[labels[row] for row, _ in pairs])


def _kind(codes: Codes, row: int, other: int) -> str:
    return "the same bytes" if codes[row] == codes[other] else "looks nearly the same"


def _pairs(codes: Codes, groups: Codes, parts: Codes) -> Iterator[tuple[int, int]]:
    """Pair each image with its first copy in each later part, preferably one with equal bytes."""
    for rows in members(groups):
        for part, later in combinations(sorted(set(parts[rows].tolist())), 2):
            others = [other for other in rows if parts[other] == later]
            for row in (row for row in rows if parts[row] == part):
                same = (other for other in others if codes[other] == codes[row])
                yield row, next(same, others[0])
