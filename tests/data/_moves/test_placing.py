"""split_folder: every file is placed in one part, and the originals do not change."""

from placing import PHOTOS, WAYS, place


import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cnnkit.data import list_images, list_splits, split_folder, split_table


class TestTree:
    """The parts are folders of class folders."""

    @pytest.mark.parametrize("how", WAYS)
    def test_every_file_has_its_place(self, photos, parts, how, states):
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

    def test_ways_give_the_same_tree(self, photos, tmp_path, states):
        """Names and contents do not depend on how files are placed."""
        trees = []
        for how in WAYS:
            place(photos, tmp_path / how, how=how)
            names = sorted(states(tmp_path / how))
            trees.append([(name, (tmp_path / how / name).read_bytes()) for name in names])

        assert len(PHOTOS) + 1 == len(trees[0])
        assert trees[0] == trees[1] == trees[2]

    @pytest.mark.parametrize("how", WAYS)
    def test_originals_stay(self, photos, parts, how, states):
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

    def test_other_content_beside_the_parts(self, photos, parts, write_files, states):
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

    def test_source_in_destination(self, tmp_path, write_files, states):
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


class TestTable:
    """The result is the table of the placed files."""

    def test_columns(self, photos, parts):
        """The table has the new paths, the part and the old paths, in the original order."""
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

    def test_table_as_source(self, tmp_path, parts, write_files):
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

    def test_groups_stay_together(self, tmp_path, parts, write_files):
        """A column of the table keeps rows in one part."""
        names = [f"{label}/{number}.jpg" for label in ("cat", "dog") for number in range(20)]
        source = list_images(write_files(tmp_path / "photos", names))
        source["video"] = [Path(path).stem[-1] for path in source["file_paths"]]

        table = place(source, parts, groups="video")

        assert (table.groupby("video")["split"].nunique() == 1).all()

    def test_duplicates_stay_together(self, tmp_path, parts, write_files):
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

    def test_manifest_of_odd_names(self, tmp_path, parts, write_files):
        """Names with commas, quotes and line ends are read back as they are."""
        names = ["a, b.jpg", 'quote".jpg', "new\nline.jpg", "고양이.jpg", " a .jpg"]
        root = write_files(tmp_path / "photos", [f"cat/{name}" for name in names])

        table = place(root, parts)

        read = pd.read_csv(parts / "split.csv")
        assert table["source_paths"].tolist() == read["source_paths"].tolist()

    @pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
    def test_manifest_of_names_that_break_lines(self, tmp_path, parts, write_files):
        """Line breaks in names and classes that look like numbers or gaps are read back."""
        write_files(tmp_path / "photos", [f"{a}/{b}.jpg" for a in ("NA", "01") for b in "a\rb\nc"])

        placed = place(tmp_path / "photos", parts)

        table = pd.read_csv(parts / "split.csv", dtype=str, keep_default_na=False)
        assert list(placed["source_paths"]) == list(table["source_paths"])
        assert list(placed["target_names"]) == list(table["target_names"])

    @pytest.mark.parametrize("progress", [True, False])
    def test_progress_is_shown_on_request(self, photos, parts, capsys, progress):
        """The progress bar is written to standard error, or not at all."""
        split_folder(photos, parts, progress=progress)

        shown = capsys.readouterr()
        assert progress == ("11/11" in shown.err)
        assert progress == bool(shown.err)
        assert shown.out == ""


class TestArguments:
    """Wrong arguments are refused before anything is written."""

    @pytest.mark.parametrize(
        "inside", [".", "parts", "cat/parts", "../photos/parts", "../link/parts"]
    )
    def test_destination_in_source(self, photos, inside, states):
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

    def test_source_without_classes(self, tmp_path, parts, write_files):
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
        """A class name that leads out of the folder is refused."""
        table = list_images(photos)
        table["target_names"] = table["target_names"].cat.rename_categories({"cat": name})
        text = (
            rf"^`target_names` must hold names that a folder can have.*{re.escape(repr(name))}\.$"
        )

        with pytest.raises(ValueError, match=text):
            place(table, parts)

        assert not parts.exists()

    def test_unknown_way(self, photos, parts):
        """For an unknown way, the message suggests the nearest one."""
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
        """Sizes that split_table refuses are refused before anything is written."""
        with pytest.raises(ValueError, match="must leave images to train on"):
            place(photos, parts, test_size=11)

        assert not parts.exists()
