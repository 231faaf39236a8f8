"""Groups of rows that must stay together."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnnkit._foundation.validation import listed
from cnnkit.data._checks.duplicates import copies

_COMPUTED = {"duplicates": False, "near-duplicates": True}


def table_groups(table: pd.DataFrame, groups: Any, progress: bool) -> NDArray[np.intp] | None:
    """Return the group number of each row, from a column or from copies among the images."""
    if groups is None:
        return None
    if not isinstance(groups, str):
        msg = f"`groups` must be the name of a column. Received: {type(groups).__name__}."
        raise TypeError(msg)
    if groups in table:
        return group_codes(f"the column {groups!r}", table[groups].to_numpy(), len(table))
    if groups in _COMPUTED:
        paths = list(table["file_paths"])
        return copies(paths, near=_COMPUTED[groups], workers=None, progress=progress)[1]
    options = [*map(str, table.columns), *_COMPUTED]
    msg = (
        f"`groups` must name a column or a kind of copies: {listed(options)}. "
        f"Received: groups={groups!r}."
    )
    raise ValueError(msg)


def group_codes(name: str, values: NDArray[Any], rows: int) -> NDArray[np.intp]:
    """Return a number for each value, or raise a ValueError unless every row has a value."""
    missing = int(np.asarray(pd.isna(values)).sum())
    if values.shape != (rows,) or missing:
        received = f"{missing} missing values" if missing else f"the shape {values.shape}"
        msg = f"Groups need one value for each of {rows} images. Received: {name} with {received}."
        raise ValueError(msg)
    return pd.factorize(values)[0]
