"""split_folder: every file in one part, the originals as they were, and never a file in part.

Interruptions are acted out by a file operation that raises in the middle of its work; kills are
real: another process ends itself by SIGKILL there.
"""

import errno
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cnnkit.data import list_images, list_splits, split_folder, split_table

WAYS = ["copy", "hardlink", "symlink"]
LONG_AGO = 1_000_000_000_123_456_789  # nanoseconds
PHOTOS = [f"cat/{number}.jpg" for number in range(6)] + [f"dog/{name}.png" for name in "abcde"]
HOLDS = r"`destination` must hold no other images, or this same split\. Received: .* with "
OTHERS, CHANGED = rf"{HOLDS}1 other", rf"{HOLDS}1 file\(s\) that differ"
NAMES = [
    "1",
    "1_2",
    "1_3",
    "A",
    "a",
    "ß",
    "ss",
    "é",
    "e\u0301",
    "고양이",
    "😀",
    " a ",
    "a.jpg",
    "comma, quote\"'",
    "new\nline",
    "back\\slash",
    "{}%s",
    "-rf",
    "x" * 240,
    os.fsdecode(b"\xff\xfe"),
]
# One import for all: a child of it for each kill, which ends itself in the middle of the operation.
SIGKILLED = """
import json, os, shutil, signal, sys
from itertools import count
from pathlib import Path
from cnnkit.data import split_folder

def place_or_die(source, destination, how, operation, step, moment):
    module, name = operation.split(".")
    owner = {"os": os, "shutil": shutil, "Path": Path}[module]
    work, steps = getattr(owner, name), count()

    def broken(*arguments):
        if next(steps) == step:
            if moment == "after":
                work(*arguments)
            elif name == "copy2":
                Path(arguments[1]).write_bytes(Path(arguments[0]).read_bytes()[:50])
            elif name == "write_bytes":
                work(arguments[0], arguments[1][:50])
            os.kill(os.getpid(), signal.SIGKILL)
        return work(*arguments)

    setattr(owner, name, broken)
    split_folder(source, destination, how=how, progress=False)

for case in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        place_or_die(*case)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
# A child for each destination, all at once; their numbers are told, and how they have ended.
SLOW = """
import os, shutil, sys, time
from cnnkit.data import split_folder

def slowed(work):
    def slow(*arguments):
        time.sleep(float(sys.argv[2]))
        return work(*arguments)
    return slow

os.link, shutil.copy2 = slowed(os.link), slowed(shutil.copy2)
children = []
for destination, how in zip(sys.argv[3::2], sys.argv[4::2]):
    child = os.fork()
    if not child:
        split_folder(sys.argv[1], destination, how=how, progress=False)
        os._exit(0)
    children.append(child)
print(*children, flush=True)
print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""

place = partial(split_folder, progress=False)


