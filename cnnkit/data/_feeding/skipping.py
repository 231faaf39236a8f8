"""Images that can't be read, told row by row."""

from collections.abc import Callable

import pandas as pd

from cnnkit.data._files.parallel import parallel_map
from cnnkit.exceptions import ImageReadError


def reasons_of(
    table: pd.DataFrame,
    read: Callable[[int], object],
    *,
    raises: bool,
    workers: int | None,
    progress: bool,
) -> pd.Series:
    """Read every image of a table; return why it can't be read, or None.

    Args:
        table: A table of images.
        read: What reads the image in a row, given by its number.
        raises: If True, the first error is raised instead.
        workers: Threads; the number of processors by default.
        progress: If True, show a progress bar.
    """

    def reason_of(place: int) -> str | None:
        try:
            read(place)
        except ImageReadError as error:
            if raises:
                raise
            return str(error)
        return None

    reasons = parallel_map(reason_of, range(len(table)), "reading images", workers, progress)
    return pd.Series(reasons, index=table.index, dtype=object)
