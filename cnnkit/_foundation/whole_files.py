"""Files that are written completely or not at all."""

import contextlib
import errno
import os
from collections.abc import Callable
from uuid import uuid4

PARTIAL = ".cnnkit-partial-"  # the prefix of unfinished files' names


def whole(new: str, write: Callable[[str], object]) -> None:
    """Write to a temporary file and rename it, so that no incomplete file ever has the name."""
    partial = os.path.join(os.path.dirname(new), f"{PARTIAL}{uuid4().hex}")
    try:
        write(partial)
        _move(partial, new)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(partial)
        raise


def _move(old: str, new: str) -> None:
    if os.path.lexists(new):  # a move would overwrite it
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
    os.replace(old, new)