def write_files(root, names):
    """Write a content of its own into every file, at a time of its own."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{number} ".encode() * (20 + number))
        os.utime(path, ns=(LONG_AGO, LONG_AGO + number * 10**9))
    return root


def state(path):
    status = path.lstat()
    content = str(path.readlink()) if path.is_symlink() else path.read_bytes()
    return content, status.st_ino, status.st_mtime_ns


def states(root):
    """Return content, inode and time of every file."""
    return {
        os.path.relpath(path, root): state(path)
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def contents(root):
    """Return what a folder holds, as far as it can be the same twice."""
    return {name: content for name, (content, *_) in states(root).items()}


@contextmanager
def breaking(owner, name, step, error):
    """Let the call of that number raise; what it writes is half written then."""
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


@pytest.fixture
def photos(tmp_path):
    """Six cats and five dogs."""
    return write_files(tmp_path / "photos", PHOTOS)


@pytest.fixture
def parts(tmp_path):
    """Where the parts shall go."""
    return tmp_path / "parts"


class TestTree:
    """The parts are folders of class folders."""

    @pytest.mark.parametrize("how", WAYS)
    def test_every_file_has_its_place(self, photos, parts, how):
        """However files are placed, what the table says lies where it says, and nothing else."""
        table = place(photos, parts, how=how)

        expected = {"split.csv"} | {os.path.relpath(path, parts) for path in table["file_paths"]}
        assert expected == set(states(parts))
        for row in table.itertuples():
            assert (
                f"{row.split}/{row.target_names}"
                == Path(row.file_paths).parent.relative_to(parts).as_posix()
            )
            assert Path(row.source_paths).read_bytes() == Path(row.file_paths).read_bytes()

    def test_ways_give_the_same_tree(self, photos, tmp_path):
        """Names and contents do not depend on how files are placed."""
        trees = []
        for how in WAYS:
            place(photos, tmp_path / how, how=how)
            names = sorted(states(tmp_path / how))
            trees.append([(name, (tmp_path / how / name).read_bytes()) for name in names])

        assert len(PHOTOS) + 1 == len(trees[0])
        assert trees[0] == trees[1] == trees[2]

    @pytest.mark.parametrize("how", WAYS)
    def test_originals_stay(self, photos, parts, how):
        """The source keeps its files, their contents, inodes and times."""
        before = states(photos)

        place(photos, parts, how=how)

        assert before == states(photos)

    def test_copies_are_files_of_their_own(self, photos, parts):
        """A copy that is changed does not change the original, and keeps its time."""
        table = place(photos, parts)

        for old, new in zip(table["source_paths"], table["file_paths"], strict=True):
            assert not Path(old).samefile(new)
            assert not Path(new).is_symlink()
            assert Path(old).stat().st_mtime_ns == Path(new).stat().st_mtime_ns

    def test_hard_links_are_the_same_files(self, photos, parts):
        """A hard link has the inode of the original."""
        table = place(photos, parts, how="hardlink")

        for old, new in zip(table["source_paths"], table["file_paths"], strict=True):
            assert Path(old).stat().st_ino == Path(new).lstat().st_ino

    def test_symbolic_links_hold_from_anywhere(self, photos, parts, tmp_path, monkeypatch):
        """Links are absolute, also where the source was given relative to the working folder."""
        monkeypatch.chdir(tmp_path)
        table = place("photos", "parts", how="symlink")
        monkeypatch.chdir("/")

        for old, new in zip(table["source_paths"], table["file_paths"], strict=True):
            assert Path(new).is_absolute()
            assert old == str(Path(new).readlink())
            assert Path(old).is_absolute()
            assert Path(new).read_bytes()

    @pytest.mark.parametrize("how", ["copy", "hardlink"])
    def test_linked_originals_are_followed(self, photos, parts, tmp_path, how):
        """A link in the source is placed as the file that it leads to."""
        photos.rename(tmp_path / "elsewhere")
        for name in PHOTOS:
            (photos / name).parent.mkdir(parents=True, exist_ok=True)
            (photos / name).symlink_to(Path("../../elsewhere", name))

        table = place(photos, parts, how=how)

        for old, new in zip(table["source_paths"], table["file_paths"], strict=True):
            assert not Path(new).is_symlink()
            assert Path(old).read_bytes() == Path(new).read_bytes()
            assert (how == "hardlink") == Path(old).samefile(new)

    def test_other_content_beside_the_parts(self, photos, parts):
        """What lies in the destination beside the part folders is no obstacle and stays."""
        write_files(parts, ["notes.txt", "raw/train/1.jpg"])
        before = states(parts)

        place(photos, parts)

        assert before.items() <= states(parts).items()

    def test_empty_folders_are_no_obstacle(self, photos, parts):
        """Part folders may be there, with folders in them."""
        (parts / "train/cat").mkdir(parents=True)
        (parts / "test/bird").mkdir(parents=True)

        assert len(PHOTOS) == len(place(photos, parts))

    def test_source_in_destination(self, tmp_path):
        """The originals may lie beside the part folders."""
        animals = tmp_path / "animals"
        write_files(animals / "original", PHOTOS)
        before = states(animals / "original")

        place(animals / "original", animals)

        assert len(PHOTOS) == sum(map(len, list_splits(animals)))
        assert before == states(animals / "original")

    @pytest.mark.parametrize("size", ["validation_size", "test_size"])
    def test_part_without_images(self, photos, parts, size):
        """A part of size 0 gets no folder."""
        table = place(photos, parts, **{size: 0})

        missing = size.removesuffix("_size")
        assert 0 == (table["split"] == missing).sum()
        assert not (parts / missing).exists()


class TestNames:
    """No file is lost because another has its name."""

    def test_equal_names_get_numbers(self, tmp_path, parts):
        """Files of one class from several folders, and a name that the number would give."""
        names = ["a/1.jpg", "b/1.jpg", "c/1.jpg", "c/1_2.jpg", "d/2.jpg"]
        root = write_files(tmp_path / "photos", [f"cat/{name}" for name in names])

        table = place(root, parts)

        expected = ["1.jpg", "1_3.jpg", "1_4.jpg", "1_2.jpg", "2.jpg"]
        assert expected == [Path(path).name for path in table["file_paths"]]
        for old, new in zip(table["source_paths"], table["file_paths"], strict=True):
            assert Path(old).read_bytes() == Path(new).read_bytes()

    @pytest.mark.parametrize(
        "names",
        [("cat.jpg", "CAT.JPG"), ("é.jpg", "e\u0301.jpg")],
        ids=["case", "composition"],
    )
    def test_names_that_some_systems_take_for_one(self, tmp_path, parts, names):
        """Names that differ in case or composition only are made to differ in more."""
        root = write_files(
            tmp_path / "photos", [f"cat/{number}/{names[number]}" for number in (0, 1)]
        )

        table = place(root, parts, validation_size=0, test_size=0)

        numbered = names[1].replace(".", "_2.")
        assert {names[0], numbered} == {Path(path).name for path in table["file_paths"]}

    def test_classes_share_names(self, tmp_path, parts):
        """Equal names in different classes stay."""
        names = [f"{label}/{number}.jpg" for label in ("cat", "dog") for number in range(5)]

        table = place(write_files(tmp_path / "photos", names), parts)

        assert names == [
            f"{Path(path).parent.name}/{Path(path).name}" for path in table["file_paths"]
        ]

    def test_numbers_do_not_depend_on_the_order(self, tmp_path, parts):
        """A table in another order gives every file the same place."""
        names = [f"cat/{folder}/1.jpg" for folder in "abcdefgh"]
        table = list_images(write_files(tmp_path / "photos", names))
        place(table, parts)
        before = states(parts)

        shuffled = place(table.sample(frac=1, random_state=0), tmp_path / "others")

        assert {name: content[0] for name, content in before.items() if name != "split.csv"} == {
            os.path.relpath(path, tmp_path / "others"): Path(path).read_bytes()
            for path in shuffled["file_paths"]
        }

    def test_long_names(self, tmp_path, parts):
        """A name as long as a file system allows is placed."""
        names = [f"cat/{letter * 251}.jpg" for letter in "abcde"]

        table = place(write_files(tmp_path / "photos", names), parts)

        assert names == [f"cat/{Path(path).name}" for path in table["file_paths"]]

    @pytest.mark.skipif(sys.platform != "linux", reason="only there names are any bytes")
    def test_names_that_are_no_text(self, tmp_path, parts):
        """Names of older encodings are kept, byte by byte, in `split.csv` as well."""
        names = [os.fsdecode(b"caf\xe9/\xff%d.jpg" % number) for number in range(5)]

        table = place(write_files(tmp_path / "photos", names), parts)

        assert names == [
            f"{Path(path).parent.name}/{Path(path).name}" for path in table["file_paths"]
        ]
        assert 10 == (parts / "split.csv").read_bytes().count(b"caf\xe9/\xff")


class TestTable:
    """What is returned is the table, of the placed files."""

    def test_columns(self, photos, parts):
        """New paths, the part and the old paths; the rows stand as in the folder's table."""
        listed = list_images(photos)

        table = place(photos, parts)

        assert [*listed.columns, "split", "source_paths"] == list(table.columns)
        assert listed["file_paths"].tolist() == table["source_paths"].tolist()
        assert ["train", "validation", "test"] == list(table["split"].cat.categories)
        pd.testing.assert_frame_equal(
            listed.drop(columns="file_paths"),
            table.drop(columns=["file_paths", "split", "source_paths"]),
        )

    def test_equals_split_table(self, photos, parts):
        """The parts are those of split_table with the same settings."""
        settings_ = {"validation_size": 3, "test_size": 0.3, "random_state": 7}
        split = split_table(list_images(photos), **settings_)

        table = place(photos, parts, **settings_)

        for part, rows in split._asdict().items():
            assert rows.index.tolist() == table.index[table["split"] == part].tolist()

    def test_unstratified(self, photos, parts):
        """stratify=False is passed on."""
        split = split_table(list_images(photos), stratify=False, random_state=0)

        table = place(photos, parts, stratify=False)

        assert split.test.index.tolist() == table.index[table["split"] == "test"].tolist()
        assert [2, 0] != list(table["target_names"][table["split"] == "test"].value_counts())

    def test_seeds_differ(self, photos, tmp_path):
        """Another random_state gives another split."""
        first = place(photos, tmp_path / "first")
        second = place(photos, tmp_path / "second", random_state=1)

        assert first["split"].tolist() != second["split"].tolist()

    def test_table_as_source(self, tmp_path, parts):
        """A table keeps its order, its index and its further columns, wherever its files lie."""
        write_files(tmp_path / "old", [f"cat.{number}.jpg" for number in range(5)])
        write_files(tmp_path / "new", [f"dog.{number}.jpg" for number in range(5)])
        labels = re.compile(r"^(cat|dog)\.")
        names = ["dog", "cat"]
        listed = [
            list_images(tmp_path / folder, labels=labels, class_names=names)
            for folder in ("old", "new")
        ]
        source = pd.concat(listed, ignore_index=True).assign(patient=range(10)).iloc[::-1]
        before = source.copy()

        table = place(source, parts)

        pd.testing.assert_frame_equal(before, source)
        columns = ["target_names", "targets", "patient"]
        pd.testing.assert_frame_equal(source[columns], table[columns])
        assert source["file_paths"].tolist() == table["source_paths"].tolist()
        assert [Path(path).name for path in table["source_paths"]] == [
            Path(path).name for path in table["file_paths"]
        ]
        assert len(source) == sum(map(len, list_splits(parts)))

    def test_repeated_index_is_no_obstacle(self, photos, parts):
        """Rows are told apart by place, not by index."""
        table = place(list_images(photos).set_axis([0] * len(PHOTOS)), parts)

        assert [0] * len(PHOTOS) == table.index.tolist()
        for old, new in zip(table["source_paths"], table["file_paths"], strict=True):
            assert Path(old).read_bytes() == Path(new).read_bytes()

    def test_groups_stay_together(self, tmp_path, parts):
        """A column of the table keeps rows in one part."""
        names = [f"{label}/{number}.jpg" for label in ("cat", "dog") for number in range(20)]
        source = list_images(write_files(tmp_path / "photos", names))
        source["video"] = [Path(path).stem[-1] for path in source["file_paths"]]

        table = place(source, parts, groups="video")

        assert (table.groupby("video")["split"].nunique() == 1).all()

    def test_duplicates_stay_together(self, tmp_path, parts):
        """Files with the same bytes are placed in one part."""
        root = write_files(tmp_path / "photos", [f"cat/{number}.jpg" for number in range(20)])
        for number in range(20):
            shutil.copy(root / f"cat/{number}.jpg", root / f"cat/{number}b.jpg")

        table = place(root, parts, groups="duplicates")

        number = table["source_paths"].str.extract(r"(\d+)b?\.jpg$")[0]
        assert (table.groupby(number)["split"].nunique() == 1).all()

    def test_manifest(self, photos, parts):
        """`split.csv` has a row for each file, its paths relative to the destination."""
        table = place(photos, parts)

        read = pd.read_csv(parts / "split.csv")
        assert list(table.columns) == list(read.columns)
        for column in ("split", "target_names", "source_paths"):
            assert table[column].tolist() == read[column].tolist()
        assert table["file_paths"].tolist() == [str(parts / path) for path in read["file_paths"]]

    def test_manifest_of_odd_names(self, tmp_path, parts):
        """Names with commas, quotes and line ends are read back as they are."""
        names = ["a, b.jpg", 'quote".jpg', "new\nline.jpg", "고양이.jpg", " a .jpg"]
        root = write_files(tmp_path / "photos", [f"cat/{name}" for name in names])

        table = place(root, parts)

        read = pd.read_csv(parts / "split.csv")
        assert table["source_paths"].tolist() == read["source_paths"].tolist()

    @pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
    def test_manifest_of_names_that_break_lines(self, tmp_path, parts):
        """Line breaks in names and classes that look like numbers or gaps are read back."""
        write_files(tmp_path / "photos", [f"{a}/{b}.jpg" for a in ("NA", "01") for b in "a\rb\nc"])

        placed = place(tmp_path / "photos", parts)

        table = pd.read_csv(parts / "split.csv", dtype=str, keep_default_na=False)
        assert list(placed["source_paths"]) == list(table["source_paths"])
        assert list(placed["target_names"]) == list(table["target_names"])

    @pytest.mark.parametrize("progress", [True, False])
    def test_progress_is_shown_on_request(self, photos, parts, capsys, progress):
        """The bar goes to standard error, or nowhere."""
        split_folder(photos, parts, progress=progress)

        shown = capsys.readouterr()
        assert progress == ("11/11" in shown.err)
        assert progress == bool(shown.err)
        assert shown.out == ""


