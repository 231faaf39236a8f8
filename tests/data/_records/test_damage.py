"""record_dataset: damaged, missing and foreign files are refused and named."""

from records import read, arrays, shards_of, damage


import errno
import hashlib
import json
import os

import pytest
import tensorflow as tf


class TestDamage:
    """Damaged files are named."""

    def test_changed_byte_is_named(self, write):
        """A damaged shard is told by its path before anything is read from it."""
        folder = write(shards=3)
        damage(shards_of(folder)[1])

        with pytest.raises(ValueError, match="images-00001-of-00003.tfrecord'.*is damaged"):
            read(folder)

    def test_unverified_still_stops(self, write):
        """TensorFlow's own checksums stay."""
        folder = write(shards=1)
        damage(shards_of(folder)[0])

        with pytest.raises(tf.errors.DataLossError):
            arrays(read(folder, verify=False))

    def test_cut_short(self, write):
        """A shard truncated between two records is damaged, though TensorFlow does not notice."""
        folder = write(shards=1)
        (path,) = shards_of(folder)
        content = path.read_bytes()
        size = len(content) // 13
        path.write_bytes(content[: 12 * size])

        with pytest.raises(ValueError, match="is damaged"):
            read(folder)

    def test_missing_shard(self, write):
        """A missing shard is an error, with and without verification."""
        folder = write(shards=2)
        shards_of(folder)[0].unlink()

        with pytest.raises(ValueError, match="00000-of-00002.tfrecord'.*is missing"):
            read(folder, verify=False)

    def test_unreadable_shard(self, write, monkeypatch):
        """A shard that the disk can't read is not called damaged."""
        folder = write(shards=2)

        def broken(*_):
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(hashlib, "file_digest", broken)
        with pytest.raises(ValueError, match="00000-of-00002.tfrecord', which can't be read"):
            read(folder)

    def test_more_shards_than_files_may_be_open(self, write, monkeypatch):
        """In the order of the table, all shards are open at the same time."""
        resource = pytest.importorskip("resource", reason="this system has no limits to set")
        folder = write(shards=13)
        monkeypatch.setattr(
            resource, "getrlimit", lambda _: (76, 76)
        )  # a real one would bind pytest, too
        with pytest.raises(ValueError, match="13 shards, while the system .* 76 open files"):
            read(folder)

        read(folder, shuffle=True)
        read(folder, shard=(0, 13))
        monkeypatch.setattr(resource, "getrlimit", lambda _: (77, 77))
        read(folder)

    def test_no_records(self, tmp_path):
        """A folder without records is refused."""
        with pytest.raises(FileNotFoundError, match="must hold records.json"):
            read(tmp_path)

    @pytest.mark.parametrize(
        "change",
        [
            {"format": "something else"},
            {"shape": [0, 5, 3]},
            {"shape": [5, 5, 2]},
            {"shape": [5]},
            {"shape": [5, 5]},
            {"class_names": [1, 2]},
            {"images": [-1]},
            {"images": ["13"]},
            {"images": []},
            {"images": [], "sha256": []},
            {"sha256": ["one", "two"]},
            {"sha256": 5},
            {"further": 1},
        ],
    )
    def test_wrong_manifest(self, write, change):
        """A manifest that was changed is refused with its path."""
        path = write() / "records.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))

        with pytest.raises(ValueError, match=r"records\.json must be as `write_records` made it"):
            read(path.parent)

    @pytest.mark.parametrize(
        "content", [b"", b"[]", b"{}", b"\xff", b'{"format": "cnnkit', b"[" * 100_000]
    )
    def test_no_manifest(self, write, content):
        """A file that is not a manifest is refused."""
        path = write() / "records.json"
        path.write_bytes(content)

        with pytest.raises(ValueError, match=r"records\.json must be"):
            read(path.parent)
        with pytest.raises(ValueError, match=r"records\.json must be"):
            write(path.parent)

    def test_no_path_comes_from_a_manifest(self, write, tmp_path):
        """A manifest can't make a reader open other files."""
        path = write() / "records.json"

        assert not {"file_paths", "paths", "files"} & set(json.loads(path.read_text()))
        assert os.sep not in path.read_text()
