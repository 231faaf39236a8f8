"""A file of results that take time, made once and trusted only if it fits.

It begins with a line that says what it is and one that says of what, the key. It is complete, or it
isn't there: every process makes a file of its own and moves it to the place. Whatever happens
there, it goes on with the very file that it has made or looked at.
"""

from __future__ import annotations

import glob
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

HEADER = 128  # bytes, title and key in them
_TOKEN = "[0-9a-f]" * 8  # what `secrets.token_hex(4)` gives


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of the system name the file; one that comes while writing doesn't."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise


def kept_file(
    path: Path, title: bytes, key: str, size: int, fill: Callable[[BinaryIO], None]
) -> BinaryIO:
    """Return a file, open, that fits a key, made anew where it doesn't.

    Args:
        path: Where it is, from `checked_path`.
        title: What it is; a line.
        key: What it was made of.
        size: Its bytes behind the header.
        fill: Writes what comes behind the header.
    """
    return _fitting(path, title, key, size) or _made(path, title, key, fill)


def checked_path(cache: str | os.PathLike[str], title: bytes, maker: str) -> Path:
    """Return the path, or raise rather than overwrite a file that somebody may want.

    Args:
        cache: The caller's argument of this name.
        title: What the file is.
        maker: Name of the function that makes such files.
    """
    if not isinstance(cache, str | os.PathLike):
        msg = f"`cache` must be None, 'memory' or a path. Received: cache={cache!r}."
        raise TypeError(msg)
    path = Path(cache).resolve()
    is_word = cache == path.name and not path.suffix  # a slip, perhaps
    is_other = path.exists() and not (path.is_file() and _head(path, title) in (b"", title))
    if is_word or is_other:
        msg = (
            "`cache` must be None, 'memory' or the path of a cache file, new or made by "
            f"`{maker}`. Received: cache={os.fspath(cache)!r}, which is something else. "
            "Choose a name such as 'train.cache'."
        )
        raise ValueError(msg)
    return path


def _head(path: Path, title: bytes) -> bytes:
    with path.open("rb") as file:
        return file.read(len(title))


def _fitting(path: Path, title: bytes, key: str, size: int) -> BinaryIO | None:
    """Return the cache file, open, if it is there, of this key and whole."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    if os.fstat(file.fileno()).st_size == HEADER + size and file.read(HEADER) == _header(
        title, key
    ):
        return file
    file.close()
    return None


def _header(title: bytes, key: str) -> bytes:
    return (title + key.encode() + b"\n").ljust(HEADER)


def _made(path: Path, title: bytes, key: str, fill: Callable[[BinaryIO], None]) -> BinaryIO:
    """Write a cache file, move it to its place, and return it, open."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    file = part.open("x+b")
    try:
        with naming(path):
            file.write(_header(title, key))
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):  # another process has tidied up, see below
            part.replace(path)
    except BaseException:
        with suppress(OSError):  # closing writes what is left, on a full disk in vain
            file.close()
        part.unlink(missing_ok=True)
        raise
    killed = f"{glob.escape(path.name)}.{_TOKEN}.part"
    for left in path.parent.glob(killed):
        with suppress(OSError):
            left.unlink()
    return file
