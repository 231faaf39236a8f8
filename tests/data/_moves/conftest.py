"""Fixtures of the tests of placing files, and of interrupting it.

An interruption is acted out: a file operation raises in the middle of its work.
"""

from pathlib import Path
import pytest


from placing import PHOTOS, place
import os
from contextlib import contextmanager
import itertools


LONG_AGO = 1_000_000_000_123_456_789  # nanoseconds


def _write_files(root, names):
    """Write files with distinct contents and modification times."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{number} ".encode() * (20 + number))
        os.utime(path, ns=(LONG_AGO, LONG_AGO + number * 10**9))
    return root


def _state(path):
    status = path.lstat()
    content = str(path.readlink()) if path.is_symlink() else path.read_bytes()
    return content, status.st_ino, status.st_mtime_ns


def _states(root):
    """Return the content, inode and time of every file."""
    return {
        os.path.relpath(path, root): _state(path)
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def _contents(root):
    """Return the contents of all files in a folder, without inodes and times."""
    return {name: content for name, (content, *_) in _states(root).items()}


@contextmanager
def _breaking(owner, name, step, error):
    """Let the given call raise an error after it has written half of its output."""
    work, steps = getattr(owner, name), itertools.count()

    def broken(*arguments, **options):
        if next(steps) != step:
            return work(*arguments, **options)
        if name == "copy2":
            Path(arguments[1]).write_bytes(Path(arguments[0]).read_bytes()[:10])
        if name == "write_bytes":
            work(arguments[0], arguments[1][:10])
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, broken)
        yield


@pytest.fixture(scope="session")
def write_files():
    """Return a function that writes files of contents and times of their own."""
    return _write_files


@pytest.fixture(scope="session")
def states():
    """Return a function that tells content, inode and time of every file in a folder."""
    return _states


@pytest.fixture(scope="session")
def contents():
    """Return a function that tells what a folder holds."""
    return _contents


@pytest.fixture(scope="session")
def breaking():
    """Return a context manager in which one call of a function fails."""
    return _breaking


@pytest.fixture
def photos(tmp_path):
    """Six cats and five dogs."""
    return _write_files(tmp_path / "photos", PHOTOS)


@pytest.fixture
def parts(tmp_path):
    """Where the parts shall go."""
    return tmp_path / "parts"


@pytest.fixture(scope="module")
def many(tmp_path_factory, write_files):
    """A hundred files."""
    names = [f"{label}/{number:03}.jpg" for label in ("cat", "dog") for number in range(50)]
    return write_files(tmp_path_factory.mktemp("many"), names)


@pytest.fixture(scope="module")
def expected(many, tmp_path_factory, contents):
    """The result of an undisturbed call."""
    parts = tmp_path_factory.mktemp("undisturbed")
    place(many, parts)
    return contents(parts)


@pytest.fixture
def make_classes(tmp_path):
    """Return a function that makes class folders, each of which holds a note of its first name."""

    def make(*names):
        root = tmp_path / "animals"
        for name in names:
            (root / name).mkdir(parents=True)
            (root / name / "note.txt").write_text(name, encoding="utf-8")
        return root

    return make


@pytest.fixture
def make_files(tmp_path):
    """Return a function that makes files: of given bytes, or of their own names' by default."""

    def make(*names, **contents):
        root = tmp_path / "animals"
        for name, content in {**{name: name.encode() for name in names}, **contents}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return root

    return make
