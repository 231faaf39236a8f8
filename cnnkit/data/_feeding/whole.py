"""Images that can't be read: found beforehand, and left out."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnnkit.data._feeding.sources import Source, subset
from cnnkit.data._files.parallel import parallel_map
from cnnkit.exceptions import ImageReadError

Keep = Callable[[int, NDArray[np.uint8]], object]


class Beforehand(NamedTuple):
    """How files are read before they are needed.

    Attributes:
        raises: If True, the first file that can't be read is an error; else it is left out.
        workers: Threads; None for the number of processors.
        progress: If True, show a progress bar.
    """

    raises: bool
    workers: int | None
    progress: bool


def whole(source: Source, beforehand: Beforehand) -> Source:
    """Leave out the images that can't be read.

    If they are errors instead and nobody has looked for them yet, reading them will tell.
    """
    if source.table is None or (source.unreadable is None and beforehand.raises):
        return source
    reasons = source.unreadable
    if reasons is None:
        reasons = unreadable(source, range(source.length), beforehand)
    if not reasons:
        return source
    places = sorted(reasons)
    left_out = source.table.iloc[places]
    told = pd.Series([reasons[place] for place in places], left_out.index, dtype=object)
    kept = np.setdiff1d(np.arange(source.length), places)
    return subset(source, kept)._replace(skipped=left_out.assign(reason=told), unreadable={})


def unreadable(
    source: Source,
    places: Sequence[int],
    beforehand: Beforehand,
    *,
    keep: Keep | None = None,
    title: str = "reading images",
) -> dict[int, str]:
    """Read images; return why some can't be read, by their places.

    Args:
        source: The images.
        places: The images to read.
        beforehand: How.
        keep: Is called with the place and the pixels of each image that was read.
        title: What the progress bar says.
    """

    def reason_of(place: int) -> str | None:
        try:
            pixels = source.read(place)
        except ImageReadError as error:
            if beforehand.raises:
                raise
            return str(error)
        if keep is not None:
            keep(place, pixels)
        return None

    reasons = parallel_map(reason_of, places, title, beforehand.workers, beforehand.progress)
    return {
        place: reason for place, reason in zip(places, reasons, strict=True) if reason is not None
    }
