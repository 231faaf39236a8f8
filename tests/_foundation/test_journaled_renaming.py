"""renumber_files and rename_classes under failures and kills: every file and folder is kept."""

from file_names import fits, any_text


import os
import signal
import subprocess
import sys
import unicodedata
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cnnkit.data import rename_classes, renumber_files

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
# One import for all: a child of it for each folder and number of steps, which kills itself there.
SIGKILLED = """
import os, signal, sys
from pathlib import Path
from cnnkit.data import renumber_files

rename = Path.rename

def number_or_die(folder, steps):
    def rename_or_die(path, target):
        if next(steps, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(path, target)

    Path.rename = rename_or_die
    renumber_files(folder)

for folder, steps in zip(sys.argv[1::2], sys.argv[2::2]):
    child = os.fork()
    if not child:
        number_or_die(folder, iter(range(int(steps))))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
# 60 files get a hidden name each, then a new one: at the start, between the two, and at the end.
STEPS = (0, 1, 50, 60, 61, 90, 118)


file_names = st.one_of(st.sampled_from(NAMES), any_text.filter(fits))
folder_names = st.sampled_from(
    [
        *("cat", "Cat", "class1", "0", "a b", "고양이", "😀", "new\nline", "cat1.png", "x" * 240),
        *(os.fsdecode(b"\xff"), ".hidden"),
    ]
)


file_trees = st.dictionaries(
    folder_names, st.lists(file_names, max_size=5, unique=True), min_size=1, max_size=3
)


def numbered(tree):
    """Return the names without extensions that renumber_files gives."""
    names = [Path(name) for name, content in tree.items() if content is not None]
    images = [name for name in names if is_image(name)]
    count = Counter(name.parent.name for name in images)
    return {
        f"{folder}/{folder}{number}"
        for folder, images_in_it in count.items()
        for number in range(1, images_in_it + 1)
    }


def is_image(name):
    suffixes = {".png", ".jpg", ".jpeg", ".gif", ".webp"}
    hidden = any(part.startswith(".") for part in name.parts)
    return not hidden and name.suffix.lower() in suffixes


def files_by_folder(tree):
    return Counter((os.path.dirname(name), content) for name, content in tree.items())  # noqa: PTH120


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory, write_names, snapshot):
    """For each number of steps a folder, before and after a process was killed there."""
    files = [f"cat/{number:03}.png" for number in range(40)]
    files += [f"dog/dog{number}.png" for number in range(20)]
    roots = {step: tmp_path_factory.mktemp("killed") for step in STEPS}
    before = [snapshot(write_names(root, files)) for root in roots.values()]
    words = [str(word) for step, root in roots.items() for word in (root, step)]
    command = [sys.executable, "-P", "-c", SIGKILLED, *words]
    codes = subprocess.run(command, check=True, capture_output=True).stdout.split()
    told = zip(roots.values(), before, map(int, codes), strict=True)
    return dict(zip(STEPS, told, strict=True))


class TestNumberingFiles:
    """renumber_files keeps every file, for any names, failures and kills."""

    @settings(deadline=None, max_examples=40)  # a busy machine is no failure
    @given(file_trees)
    def test_any_names(self, folder_of, snapshot, tree):
        """Images are numbered without a gap, all else stays, and a second call changes nothing."""
        with folder_of(flat(tree)) as root:
            before = snapshot(root)
            others = {name for name in before if not is_image(Path(name)) or before[name] is None}

            renumber(root)

            after = snapshot(root)
            images = after.keys() - others
            assert numbered(before) == {name.rpartition(".")[0] for name in images}
            assert {name: before[name] for name in others} == {name: after[name] for name in others}
            assert files_by_folder(before) == files_by_folder(after)
            assert renumber(root).empty
            assert after == snapshot(root)

    @settings(deadline=None, max_examples=15)  # a busy machine is no failure
    @given(file_trees)
    @example({"cat": ["cat2.png", "cat1.png", "a.jpeg"], "dog": ["cat1.png"]})
    def test_failures(self, folder_of, snapshot, failing, tree):
        """Whichever renaming fails, every file has the name that it had before."""
        with folder_of(flat(tree)) as root:
            before = snapshot(root)
            moves = len(renumber(root, dry_run=True))
            for at in range(1, 2 * moves + 1):
                with failing(at, operations=["rename"]), pytest.raises(OSError, match="broken"):
                    renumber(root)

                assert before == snapshot(root)

    @settings(deadline=None, max_examples=5)  # a busy machine is no failure
    @given(file_trees)
    @example({"cat": ["cat2.png", "cat1.png", "a.jpeg"], "dog": ["cat1.png"]})
    def test_kills(self, folder_of, snapshot, files_of, killed, tree):
        """A call after a kill gives the same result as an undisturbed one."""
        with folder_of(flat(tree)) as root:
            before = snapshot(root)
            renumber(root)
            expected = snapshot(root)
        for root in killed(renumber, flat(tree)):
            assert files_of(before) == files_of(snapshot(root))

            renumber(root)

            left = {k: v for k, v in snapshot(root).items() if not k.endswith(".json.partial")}
            assert expected == left

    def test_dry_run_after_a_kill(self, folder_of, snapshot, killing):
        """A dry run is refused while an interrupted renaming has to be undone."""
        with folder_of(["cat/a.png"]) as root:
            with killing(4):
                renumber_files(root)
            before = snapshot(root)

            with pytest.raises(ValueError, match="renaming was interrupted"):
                renumber_files(root, dry_run=True)

            assert before == snapshot(root)

    @pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system knows no SIGKILL")
    @pytest.mark.parametrize("step", STEPS)
    def test_killed_process(self, interrupted, step, snapshot, files_of):
        """After a process was killed, the next call recovers and completes the work."""
        root, before, code = interrupted[step]
        left = snapshot(root)

        renumber_files(root)

        after = snapshot(root)
        assert -signal.SIGKILL == code
        assert files_of(before) == files_of(left) == files_of(after)
        images = {name.removesuffix(".png") for name in after if name.endswith(".png")}
        assert numbered(before) == images
        assert not list(root.rglob(".cnnkit*"))


def flat(tree):
    return [f"{folder}/{name}" for folder, names in tree.items() for name in names]


def renumber(root, *, dry_run=False):
    """Number the files, unless there is no class folder, and then there is nothing to number."""
    if not [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]:
        return pd.DataFrame()
    return renumber_files(root, dry_run=dry_run)


ONE_WAY = {"cane": "dog", "gatto": "cat"}
SWAP = {"cane": "gatto", "gatto": "cane"}
CYCLE = {"cane": "gatto", "gatto": "ragno", "ragno": "cane"}
CHAIN = {"cane": "gatto", "gatto": "ragno", "ragno": "pecora"}
ANIMALS = ["cane/1", "gatto/1", "ragno/1"]


@pytest.mark.parametrize(
    "mapping", [ONE_WAY, SWAP, CYCLE, CHAIN], ids=["one way", "swap", "cycle", "chain"]
)
class TestRenamingClasses:
    """rename_classes keeps every folder, for failures and kills."""

    def test_failures(self, mapping, folder_of, snapshot, failing):
        """Whichever renaming fails, every folder has the name that it had before."""
        with folder_of(ANIMALS) as root:
            before = snapshot(root)
            moves = len(rename_classes(root, mapping, dry_run=True))
            for at in range(1, 2 * moves + 1):
                with failing(at, operations=["rename"]), pytest.raises(OSError, match="broken"):
                    rename_classes(root, mapping)

                assert before == snapshot(root)

        assert moves > 1

    def test_kills_lose_nothing(self, mapping, folder_of, snapshot, files_of, killed):
        """After a kill and another call, every folder is there, under a visible name."""
        with folder_of(ANIMALS) as root:
            before = snapshot(root)
        for root in killed(lambda root: rename_classes(root, mapping), ANIMALS):
            assert files_of(before) == files_of(snapshot(root))

            with suppress(ValueError, FileExistsError):  # where the killed call was finished
                rename_classes(root, mapping)

            assert files_of(before) == files_of(snapshot(root))
            assert not list(root.glob(".cnnkit-move*[0-9n]"))

    def test_kills(self, mapping, folder_of, snapshot, killed):
        """A call after a kill gives the same result as an undisturbed one."""
        with folder_of(ANIMALS) as root:
            rename_classes(root, mapping)
            expected = snapshot(root)
        for root in killed(lambda root: rename_classes(root, mapping), ANIMALS):
            if expected == snapshot(root):  # it was killed when all was done
                continue

            rename_classes(root, mapping)

            assert expected == snapshot(root)

    def test_dry_run_after_a_kill(self, mapping, folder_of, snapshot, killing):
        """A dry run is refused while an interrupted renaming has to be undone."""
        with folder_of(ANIMALS) as root:
            with killing(4):
                rename_classes(root, mapping)
            before = snapshot(root)

            with pytest.raises(ValueError, match="renaming was interrupted"):
                rename_classes(root, mapping, dry_run=True)

            assert before == snapshot(root)
