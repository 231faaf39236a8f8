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

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cnnkit.data import list_images, rename_classes, renumber_files
from cnnkit._foundation.journals import check_settled, renamed, settle

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


class Killed(BaseException):
    """What ends a process, as far as an exception can."""


def fits(name):
    reserved = name in {".", ".."} or re.fullmatch(r"\.cnnkit-move-\d+", name)
    return not reserved and len(os.fsencode(name)) <= 255


any_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1)
file_names = st.one_of(st.sampled_from(NAMES), any_text.filter(fits))
folder_names = st.sampled_from(
    [
        *("cat", "Cat", "class1", "0", "a b", "고양이", "😀", "new\nline", "cat1.png", "x" * 240),
        *(os.fsdecode(b"\xff"), ".hidden"),
    ]
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


def write_names(root, names):
    """Write files that hold their own names."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(name))
    return root


@contextmanager
def folder_of(names):
    """Make a folder of files that hold their own names."""
    with tempfile.TemporaryDirectory() as folder:
        yield write_names(Path(folder), names)


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


def killed(run, names):
    """Yield a folder in which `run` was killed: at every operation, before it and after it."""
    for done in (False, True):
        for at in itertools.count(1):
            with folder_of(names) as root:
                with failing(at, forever=True, done=done) as seen, suppress(Killed):
                    run(root)
                if seen.count < at:
                    break
                yield root


PLAN = {"a/1": "a/2", "a/2": "a/1", "a/3": "a/4", "a/4": "a/5", "b/1": "b/2"}


def run_plan(root):
    carry_out(root, PLAN)


class TestPlans:
    """A plan is carried out whole, or refused whole."""

    @settings(deadline=None, max_examples=50)  # a busy machine is no failure
    @given(plans())
    @example(PLAN)
    def test_every_file_gets_its_name(self, plan):
        """Contents go along with names, for any names, and other files stay."""
        with folder_of([*plan, "a/stays", "c/stays"]) as root:
            expected = moved(plan, snapshot(root))

            carry_out(root, plan)

            assert expected == snapshot(root)

    @pytest.mark.parametrize("dry_run", [False, True])
    @pytest.mark.parametrize(
        "plan",
        [{"a/1": "a/3", "a/2": "a/3"}, {"a/1": "a/4", "a/2": "a/taken"}, {"a/1": "a/folder"}],
    )
    def test_taken_names_are_refused(self, plan, dry_run):
        """A name that something keeps or that two would get is no free name."""
        with folder_of(["a/1", "a/2", "a/taken", "a/folder/1"]) as root:
            before = snapshot(root)
            moves = {root / old: root / new for old, new in plan.items()}

            with pytest.raises(FileExistsError, match="New names must be free"):
                renamed(root, moves, dry_run=dry_run)

            assert before == snapshot(root)

    def test_five_taken_names_are_told(self):
        """The error lists no more."""
        with folder_of([f"a/{number}" for number in range(14)]) as root:
            moves = {root / f"a/{number}": root / f"a/{number + 7}" for number in range(7)}
            told = ", ".join(repr(f"{root}/a/{number}") for number in range(7, 11))
            text = (
                f"New names must be free. Received: {told} or {f'{root}/a/11'!r}, which another "
                "file or folder has or would get too. Nothing was renamed; move it away first."
            )

            with pytest.raises(FileExistsError, match=f"^{re.escape(text)}$"):
                renamed(root, moves, dry_run=False)

    @pytest.mark.parametrize("number", range(4))
    def test_hidden_name_that_is_taken(self, number):
        """A file with a hidden name that an earlier renaming has left is no obstacle for good."""
        hidden = f"a/.cnnkit-move-{number}"
        with folder_of([*PLAN, hidden]) as root:
            before = snapshot(root)

            with suppress(FileExistsError):
                run_plan(root)
            settle(root)

            assert snapshot(root) in (before, moved(PLAN, before))


class TestFailures:
    """A failure in the middle is undone, and nothing is left over."""

    @settings(deadline=None, max_examples=30)  # a busy machine is no failure
    @given(plans())
    def test_failing_rename(self, plan):
        """Whichever renaming fails, every file has the name that it had before."""
        moves = sum(old != new for old, new in plan.items())
        with folder_of(plan) as root:
            before = snapshot(root)
            for at in range(1, 2 * moves + 1):
                with failing(at, operations=["rename"]), pytest.raises(OSError, match="broken"):
                    carry_out(root, plan)

                assert before == snapshot(root)

    @pytest.mark.parametrize(
        "operation",
        [
            "write_text",
            "replace",
            "unlink",
        ],
    )
    def test_failing_journal(self, operation):
        """It is the same where the journal can't be written or removed, say on a full disk."""
        with folder_of(PLAN) as root:
            before = snapshot(root)
            for at in itertools.count(1):
                with failing(at, operations=[operation]) as seen, suppress(OSError):
                    run_plan(root)
                if seen.count < at:
                    break

                assert before == snapshot(root)

        assert at > 1

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_failure_never_loses_a_file(self, operation):
        """Whatever fails, files are whole, and a call without a failure brings them in order."""
        for at in itertools.count(1):
            with folder_of(PLAN) as root:
                before = snapshot(root)
                with failing(at, operations=[operation]) as seen, suppress(OSError):
                    run_plan(root)
                if seen.count < at:
                    break
                assert files_of(before) == files_of(snapshot(root))

                settle(root)

                assert files_of(before) == files_of(snapshot(root))
                assert snapshot(root).keys() - {".cnnkit-moves.json.partial"} in (
                    before.keys(),
                    moved(PLAN, before).keys(),
                )

        assert at > 1


class TestKills:
    """What a killed process leaves is undone or finished by the next call."""

    @settings(deadline=None, max_examples=8)  # a busy machine is no failure
    @given(plans())
    @example(PLAN)
    def test_settled_whole_or_not_at_all(self, plan):
        """Whenever it is killed, no file is lost, and all files have old names or all new ones."""
        with folder_of(plan) as root:
            before = snapshot(root)
        steps = 0
        for root in killed(lambda root: carry_out(root, plan), plan):
            steps += 1
            assert files_of(before) == files_of(snapshot(root))

            settle(root)

            # A journal that was killed while it was written may lie there: nothing has moved then.
            left = {k: v for k, v in snapshot(root).items() if not k.endswith(".json.partial")}
            assert left in (before, moved(plan, before))

        moves = sum(old != new for old, new in plan.items())
        assert steps >= 4 * moves

    def test_settling_leaves_no_hidden_name(self):
        """Also a journal that was killed while it was written goes."""
        for root in killed(run_plan, PLAN):
            settle(root)

            assert not list(root.glob(".cnnkit*"))

    def test_killed_while_settling(self):
        """A second kill while the first is settled does no harm, wherever both happen."""
        plan = {"a/1": "a/2", "a/2": "a/1", "b/1": "b/2"}
        with folder_of(plan) as root:
            before = snapshot(root)
        steps = 0

        def killed_twice(root, at, done):
            with failing(at, forever=True, done=done) as seen, suppress(Killed):
                settle(root)
            return seen.count >= at

        for done in (False, True):
            for at in itertools.count(1):
                hits = 0
                for root in killed(lambda root: carry_out(root, plan), plan):
                    hits += killed_twice(root, at, done)
                    assert files_of(before) == files_of(snapshot(root))

                    settle(root)

                    left = snapshot(root).keys() - {".cnnkit-moves.json.partial"}
                    assert left in (before.keys(), moved(plan, before).keys())
                    assert files_of(before) == files_of(snapshot(root))
                steps += hits
                if not hits:
                    break

        assert steps > 100

    @pytest.mark.parametrize("change", ["one more", "one less"])
    def test_changed_after_a_kill(self, change):
        """What somebody put under a new name since is left alone; one that is gone stays gone."""
        with folder_of(["a/1", "a/2"]) as root:
            before = snapshot(root)
            moves = {root / "a/1": root / "a/3", root / "a/2": root / "a/4"}
            with failing(4, operations=["rename"], forever=True), suppress(Killed):
                renamed(root, moves, dry_run=False)
            if change == "one more":
                (root / "a/4").write_text("new")
                before["a/4"] = b"new"
            else:
                (root / "a/3").unlink()
                del before["a/1"]

            settle(root)

            assert before == snapshot(root)

    def test_listing_after_a_kill(self):
        """A folder with files under hidden names isn't listed as if they were gone."""
        refusals = 0
        for root in killed(run_plan, PLAN):
            if (root / ".cnnkit-moves.json").exists():
                refusals += 1
                with pytest.raises(ValueError, match="renaming was interrupted"):
                    list_images(root)

        assert refusals > 4 * len(PLAN)

    def test_what_is_not_settled_is_told(self):
        """Who must not change anything can ask whether something has to be undone."""
        refusals = 0
        for root in killed(run_plan, PLAN):
            if not (root / ".cnnkit-moves.json").exists():
                continue
            before = snapshot(root)

            text = (
                f"A folder must be in order. Received: {str(root)!r}, where a renaming was "
                "interrupted and some files have hidden names. `renumber_files` and "
                "`rename_classes` undo that before they do anything else (not with dry_run=True)."
            )
            with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
                check_settled(root)

            assert before == snapshot(root)
            refusals += 1

        assert refusals > 4 * len(PLAN)

    def test_name_that_was_taken_meanwhile(self):
        """Settling overwrites nothing; once the name is free, it goes on."""
        with folder_of(["a/1", "a/2"]) as root:
            with failing(4, forever=True), suppress(Killed):
                carry_out(root, {"a/1": "a/2", "a/2": "a/1"})
            (root / "a/1").write_bytes(b"meanwhile")

            with pytest.raises(FileExistsError, match="something has the name.* was begun\\.$"):
                settle(root)
            assert b"meanwhile" == (root / "a/1").read_bytes()
            (root / "a/1").rename(root / "a/3")
            settle(root)

            assert {"a", "a/1", "a/2", "a/3"} == snapshot(root).keys()
            assert b"a/1" == (root / "a/1").read_bytes()

    def test_folder_that_was_moved_meanwhile(self):
        """The journal goes along with the folder."""
        with folder_of(["old/x"]) as root:
            (root / "old" / "b").mkdir()
            (root / "old" / "b" / "1").write_bytes(b"b/1")
            with failing(2, forever=True, operations=["rename"]), suppress(Killed):
                carry_out(root / "old", {"b/1": "b/2"})
            (root / "old").rename(root / "new")

            settle(root / "new")

            assert {"new", "new/x", "new/b", "new/b/1"} == snapshot(root).keys()


def numbered(tree):
    """Tell what renumber_files leaves: the names without extensions, and what is in each folder."""
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
def interrupted(tmp_path_factory):
    """For each number of steps a folder, before and after a process was killed there."""
    files = [f"cat/{number:03}.png" for number in range(40)]
    files += [f"dog/dog{number}.png" for number in range(20)]
    roots = {step: tmp_path_factory.mktemp("killed") for step in STEPS}
    before = [snapshot(write_names(root, files)) for root in roots.values()]
    words = [str(word) for step, root in roots.items() for word in (root, step)]
    command = [sys.executable, "-P", "-c", SIGKILLED, *words]
    codes = subprocess.run(command, check=True, capture_output=True).stdout.split()
    return dict(zip(STEPS, zip(roots.values(), before, map(int, codes), strict=True)))


class TestNumberingFiles:
    """renumber_files keeps every file, for any names, failures and kills."""

    @settings(deadline=None, max_examples=40)  # a busy machine is no failure
    @given(file_trees)
    def test_any_names(self, tree):
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
    def test_failures(self, tree):
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
    def test_kills(self, tree):
        """The call that follows a kill ends where one that wasn't killed does."""
        with folder_of(flat(tree)) as root:
            before = snapshot(root)
            renumber(root)
            expected = snapshot(root)
        for root in killed(renumber, flat(tree)):
            assert files_of(before) == files_of(snapshot(root))

            renumber(root)

            left = {k: v for k, v in snapshot(root).items() if not k.endswith(".json.partial")}
            assert expected == left

    def test_dry_run_after_a_kill(self):
        """A dry run can't tell names that it would have to settle first."""
        with folder_of(["cat/a.png"]) as root:
            with failing(4, forever=True), suppress(Killed):
                renumber_files(root)
            before = snapshot(root)

            with pytest.raises(ValueError, match="renaming was interrupted"):
                renumber_files(root, dry_run=True)

            assert before == snapshot(root)

    @pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system knows no SIGKILL")
    @pytest.mark.parametrize("step", STEPS)
    def test_killed_process(self, interrupted, step):
        """A process that the system kills leaves nothing that the next call can't settle."""
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

    def test_failures(self, mapping):
        """Whichever renaming fails, every folder has the name that it had before."""
        with folder_of(ANIMALS) as root:
            before = snapshot(root)
            moves = len(rename_classes(root, mapping, dry_run=True))
            for at in range(1, 2 * moves + 1):
                with failing(at, operations=["rename"]), pytest.raises(OSError, match="broken"):
                    rename_classes(root, mapping)

                assert before == snapshot(root)

        assert moves > 1

    def test_kills_lose_nothing(self, mapping):
        """After a kill and another call, every folder is there, under a visible name."""
        with folder_of(ANIMALS) as root:
            before = snapshot(root)
        for root in killed(lambda root: rename_classes(root, mapping), ANIMALS):
            assert files_of(before) == files_of(snapshot(root))

            with suppress(ValueError, FileExistsError):  # where the killed call was finished
                rename_classes(root, mapping)

            assert files_of(before) == files_of(snapshot(root))
            assert not list(root.glob(".cnnkit-move*[0-9n]"))

    def test_kills(self, mapping):
        """The call that follows a kill ends where one that wasn't killed does."""
        with folder_of(ANIMALS) as root:
            rename_classes(root, mapping)
            expected = snapshot(root)
        for root in killed(lambda root: rename_classes(root, mapping), ANIMALS):
            if expected == snapshot(root):  # it was killed when all was done
                continue

            rename_classes(root, mapping)

            assert expected == snapshot(root)

    def test_dry_run_after_a_kill(self, mapping):
        """A dry run can't tell names that it would have to settle first."""
        with folder_of(ANIMALS) as root:
            with failing(4, forever=True), suppress(Killed):
                rename_classes(root, mapping)
            before = snapshot(root)

            with pytest.raises(ValueError, match="renaming was interrupted"):
                rename_classes(root, mapping, dry_run=True)

            assert before == snapshot(root)
