"""Fixtures of the tests of renaming under failures and kills, which are acted out.

A file operation raises an error in place of its work: once for a failure, or from then on for a
kill, so that nothing can be tidied up either.
"""

from file_names import OPERATIONS


import errno
import itertools
import os
import tempfile
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest


class Killed(BaseException):
    """An exception that stands for a killed process."""


@contextmanager
def _failing(at, *, error=None, forever=False, done=False, operations=OPERATIONS):
    """Let the given file operation fail, or all from there on if `forever`.

    `done` tells whether the first one that fails has had its effect. A text is half written
    whenever writing it fails. What is yielded counts the operations.
    """
    seen = SimpleNamespace(count=0)
    error = error or OSError(errno.EIO, "The disk is broken")

    def breakable(name, work):
        def broken(path, *arguments, **options):
            seen.count += 1
            if seen.count < at or (seen.count > at and not forever):
                return work(path, *arguments, **options)
            if seen.count == at and name == "write_text":
                work(path, arguments[0][: len(arguments[0]) // 2], *arguments[1:], **options)
            elif seen.count == at and done:
                work(path, *arguments, **options)
            raise error

        return broken

    with pytest.MonkeyPatch.context() as patch:
        for name in operations:
            patch.setattr(Path, name, breakable(name, getattr(Path, name)))
        yield seen


@contextmanager
def _killing(at, *, done=False, operations=OPERATIONS):
    """Let all file operations from the given one on fail, as if the process were killed there."""
    options = {"done": done, "operations": operations}
    with suppress(Killed), _failing(at, error=Killed(), forever=True, **options) as seen:
        yield seen


def _write_names(root, names):
    """Write files that hold their own names."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(name))
    return root


@contextmanager
def _folder_of(names):
    """Make a folder of files that hold their own names."""
    with tempfile.TemporaryDirectory() as folder:
        yield _write_names(Path(folder), names)


def _snapshot(root):
    """Return everything below a folder: the contents of files by path, None for folders."""
    paths = [Path(top, name) for top, *names in os.walk(root) for name in itertools.chain(*names)]
    return {
        os.fspath(path.relative_to(root)): None if path.is_dir() else path.read_bytes()
        for path in paths
    }


def _files_of(tree):
    """Count the contents of all files that belong to the user."""
    journals = {".cnnkit-moves.json", ".cnnkit-moves.json.partial"}
    return Counter(content for name, content in tree.items() if name not in journals)


def _killed(run, names, *, moments=(False, True)):
    """Yield a folder in which `run` was killed: at every operation, before it and after it."""
    for done in moments:
        for at in itertools.count(1):
            with _folder_of(names) as root:
                with _killing(at, done=done) as seen:
                    run(root)
                if seen.count < at:
                    break
                yield root


@pytest.fixture(scope="session")
def failing():
    """Return a context manager in which one file operation fails."""
    return _failing


@pytest.fixture(scope="session")
def killing():
    """Return a context manager that ends where a process would be killed."""
    return _killing


@pytest.fixture(scope="session")
def write_names():
    """Return a function that writes files of their own names."""
    return _write_names


@pytest.fixture(scope="session")
def folder_of():
    """Return a context manager that makes a folder of such files."""
    return _folder_of


@pytest.fixture(scope="session")
def snapshot():
    """Return a function that tells what is below a folder."""
    return _snapshot


@pytest.fixture(scope="session")
def files_of():
    """Return a function that counts the files of the user in a snapshot."""
    return _files_of


@pytest.fixture(scope="session")
def killed():
    """Return a function that yields folders in which something was killed, once at every place."""
    return _killed