class TestRepeated:
    """A second call finds its work done, or refuses before anything is written."""

    @pytest.mark.parametrize("how", WAYS)
    def test_nothing_changes(self, photos, parts, how):
        """Inodes and times are those of the first call, and so is the table."""
        first = place(photos, parts, how=how)
        before = states(parts)

        second = place(photos, parts, how=how)

        assert before == states(parts)
        pd.testing.assert_frame_equal(first, second)

    @pytest.mark.parametrize("removed", [["split.csv"], ["train/cat"], ["train", "test/dog"]])
    def test_what_is_missing_is_placed(self, photos, parts, removed):
        """Files that someone has removed come back; the others stay."""
        place(photos, parts)
        before = states(parts)
        for name in removed:
            shutil.rmtree(parts / name) if (parts / name).is_dir() else (parts / name).unlink()
        left = states(parts)

        place(photos, parts)

        after = states(parts)
        assert len(left) < len(before)
        assert left.items() <= after.items()
        assert {k: (v[0], v[2]) for k, v in before.items() if k != "split.csv"} == {
            k: (v[0], v[2]) for k, v in after.items() if k != "split.csv"
        }
        assert before["split.csv"][0] == after["split.csv"][0]

    @pytest.mark.parametrize(
        "options",
        [{"random_state": 1}, {"test_size": 0.3}, {"validation_size": 0}, {"stratify": False}],
        ids=lambda options: next(iter(options)),
    )
    def test_other_settings(self, photos, parts, options):
        """Another split over the first is refused, and the first stays."""
        place(photos, parts)
        before = states(parts)

        with pytest.raises(FileExistsError, match="must hold no other images, or this same split"):
            place(photos, parts, **options)

        assert before == states(parts)

    def test_changed_file_of_the_same_age_and_size(self, photos, parts):
        """Contents are compared, not what the file system tells of them."""
        placed = Path(place(photos, parts)["file_paths"].iloc[0])
        status = placed.stat()
        changed = b"x" * status.st_size
        placed.write_bytes(changed)
        os.utime(placed, ns=(status.st_atime_ns, status.st_mtime_ns))

        with pytest.raises(FileExistsError, match=CHANGED):
            place(photos, parts)

        assert changed == placed.read_bytes()

    @pytest.mark.parametrize(("first", "second"), list(itertools.permutations(WAYS, 2)))
    def test_another_way(self, photos, parts, first, second):
        """Links are no copies, and copies no links: who asks for copies may edit them."""
        place(photos, parts, how=first)
        before = states(parts)

        with pytest.raises(FileExistsError, match="with 11 file.*aren't made by how="):
            place(photos, parts, how=second)

        assert before == states(parts)

    @pytest.mark.parametrize("how", WAYS)
    @pytest.mark.parametrize("folder", ["train/cat", "."])
    def test_leftovers_of_a_killed_run(self, photos, parts, tmp_path, how, folder):
        """What a killed run was writing, be it write-protected, is removed by the next."""
        place(photos, tmp_path / "undisturbed", how=how)
        leftover = parts / folder / ".cnnkit-partial-1"
        leftover.parent.mkdir(parents=True, exist_ok=True)
        leftover.write_bytes(b"half a pict")
        leftover.chmod(0o444)

        place(photos, parts, how=how)

        assert contents(tmp_path / "undisturbed").keys() == contents(parts).keys()

    def test_added_files(self, photos, parts):
        """A source that has grown gives another split."""
        place(photos, parts)
        before = states(parts)
        write_files(photos, ["cat/new.jpg"])

        with pytest.raises(FileExistsError, match="must hold no other images, or this same split"):
            place(photos, parts)

        assert before == states(parts)

    def test_changed_file(self, photos, parts):
        """A file that differs from its source is neither overwritten nor taken for it."""
        changed = Path(place(photos, parts)["file_paths"].iloc[-1])
        changed.write_bytes(b"retouched")
        shutil.rmtree(parts / "validation")
        before = states(parts)

        with pytest.raises(FileExistsError, match=f"{CHANGED}.*{re.escape(repr(str(changed)))}"):
            place(photos, parts)

        assert before == states(parts)

    @pytest.mark.parametrize(
        "name",
        ["train/cat/other.jpg", "test/deep/er/file.PNG", "validation/1.gif", "train/cat", "test"],
    )
    def test_foreign_file(self, photos, parts, name):
        """An image of another split, or a file where a folder should be, is refused."""
        write_files(parts, [name])
        before = states(parts)
        text = f"{OTHERS}.*{re.escape(repr(str(parts / name)))}.*Nothing was written"

        with pytest.raises(FileExistsError, match=text):
            place(photos, parts)

        assert before == states(parts)
        assert not (parts / "split.csv").exists()

    @pytest.mark.parametrize("name", [".DS_Store", "train/cat/Thumbs.db", "test/dog/.hidden.jpg"])
    def test_what_systems_leave_is_no_obstacle(self, photos, parts, name):
        """Hidden files and what is no image are left alone."""
        write_files(parts, [name])

        place(photos, parts)

        assert {name, "split.csv"} < contents(parts).keys()

    @pytest.mark.parametrize("target", ["../../photos/cat", "nowhere"])
    def test_foreign_link(self, photos, parts, target):
        """A link in the place of a class folder is refused, and not written through."""
        (parts / "train").mkdir(parents=True)
        (parts / "train/cat").symlink_to(target)
        before = states(photos)

        with pytest.raises(FileExistsError, match=OTHERS):
            place(photos, parts)

        assert before == states(photos)
        assert ["train"] == [path.name for path in parts.iterdir()]

    def test_foreign_manifest(self, photos, parts):
        """A `split.csv` of someone else's is not overwritten."""
        write_files(parts, ["split.csv"])
        before = states(parts)

        with pytest.raises(FileExistsError, match=rf"{HOLDS}a split\.csv of another split"):
            place(photos, parts)

        assert before == states(parts)


