"""split_folder, repeated: the call keeps what is there, completes it, or refuses."""

from placing import WAYS, place


import itertools
import os
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest


HOLDS = r"`destination` must hold no images of another split\. Received: .* with "
OTHERS, CHANGED = rf"{HOLDS}1 other", rf"{HOLDS}1 file\(s\) that differ"


class TestRepeated:
    """A second call finds its work done, or refuses before anything is written."""

    @pytest.mark.parametrize("how", WAYS)
    def test_nothing_changes(self, photos, parts, how, states):
        """Inodes and times are those of the first call, and so is the table."""
        first = place(photos, parts, how=how)
        before = states(parts)

        second = place(photos, parts, how=how)

        assert before == states(parts)
        pd.testing.assert_frame_equal(first, second)

    @pytest.mark.parametrize("removed", [["split.csv"], ["train/cat"], ["train", "test/dog"]])
    def test_what_is_missing_is_placed(self, photos, parts, removed, states):
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
    def test_other_settings(self, photos, parts, options, states):
        """Another split over the first is refused, and the first stays."""
        place(photos, parts)
        before = states(parts)

        with pytest.raises(FileExistsError, match="must hold no images of another split"):
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
    def test_another_way(self, photos, parts, first, second, states):
        """Links do not count as copies nor copies as links, because copies may be edited."""
        place(photos, parts, how=first)
        before = states(parts)

        with pytest.raises(FileExistsError, match="with 11 file.*were not placed with how="):
            place(photos, parts, how=second)

        assert before == states(parts)

    @pytest.mark.parametrize("how", WAYS)
    @pytest.mark.parametrize("folder", ["train/cat", "."])
    def test_leftovers_of_a_killed_run(self, photos, parts, tmp_path, how, folder, contents):
        """The next run removes the partial file of a killed run, even if it is write-protected."""
        place(photos, tmp_path / "undisturbed", how=how)
        leftover = parts / folder / ".cnnkit-partial-1"
        leftover.parent.mkdir(parents=True, exist_ok=True)
        leftover.write_bytes(b"half a pict")
        leftover.chmod(0o444)

        place(photos, parts, how=how)

        assert contents(tmp_path / "undisturbed").keys() == contents(parts).keys()

    def test_added_files(self, photos, parts, write_files, states):
        """A source that has grown gives another split."""
        place(photos, parts)
        before = states(parts)
        write_files(photos, ["cat/new.jpg"])

        with pytest.raises(FileExistsError, match="must hold no images of another split"):
            place(photos, parts)

        assert before == states(parts)

    def test_changed_file(self, photos, parts, states):
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
    def test_foreign_file(self, photos, parts, name, write_files, states):
        """An image of another split, or a file where a folder should be, is refused."""
        write_files(parts, [name])
        before = states(parts)
        text = f"{OTHERS}.*{re.escape(repr(str(parts / name)))}.*Nothing was written"

        with pytest.raises(FileExistsError, match=text):
            place(photos, parts)

        assert before == states(parts)
        assert not (parts / "split.csv").exists()

    @pytest.mark.parametrize("name", [".DS_Store", "train/cat/Thumbs.db", "test/dog/.hidden.jpg"])
    def test_what_systems_leave_is_no_obstacle(self, photos, parts, name, write_files, contents):
        """Hidden files and what is no image are left alone."""
        write_files(parts, [name])

        place(photos, parts)

        assert {name, "split.csv"} < contents(parts).keys()

    @pytest.mark.parametrize("target", ["../../photos/cat", "nowhere"])
    def test_foreign_link(self, photos, parts, target, states):
        """A link in the place of a class folder is refused, and not written through."""
        (parts / "train").mkdir(parents=True)
        (parts / "train/cat").symlink_to(target)
        before = states(photos)

        with pytest.raises(FileExistsError, match=OTHERS):
            place(photos, parts)

        assert before == states(photos)
        assert ["train"] == [path.name for path in parts.iterdir()]

    def test_foreign_manifest(self, photos, parts, write_files, states):
        """An existing `split.csv` with other content is not overwritten."""
        write_files(parts, ["split.csv"])
        before = states(parts)

        with pytest.raises(FileExistsError, match=rf"{HOLDS}a split\.csv of another split"):
            place(photos, parts)

        assert before == states(parts)
