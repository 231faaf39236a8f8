"""write_records: nothing is lost or overwritten, and an interrupted call can be repeated."""

from records import SIZE, read, arrays, shards_of


import json
import os
from pathlib import Path

import pandas as pd
import pytest

from cnnkit.data import list_images, record_dataset, write_records
from cnnkit.data._records import writing
from cnnkit.exceptions import ImageReadError


def state(folder):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


class TestWriting:
    """Nothing is lost or overwritten."""

    def test_returns_the_shards(self, write, table, tmp_path_factory):
        """The table of shards says where they are, and what is in them."""
        folder = tmp_path_factory.mktemp("here")
        written = write_records(table, folder, SIZE, shards=2, progress=False)

        assert list(written.columns) == ["file_paths", "images", "sha256"]
        assert [Path(path) for path in written["file_paths"]] == shards_of(folder)
        assert written["images"].tolist() == [7, 6]

    def test_again_writes_nothing(self, write):
        """A repeated call finds all there."""
        folder = write(shards=3)
        before = state(folder)

        assert state(write(folder, shards=3)) == before

    @pytest.mark.parametrize("failing", range(0, 13, 3))
    def test_goes_on_after_an_interruption(self, write, monkeypatch, tmp_path, failing):
        """After an interruption, complete shards are kept and the others are written."""
        whole = write(shards=4)
        folder, made = tmp_path / "records", writing._example

        def interrupted(source, place):
            if place == failing:
                raise KeyboardInterrupt
            return made(source, place)

        with monkeypatch.context() as patch:
            patch.setattr(writing, "_example", interrupted)
            with pytest.raises(KeyboardInterrupt):
                write(folder, shards=4)
        left = state(folder)
        assert not [name for name in left if "partial" in name or "part" in Path(name).suffix]
        assert len(shards_of(folder)) == failing % 4
        with pytest.raises(ValueError, match="has not been written yet"):
            read(folder)

        write(folder, shards=4)
        for path in shards_of(whole):
            assert (folder / path.name).read_bytes() == path.read_bytes()
        for name in left:
            assert name == "records.json" or state(folder)[name] == left[name]

    @pytest.mark.parametrize(
        "options",
        [
            {"image_size": (5, 5)},
            {"shards": 3},
            {"color_mode": "grayscale"},
            {"crop_to_aspect_ratio": True},
            {"pad_to_aspect_ratio": True},
        ],
    )
    def test_other_records_stay(self, write, options):
        """Existing records of other images are never overwritten."""
        folder = write(shards=2)
        before = state(folder)

        with pytest.raises(FileExistsError, match="records of other images"):
            write(folder, **{"shards": 2} | options)
        assert state(folder) == before

    def test_changed_files(self, write, table):
        """Records of files that have changed since are not continued."""
        folder = write()
        os.utime(table["file_paths"][0], (1, 1))

        with pytest.raises(FileExistsError, match="that have changed.* or delete this one"):
            write(folder)

    @pytest.mark.parametrize("swapped", [{"c": "d"}, {"a": "b", "b": "a"}])
    def test_other_targets(self, write, table, swapped):
        """Records with other classes of the same files are not continued."""
        folder = write()
        names = table["target_names"].cat.rename_categories(swapped)
        names = names.cat.reorder_categories(sorted(names.cat.categories))

        with pytest.raises(FileExistsError, match="records of other images"):
            write(folder, rows=table.assign(target_names=names, targets=names.cat.codes))

    def test_goes_on_behind_a_shard_that_was_not_noted(self, write):
        """A run that was killed between a shard and its line in the manifest."""
        folder = write(shards=3)
        expected, path = state(folder), folder / "records.json"
        manifest = json.loads(path.read_text())
        manifest["sha256"][1] = None
        path.write_text(json.dumps(manifest))
        (folder / ".cnnkit-partial-0123").write_bytes(b"half a shard")

        write(folder, shards=3)
        assert {name: kept for name, (kept, _) in state(folder).items()} == {
            name: kept for name, (kept, _) in expected.items()
        }

    @pytest.mark.parametrize("lost", [[0], [1, 2]])
    def test_writes_lost_shards_again(self, write, lost):
        """Missing shards are written again, and the others are kept."""
        folder = write(shards=3)
        expected = state(folder)
        paths = shards_of(folder)
        for number in lost:
            paths[number].unlink()

        write(folder, shards=3)
        changed = [name for name, told in state(folder).items() if told != expected[name]]
        contents = {name: kept for name, (kept, _) in expected.items()}
        assert contents == {name: kept for name, (kept, _) in state(folder).items()}
        assert len(lost) + 1 == len(changed)  # and records.json

    def test_shards_of_somebody(self, write, tmp_path):
        """Shards without a manifest are not overwritten."""
        path = tmp_path / "images-00000-of-00001.tfrecord"
        path.write_bytes(b"precious")

        with pytest.raises(FileExistsError, match="shards without records.json"):
            write(tmp_path)
        assert path.read_bytes() == b"precious"

    def test_other_files_stay(self, write, tmp_path):
        """A folder may hold more than records."""
        (tmp_path / "notes.txt").write_text("precious")
        write(tmp_path)

        assert (tmp_path / "notes.txt").read_text() == "precious"

    def test_unreadable_image(self, write, table, tmp_path):
        """The file and its place are named, and no half shard stays."""
        Path(table["file_paths"][5]).write_bytes(b"no image")

        with pytest.raises(ImageReadError, match=r"b.000.png.*file 6 of 13"):
            write(tmp_path / "records")
        assert [path.name for path in (tmp_path / "records").iterdir()] == ["records.json"]

    def test_name_that_is_not_utf8(self, write, table, tmp_path):
        """File names may be any bytes on Linux."""
        path = os.fsdecode(os.fsencode(tmp_path) + b"/\xe4.png")
        os.link(table["file_paths"][0], path)
        bare = pd.DataFrame({"file_paths": [path]})

        assert len(arrays(read(write(rows=bare), label_mode=None))) == 1

    def test_class_that_is_not_utf8(self, make_folder, write):
        """A class folder may have a name that is not UTF-8, too."""
        (make_folder({"odd/a": 2, "odd/b": 2}) / "odd" / "b").rename(
            make_folder({}) / "odd" / os.fsdecode(b"\xff")
        )
        folder = write(rows=list_images(make_folder({}) / "odd"))

        assert ["a", os.fsdecode(b"\xff")] == read(folder).class_names

    def test_more_shards_than_images(self, write):
        """There can't be more shards than images."""
        with pytest.raises(ValueError, match="shards=14, with 13 images"):
            write(shards=14)

    @pytest.mark.parametrize(
        "wrong", [{"image_size": 8}, {"rows": None}, {"shards": 0}, {"workers": 0}]
    )
    def test_wrong_arguments(self, write, wrong):
        """The message names the wrong argument."""
        with pytest.raises(ValueError, match=next(iter(wrong)).replace("rows", "table")):
            write(**wrong)

    def test_shards_by_default(self, write, monkeypatch):
        """By default, there are as many shards as keep each below a fixed size."""
        monkeypatch.setattr(writing, "_SHARD", 6 * 5 * 3 * 4)

        assert len(shards_of(write())) == 4

    def test_progress(self, table, tmp_path, capfd):
        """The bar can be turned off."""
        write_records(table, tmp_path / "quiet", SIZE, progress=False)
        record_dataset(tmp_path / "quiet", progress=False)
        assert capfd.readouterr().err == ""
        write_records(table, tmp_path / "told", SIZE)
        record_dataset(tmp_path / "told")
        told = capfd.readouterr().err
        assert "writing records: 100%" in told
        assert "verifying shards: 100%" in told
