"""A parallel map over files, with a progress bar."""

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from tqdm.contrib.concurrent import thread_map

from cnnkit._foundation.validation import check_whole_number

Item = TypeVar("Item")
Result = TypeVar("Result")


def parallel_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    title: str,
    workers: int | None,
    progress: bool,
    unit: str = "image",
) -> list[Result]:
    """Return `function(item)` for every item in order, computed in several threads.

    Decoding and resizing release the GIL.
    """
    if workers is not None:
        check_whole_number("workers", workers)
    results: list[Result] = thread_map(
        function,
        items,
        max_workers=workers or os.cpu_count(),
        desc=title,
        unit=unit,
        disable=not progress,
    )
    return results