class TestInterrupted:
    """An interrupted call leaves whole files only, and the next one goes on."""

    @pytest.mark.parametrize("step", range(len(PHOTOS)))
    @pytest.mark.parametrize(
        "error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")]
    )
    def test_copying(self, photos, parts, tmp_path, step, error):
        """Whichever copy breaks off, it leaves no trace, and a repeat ends like the first."""
        place(photos, tmp_path / "undisturbed")
        expected = contents(tmp_path / "undisturbed")

        with breaking(shutil, "copy2", step, error), pytest.raises(type(error)):
            place(photos, parts)

        assert contents(parts).items() <= expected.items()
        assert step == len(contents(parts))
        before = states(parts)
        place(photos, parts)
        assert expected == contents(parts)
        assert before.items() <= states(parts).items()

    @pytest.mark.parametrize("step", [0, 5, 10])
    @pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EIO, "Broken disk")])
    @pytest.mark.parametrize(
        ("how", "owner", "name"), [("hardlink", os, "link"), ("copy", os, "replace")]
    )
    def test_linking_and_moving(self, photos, parts, tmp_path, step, error, how, owner, name):
        """The same for hard links, and for copies that can't get their names."""
        place(photos, tmp_path / "undisturbed")

        with breaking(owner, name, step, error), pytest.raises(type(error)):
            place(photos, parts, how=how)

        assert step == len(contents(parts))
        place(photos, parts, how=how)
        assert contents(tmp_path / "undisturbed") == contents(parts)

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space")])
    def test_manifest(self, photos, parts, error):
        """A `split.csv` that can't be written whole isn't there."""
        with breaking(Path, "write_bytes", 0, error), pytest.raises(type(error)):
            place(photos, parts)

        assert len(PHOTOS) == len(states(parts))
        place(photos, parts)
        assert (parts / "split.csv").exists()

    def test_no_room(self, photos, parts):
        """The message names both files, the reason, and what to do."""
        old, new = photos / "cat/0.jpg", parts / "train/cat/0.jpg"
        text = (
            rf"Could not place {re.escape(repr(str(old)))} as .*/cat/{new.name}': "
            r"No space left on device\. Once the cause is removed, repeat the call to go on"
        )

        with (
            breaking(shutil, "copy2", 0, OSError(errno.ENOSPC, "No space left on device")),
            pytest.raises(OSError, match=text) as caught,
        ):
            place(photos, parts)

        assert errno.ENOSPC == caught.value.errno

    def test_other_file_system(self, photos, parts):
        """A hard link to another file system fails with the reason."""
        error = OSError(errno.EXDEV, os.strerror(errno.EXDEV))

        with (
            breaking(os, "link", 0, error),
            pytest.raises(OSError, match="Could not place .* as .*cross-device link") as caught,
        ):
            place(photos, parts, how="hardlink")

        assert errno.EXDEV == caught.value.errno

    def test_no_permission_for_files(self, photos, parts):
        """A file that can't get its name is a PermissionError that names it."""
        error = PermissionError(errno.EACCES, "Permission denied")

        with (
            breaking(os, "replace", 3, error),
            pytest.raises(PermissionError, match="Could not place .* as .*: Permission denied"),
        ):
            place(photos, parts)

    def test_no_permission_for_folders(self, photos, parts):
        """A folder that can't be made is a PermissionError, before any file is written."""
        error = PermissionError(errno.EACCES, "Permission denied", str(parts))

        with (
            breaking(os, "makedirs", 1, error),
            pytest.raises(PermissionError, match=f"Permission denied.*{re.escape(str(parts))}"),
        ):
            place(photos, parts)

        assert {} == states(parts)

    @pytest.mark.parametrize(
        ("how", "module", "name"), [("copy", shutil, "copy2"), ("hardlink", os, "link")]
    )
    def test_file_that_appears_meanwhile(self, photos, parts, monkeypatch, how, module, name):
        """A file that another program writes during the call is not overwritten."""
        work = getattr(module, name)
        appeared = Path(place(photos, parts)["file_paths"].iloc[0])
        shutil.rmtree(parts)

        def late(old, new):
            if Path(old).name == appeared.name:
                appeared.write_bytes(b"another's")
            return work(old, new)

        monkeypatch.setattr(module, name, late)

        with pytest.raises(
            FileExistsError, match=f"as {re.escape(repr(str(appeared)))}: File exists"
        ):
            place(photos, parts, how=how)

        assert {os.path.relpath(appeared, parts): b"another's"} == contents(parts)

    def test_missing_original(self, photos, parts):
        """A row whose file is gone is named; with the file back, a repeat goes on."""
        table = list_images(photos)
        content = (photos / "dog/e.png").read_bytes()
        (photos / "dog/e.png").unlink()

        with pytest.raises(FileNotFoundError, match=r"Received: 1 missing.*e\.png'.*Nothing was"):
            place(table, parts)

        assert not parts.exists()
        (photos / "dog/e.png").write_bytes(content)
        assert len(PHOTOS) == len(place(table, parts))


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A hundred files."""
    names = [f"{label}/{number:03}.jpg" for label in ("cat", "dog") for number in range(50)]
    return write_files(tmp_path_factory.mktemp("many"), names)


@pytest.fixture(scope="module")
def expected(many, tmp_path_factory):
    """What an undisturbed call makes of them."""
    parts = tmp_path_factory.mktemp("undisturbed")
    place(many, parts)
    return contents(parts)


KILLS = [
    ("copy", "shutil.copy2", 0, "half"),
    ("copy", "shutil.copy2", 57, "half"),
    ("copy", "shutil.copy2", 99, "after"),
    ("copy", "os.replace", 33, "after"),
    ("copy", "Path.write_bytes", 0, "half"),
    ("hardlink", "os.link", 0, "after"),
    ("hardlink", "os.link", 57, "before"),
]


@pytest.fixture(scope="module")
def killed(many, tmp_path_factory):
    """For each kill, the destination and how the process has ended."""
    folders = [str(tmp_path_factory.mktemp("killed")) for _ in KILLS]
    cases = json.dumps([(str(many), folder, *kill) for folder, kill in zip(folders, KILLS)])
    command = [sys.executable, "-P", "-c", SIGKILLED, cases]
    codes = subprocess.run(command, check=True, capture_output=True).stdout.split()
    return dict(zip(KILLS, zip(map(Path, folders), map(int, codes), strict=True), strict=True))


@contextmanager
def slow_runs(source, *runs, pause):
    """Place files with pauses, at once into all folders; yield the process and its children."""
    command = [sys.executable, "-P", "-c", SLOW, source, str(pause), *itertools.chain(*runs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        yield process, [int(child) for child in process.stdout.readline().split()]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system knows no SIGKILL")
class TestKilled:
    """A process that the system kills leaves nothing that the next call can't go on from."""

    @pytest.mark.parametrize("kill", KILLS, ids=lambda kill: "-".join(map(str, kill)))
    def test_kills_itself(self, many, expected, killed, kill):
        """Killed in the middle of a copy, before or after a move: the repeat ends the same."""
        parts, code = killed[kill]
        left = contents(parts)
        whole = {name for name in left if ".cnnkit-partial-" not in name}

        place(many, parts, how=kill[0])

        assert -signal.SIGKILL == code
        assert whole == {name for name, content in left.items() if expected.get(name) == content}
        assert len(whole) < len(expected)
        assert expected == contents(parts)

    def test_two_runs_at_once(self, many, parts, expected):
        """Two runs may get into each other's way, but leave no wrong or half-written file."""
        with slow_runs(many, (parts, "copy"), (parts, "copy"), pause=0.003) as (process, _):
            process.wait()

        left = contents(parts)
        place(many, parts)

        assert all(expected[name] == left[name] for name in left if "partial" not in name)
        assert expected == contents(parts)

    def test_is_killed(self, many, expected, tmp_path):
        """Killed from outside, at some moment, however it places files: the repeat ends the same."""
        ways = {tmp_path / how: how for how in ("copy", "hardlink")}
        before = {}
        with slow_runs(many, *ways.items(), pause=0.02) as (process, children):
            for parts, child in zip(ways, children, strict=True):
                deadline = time.monotonic() + 60
                while len(list(parts.glob("*/*/*.jpg"))) < 20 and time.monotonic() < deadline:
                    time.sleep(0.01)
                os.kill(child, signal.SIGKILL)
                before[parts] = len(list(parts.glob("*/*/*.jpg")))
            codes = [int(code) for code in process.stdout.readline().split()]

        for parts, how in ways.items():
            place(many, parts, how=how)

        assert [-signal.SIGKILL] * 2 == codes
        assert all(20 <= count < 100 for count in before.values())
        assert [expected] * 2 == [contents(parts) for parts in ways]


