"""Renaming under failures and kills: nothing is lost, and it is done whole or not at all.

Failures and kills are acted out: a file operation raises an error in place of its work, once for a
failure, or from then on for a kill, so that nothing can be tidied up either.
"""

import errno
import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
import unicodedata
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cnnkit.data import rename_classes, renumber_files
from cnnkit.data._moving import renamed, settle

OPERATIONS = ("rename", "replace", "write_text", "unlink")
NAMES = [
    "cat1.png",
    "Cat1.png",
    "CAT1.PNG",
    "cat01.png",
    "cat2.jpg",
    "cat10.png",
    " cat1.png",
    "a b.jpeg",
    "2.gif",
    "고양이.png",
    unicodedata.normalize("NFD", "고양이.png"),
    "😀.webp",
    "new\nline.png",
    "quotes'\".png",
    "back\\slash.png",
    "{}%s.png",
    os.fsdecode(b"\xff\xfe.png"),
    "x" * 251 + ".png",
    "-rf",
    "notes.txt",
    ".hidden.png",
    "cnnkit-move-0",
    ".cnnkit-move-0.png",
    ".cnnkit-moves.json",  # only at the top does this name mean anything
]
SIGKILLED = """
import os, signal, sys
from pathlib import Path
from cnnkit.data import renumber_files

rename, steps = Path.rename, iter(range(int(sys.argv[2])))

def rename_or_die(path, target):
    if next(steps, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(path, target)

Path.rename = rename_or_die
renumber_files(sys.argv[1])
"""


class Killed(BaseException):
    """What ends a process, as far as an exception can."""


def fits(name):
    reserved = name in {".", ".."} or re.fullmatch(r"\.cnnkit-move-\d+", name)
    return not reserved and len(os.fsencode(name)) <= 255


any_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1)
file_names = st.one_of(st.sampled_from(NAMES), any_text.filter(fits))
folder_names = st.sampled_from(
    ["cat", "Cat", "class1", "0", "a b", "고양이", "😀", "new\nline", "cat1.png", "x" * 240]
    + [os.fsdecode(b"\xff"), ".hidden"]
)


@st.composite
def plans(draw):
    """Draw files' names and new ones for them: swaps, cycles, chains and fresh names."""
    plan = {}
    for folder in ("a", "b"):
        old = draw(st.lists(file_names, max_size=4, unique=True))
        fresh = draw(st.lists(file_names, max_size=2))
        new = draw(st.permutations(list(dict.fromkeys(old + fresh))))
        plan |= {f"{folder}/{one}": f"{folder}/{other}" for one, other in zip(old, new)}  # noqa: B905
    return plan


file_trees = st.dictionaries(
    folder_names, st.lists(file_names, max_size=5, unique=True), min_size=1, max_size=3
)


@contextmanager
def failing(at, *, forever=False, done=False, operations=OPERATIONS):
    """Let the file operation of that number fail, or all from there on if `forever`.

    `done` tells whether the first one that fails has had its effect. A text is half written
    whenever writing it fails. What is yielded counts the operations.
    """
    seen = SimpleNamespace(count=0)
    error = Killed() if forever else OSError(errno.EIO, "The disk is broken")

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
def folder_of(names):
    """Make a folder of files that hold their own names."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in names:
            path = root / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(os.fsencode(name))
        yield root


def snapshot(root):
    """What is below a folder: the contents of files by their paths, None for folders."""
    paths = [Path(top, name) for top, *names in os.walk(root) for name in itertools.chain(*names)]
    return {
        os.fspath(path.relative_to(root)): None if path.is_dir() else path.read_bytes()
        for path in paths
    }


def files_of(tree):
    """Count the contents of all files that belong to the user."""
    journals = {".cnnkit-moves.json", ".cnnkit-moves.json.partial"}
    return Counter(content for name, content in tree.items() if name not in journals)


def moved(plan, tree):
    return {plan.get(name, name): content for name, content in tree.items()}


def carry_out(root, plan):
    moves = {root / old: root / new for old, new in plan.items() if old != new}
    return renamed(root, moves, dry_run=False)


def kills(run, names):
    """Yield a folder in which `run` was killed, for every operation, before it and after it."""
    for done, at in itertools.product((False, True), itertools.count(1)):
        with folder_of(names) as root:
            with failing(at, forever=True, done=done) as seen, suppress(Killed):
                run(root)
            yield root
        if seen.count < at and done:
            return


