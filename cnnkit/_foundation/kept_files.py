"""A cache file for results that take long to compute. It is used only if its header matches.

The file begins with a title line, which says what kind of file it is, and a key line, which says
what it was made from. The file is either complete or absent: every process writes a temporary file
of its own and moves it into place. A process keeps using the file that it made or checked, even if
another process replaces it at that path.
"""

from __future__ import annotations

import glob
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

HEADER = 128  # bytes; the title and the key fit into them
_TOKEN = "[0-9a-f]" * 8  # the pattern of `secrets.token_hex(4)`


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the file's name to OSErrors, which lack it when they are raised by a write."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise


def kept_file(
    path: Path, title: bytes, key: str, size: int, fill: Callable[[BinaryIO], None]
) -> BinaryIO:
    """Return the open cache file for a key, and create it if it is missing or does not match.

    Args:
        path: The path of the file, from `checked_path`.
        title: The line that says what kind of file it is.
        key: What the contents were made from.
        size: The number of bytes after the header.
        fill: A function that writes the bytes after the header.
    """
    return _fitting(path, title, key, size) or _made(path, title, key, fill)


def checked_path(cache: str | os.PathLike[str], title: bytes, maker: str) -> Path:
    """Return the path, or raise an error if it points to anything but a cache file.

    Args:
        cache: The caller's `cache` argument.
        title: The line that says what kind of file it is.
        maker: The name of the function that makes such files, for the message.
    """
    if not isinstance(cache, str | os.PathLike):
        msg = f"`cache` must be None, 'memory' or a path. Received: cache={cache!r}."
        raise TypeError(msg)
    path = Path(cache).resolve()
    is_word = (
        cache == path.name and not path.suffix
    )  # such as 'ram' for 'memory': probably a mistake
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
    """Return the open cache file if it exists, is complete, and has this key; else None."""
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
    """Write a cache file, move it into place, and return it open."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    file = part.open("x+b")
    try:
        with naming(path):
            file.write(_header(title, key))
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):  # another process has deleted it, see below
            part.replace(path)
    except BaseException:
        with suppress(OSError):  # closing flushes, which fails on a full disk
            file.close()
        part.unlink(missing_ok=True)
        raise
    killed = f"{glob.escape(path.name)}.{_TOKEN}.part"
    for left in path.parent.glob(killed):
        with suppress(OSError):
            left.unlink()
    return file