class TestArguments:
    """Wrong arguments are refused before anything is written."""

    @pytest.mark.parametrize(
        "inside", [".", "parts", "cat/parts", "../photos/parts", "../link/parts"]
    )
    def test_destination_in_source(self, photos, inside):
        """The part folders would be classes of the source."""
        (photos.parent / "link").symlink_to(photos)
        before = states(photos)

        with pytest.raises(ValueError, match=r"^`destination` must not lie in `source`.*beside it"):
            place(photos, photos / inside)

        assert before == states(photos)

    def test_missing_source(self, tmp_path, parts):
        """A source that does not exist is named."""
        with pytest.raises(FileNotFoundError, match=r"^`directory` must be an existing .*gone'"):
            place(tmp_path / "gone", parts)

        assert not parts.exists()

    def test_source_without_classes(self, tmp_path, parts):
        """Images side by side have no classes; the message says what to do."""
        root = write_files(tmp_path / "photos", ["1.jpg", "2.jpg"])

        with pytest.raises(
            ValueError, match=r"must hold a folder of images for each class.*labels="
        ):
            place(root, parts)

        assert not parts.exists()

    def test_unlabelled_table(self, photos, parts):
        """A table needs classes to make folders of."""
        with pytest.raises(ValueError, match="must be a DataFrame with the columns file_paths, t"):
            place(list_images(photos, labels=None), parts)

    @pytest.mark.parametrize(
        "name", ["../cat", "a/b", "a\\b", "..", ".", ".cat", "", "/cat", "a\0"]
    )
    def test_class_that_no_folder_can_be(self, photos, parts, name):
        """A class name that leads elsewhere is refused."""
        table = list_images(photos)
        table["target_names"] = table["target_names"].cat.rename_categories({"cat": name})
        text = (
            rf"^`target_names` must hold names that a folder can have.*{re.escape(repr(name))}\.$"
        )

        with pytest.raises(ValueError, match=text):
            place(table, parts)

        assert not parts.exists()

    def test_unknown_way(self, photos, parts):
        """A way that there isn't is answered with the nearest there is."""
        text = r"^`how` must be one of 'copy', 'hardlink' or 'symlink'\. .*mean 'hardlink'\?$"

        with pytest.raises(ValueError, match=text):
            place(photos, parts, how="hardlinks")

        assert not parts.exists()

    @pytest.mark.parametrize("seed", [None, np.random.default_rng(0), 1.0, "0"])
    def test_seed_of_another_kind(self, photos, parts, seed):
        """Without a number a repeat would be another split."""
        with pytest.raises(TypeError, match=r"^`random_state` must be a whole number\. Received:"):
            place(photos, parts, random_state=seed)

        assert not parts.exists()

    @pytest.mark.parametrize("seed", [True, -1])
    def test_seed_that_is_no_number_from_zero_on(self, photos, parts, seed):
        """Negative numbers and booleans are no seeds."""
        with pytest.raises(
            ValueError, match=r"^`random_state` must be a whole number of at least 0"
        ):
            place(photos, parts, random_state=seed)

        assert not parts.exists()

    def test_sizes_are_those_of_split_table(self, photos, parts):
        """What split_table refuses is refused before anything is written."""
        with pytest.raises(ValueError, match="must leave images to train on"):
            place(photos, parts, test_size=11)

        assert not parts.exists()


folder_names = st.sampled_from(
    ["cat", "dog", "고양이", "a b", "new\nline", "é", "e\u0301", "\udcff", "train", "x" * 255]
)
file_names = st.builds(
    "{}{}.{}".format,
    st.sampled_from(["", "a/", "b/", "a/b/"]),
    st.sampled_from(NAMES),
    st.sampled_from(["jpg", "JPG", "png"]),
)
trees = st.dictionaries(
    folder_names, st.lists(file_names, min_size=1, max_size=8, unique=True), min_size=1, max_size=3
)


@contextmanager
def folder_of(tree):
    with tempfile.TemporaryDirectory() as folder:
        names = [f"{label}/{name}" for label, files in tree.items() for name in files]
        yield write_files(Path(folder, "photos"), ["other/1.png", *names])


@pytest.mark.skipif(sys.platform != "linux", reason="only there names are any bytes")
class TestAnyTree:
    """What holds for any folder of images."""

    @settings(deadline=None, max_examples=30)  # a busy machine is no failure
    @given(trees, st.sampled_from(WAYS), st.floats(0, 0.45), st.integers(0, 9))
    @example({"cat": ["1.jpg", "a/1.jpg", "b/1.jpg", "1_2.jpg"]}, "copy", 0.2, 0)
    def test_every_file_is_placed_once(self, tree, how, test_size, seed):
        """The parts together hold every content once, under names that differ, and nothing else."""
        with folder_of(tree) as root:
            before = states(root)
            parts = root.parent / "parts"

            test_count = int(test_size * len(before))
            place(
                root,
                parts,
                how=how,
                validation_size=0,
                test_size=test_count,
                stratify=False,
                random_state=seed,
            )

            files = [path for path in parts.glob("*/*/*") if path.is_file()]
            assert Counter(content for content, *_ in before.values()) == Counter(
                path.read_bytes() for path in files
            )
            names = {
                unicodedata.normalize("NFC", f"{p.parent.name}/{p.name}").casefold() for p in files
            }
            assert len(files) == len(names)
            assert before == states(root)

    @settings(deadline=None, max_examples=15)  # a busy machine is no failure
    @given(trees, st.sampled_from(["copy", "hardlink"]), st.integers(0, 30))
    def test_repeats_end_the_same(self, tree, how, step):
        """A call that was broken off and repeated ends like one that was not."""
        owner, name = (shutil, "copy2") if how == "copy" else (os, "link")
        with folder_of(tree) as root:
            parts, undisturbed = root.parent / "parts", root.parent / "undisturbed"
            sizes = {"validation_size": 0, "test_size": len(states(root)) // 3}
            options = {"how": how, "stratify": False, **sizes}
            place(root, undisturbed, **options)

            with breaking(owner, name, step, KeyboardInterrupt()), suppress(KeyboardInterrupt):
                place(root, parts, **options)
            place(root, parts, **options)

            assert contents(undisturbed) == contents(parts)
