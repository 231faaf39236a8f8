"""Records: the same pixels and targets as `image_dataset` gives, and files that can be trusted."""

import errno
import hashlib
import json
import os
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnnkit.data import image_dataset, list_images, record_dataset, write_records
from cnnkit.data._records import reading, writing
from cnnkit.exceptions import ImageReadError
from cnnkit.models import simple_cnn
from cnnkit.transfer import build_classifier, fine_tune

SIZE = (6, 5)


@pytest.fixture
def table(make_folder):
    """Thirteen images of three classes."""
    return list_images(make_folder({"photos/a": 5, "photos/b": 6, "photos/c": 2}) / "photos")


@pytest.fixture
def write(table, tmp_path_factory):
    """Return a function that writes the table into a new folder, or one that is given."""

    def to(folder=None, rows=table, image_size=SIZE, **options):
        folder = folder or tmp_path_factory.mktemp("records")
        write_records(rows, folder, image_size, progress=False, **options)
        return folder

    return to


def read(folder, **options):
    return record_dataset(folder, progress=False, **options)


def arrays(dataset):
    """Return the batches as lists of arrays."""
    return [[part.numpy() for part in tf.nest.flatten(batch)] for batch in dataset]


def assert_same(expected, actual):
    assert expected.element_spec == actual.element_spec
    assert len(expected) == len(actual)
    for one, other in zip(arrays(expected), arrays(actual), strict=True):
        for mine, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, theirs)


class TestTheSameAsImageDataset:
    """Pixels, targets and order are those of the other road."""

    @pytest.mark.parametrize("shards", [1, 2, 3, 13])
    def test_pixels_targets_and_order(self, table, write, shards):
        """One record of each shard in turn is the order of the table."""
        folder = write(shards=shards)

        assert_same(image_dataset(table, SIZE, batch_size=4), read(folder, batch_size=4))
        assert len(list(folder.glob("*.tfrecord"))) == shards

    @pytest.mark.parametrize("label_mode", ["categorical", "int", None])
    def test_label_modes(self, table, write, label_mode):
        """Targets have the type and the shape that losses know."""
        expected = image_dataset(table, SIZE, label_mode=label_mode)

        assert_same(expected, read(write(), label_mode=label_mode))

    def test_binary(self, make_folder, write):
        """Two classes make a column."""
        table = list_images(make_folder({"answers/no": 2, "answers/yes": 2}) / "answers")
        expected = image_dataset(table, SIZE, label_mode="binary")

        assert_same(expected, read(write(rows=table), label_mode="binary"))

    @pytest.mark.parametrize(
        "options", [{"color_mode": "grayscale"}, {"crop_to_aspect_ratio": True}]
    )
    def test_reading_options(self, table, write, options):
        """The options of reading do the same in both."""
        assert_same(image_dataset(table, SIZE, **options), read(write(**options)))

    def test_without_classes(self, table, write):
        """An unlabelled table makes records of images only."""
        bare = table[["file_paths"]]
        folder = write(rows=bare)

        assert_same(image_dataset(bare, SIZE, label_mode=None), read(folder, label_mode=None))
        assert read(folder, label_mode=None).class_names is None
        with pytest.raises(ValueError, match="must be None for records without classes"):
            read(folder)

    def test_without_numbers(self, table, write):
        """A column of names alone is no target."""
        folder = write(rows=table.drop(columns="targets"))

        with pytest.raises(ValueError, match="must be None for records without classes"):
            read(folder)

    def test_class_names_of_a_part(self, table, write):
        """A part of a table still knows its classes."""
        folder = write(rows=table[table["target_names"] == "b"])

        assert read(folder).class_names == ["a", "b", "c"]
        assert read(folder).element_spec[1].shape.as_list() == [None, 3]

    def test_fields(self, table, write):
        """A record can be read without cnnkit."""
        (path,) = write(shards=1).glob("*.tfrecord")
        records = [
            tf.train.Example.FromString(one.numpy()) for one in tf.data.TFRecordDataset(path)
        ]
        words = [record.features.feature for record in records]

        assert [one["path"].bytes_list.value[0].decode() for one in words] == list(
            table["file_paths"]
        )
        assert [one["target_name"].bytes_list.value[0].decode() for one in words] == list(
            table["target_names"]
        )
        assert [one["target"].int64_list.value[0] for one in words] == list(table["targets"])

    def test_order_of_the_fields(self, write):
        """It is always the same, so that the same table gives the same bytes."""
        (path,) = write(shards=1).glob("*.tfrecord")
        content = path.read_bytes()
        names = [b"\n\x05image", b"\n\x04path", b"\n\x0btarget_name", b"\n\x06target\x12"]

        places = [content.index(name) for name in names]
        assert sorted(places) == places

    def test_drop_remainder(self, write):
        """Thirteen images are three batches of four."""
        dataset = read(write(), batch_size=4, drop_remainder=True)

        assert [len(images) for images, _ in arrays(dataset)] == [4, 4, 4]
        assert len(dataset) == 3


class TestSharing:
    """Several processes share the records."""

    @settings(
        max_examples=15,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(count=st.integers(1, 4), factor=st.integers(1, 3), batch_size=st.integers(1, 5))
    def test_every_nth_row(self, table, write, count, factor, batch_size):
        """A process gets every n-th row, and all the same number of batches."""
        folder = write(shards=count * factor)
        for number in range(count):
            rows = table.iloc[number::count][: len(table) // count]
            part = read(folder, shard=(number, count), batch_size=batch_size)
            assert_same(image_dataset(rows, SIZE, batch_size=batch_size), part)

    def test_shards_must_divide(self, write):
        """Three processes can't share eight shards."""
        with pytest.raises(ValueError, match="8 shards.*Write them with shards=9"):
            read(write(shards=8), shard=(0, 3))

    @pytest.mark.parametrize(
        ("shard", "error"),
        [
            ((2, 2), ValueError),
            ((0, 0), ValueError),
            ((-1, 2), ValueError),
            ((0, 1, 2), ValueError),
            ((0,), ValueError),
            (0, TypeError),
            ((0.0, 1), TypeError),
        ],
    )
    def test_wrong_numbers(self, write, shard, error):
        """Numbers run from 0 to the count."""
        with pytest.raises(error, match="`shard` must be"):
            read(write(shards=2), shard=shard)

    def test_not_with_a_service(self, write):
        """A service shares out the shards itself."""
        with pytest.raises(ValueError, match="left out with `service`"):
            read(write(shards=2), shard=(0, 2), service="grpc://127.0.0.1:1")

    def test_only_its_own_shards_are_verified(self, write):
        """A process doesn't read what others read."""
        folder = write(shards=2)
        damage(shards_of(folder)[1])

        assert len(arrays(read(folder, shard=(0, 2)))) == 1
        with pytest.raises(ValueError, match="00001-of-00002"):
            read(folder, shard=(1, 2))


class TestShuffling:
    """Another order in each epoch, from all shards."""

    @pytest.fixture
    def folder(self, make_folder, write):
        """Sixty images in six shards."""
        table = list_images(make_folder({"many/a": 30, "many/b": 30}) / "many")
        return write(rows=table.sample(frac=1, random_state=0), shards=6)

    def order(self, dataset):
        return [image.tobytes() for images, _ in arrays(dataset) for image in images]

    def test_every_image_once_an_epoch(self, folder):
        """Another order in each epoch, of the same images with their targets."""
        dataset = read(folder, shuffle=True, seed=0, batch_size=8)
        first, second = self.order(dataset), self.order(dataset)

        assert sorted(first) == sorted(second) == sorted(self.order(read(folder)))
        assert first != second

    def test_targets_go_along(self, folder):
        """An image keeps its class."""
        class_of = {
            image.tobytes(): number
            for images, numbers in arrays(read(folder, label_mode="int"))
            for image, number in zip(images, numbers, strict=True)
        }
        for images, numbers in arrays(read(folder, label_mode="int", shuffle=True)):
            assert [class_of[image.tobytes()] for image in images] == numbers.tolist()

    def test_seed(self, folder):
        """A seed gives the same epochs again; without, runs differ."""
        orders = [self.order(read(folder, shuffle=True, seed=seed)) for seed in (1, 1, 2)]

        assert orders[0] == orders[1] != orders[2]
        assert self.order(read(folder, shuffle=True)) != self.order(read(folder, shuffle=True))

    def test_across_shards(self, folder, monkeypatch):
        """Even where nothing more fits into memory, a batch has images of several shards."""
        monkeypatch.setattr(reading, "_SHUFFLED", 1)
        place = {one: number for number, one in enumerate(self.order(read(folder)))}
        dataset = read(folder, shuffle=True, seed=0)
        first, second = ([place[one] % 6 for one in self.order(dataset)[:6]] for _ in range(2))

        assert set(first) == set(second) == set(range(6))
        assert first != second

    def test_order_of_the_classes(self, table, write, monkeypatch):
        """What is shuffled nearby only would stay sorted: it warns, where that is so."""
        in_order = write()
        mixed = write(rows=table.sample(frac=1, random_state=0))
        read(in_order, shuffle=True)  # all fits into memory
        monkeypatch.setattr(reading, "_SHUFFLED", 300)

        with pytest.warns(UserWarning, match="order of their classes"):
            read(in_order, shuffle=True)
        read(mixed, shuffle=True)
        read(in_order)
        read(write(rows=table[table["targets"] == 0]), shuffle=True)


def shards_of(folder):
    return sorted(Path(folder).glob("*.tfrecord"))


def damage(path):
    """Change one byte in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


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
        """Whole shards stay, the rest is written: as if nothing had been."""
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
        with pytest.raises(ValueError, match="not written yet"):
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
        """What is there of another kind is never overwritten."""
        folder = write(shards=2)
        before = state(folder)

        with pytest.raises(FileExistsError, match="records of other images"):
            write(folder, **{"shards": 2} | options)
        assert state(folder) == before

    def test_changed_files(self, write, table):
        """Files that have changed make other records."""
        folder = write()
        os.utime(table["file_paths"][0], (1, 1))

        with pytest.raises(FileExistsError, match="that have changed.* or delete this one"):
            write(folder)

    @pytest.mark.parametrize("swapped", [{"c": "d"}, {"a": "b", "b": "a"}])
    def test_other_targets(self, write, table, swapped):
        """So do other classes of the same files."""
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
        """As `record_dataset` says, where one is missing or damaged; the others stay."""
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
        """Shards without a manifest are somebody's."""
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
        """Linux lets a name be any bytes."""
        path = os.fsdecode(os.fsencode(tmp_path) + b"/\xe4.png")
        os.link(table["file_paths"][0], path)
        bare = pd.DataFrame({"file_paths": [path]})

        assert len(arrays(read(write(rows=bare), label_mode=None))) == 1

    def test_class_that_is_not_utf8(self, make_folder, write):
        """A class folder may have such a name, too."""
        (make_folder({"odd/a": 2, "odd/b": 2}) / "odd" / "b").rename(
            make_folder({}) / "odd" / os.fsdecode(b"\xff")
        )
        folder = write(rows=list_images(make_folder({}) / "odd"))

        assert ["a", os.fsdecode(b"\xff")] == read(folder).class_names

    def test_more_shards_than_images(self, write):
        """An empty shard serves nobody."""
        with pytest.raises(ValueError, match="shards=14, with 13 images"):
            write(shards=14)

    @pytest.mark.parametrize(
        "wrong", [{"image_size": 8}, {"rows": None}, {"shards": 0}, {"workers": 0}]
    )
    def test_wrong_arguments(self, write, wrong):
        """Each is named."""
        with pytest.raises(ValueError, match=next(iter(wrong)).replace("rows", "table")):
            write(**wrong)

    def test_shards_by_default(self, write, monkeypatch):
        """As many as keep each below a size."""
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


class TestDamage:
    """What is damaged is named."""

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
        """So is a shard that was cut between two records, which TensorFlow takes for whole."""
        folder = write(shards=1)
        (path,) = shards_of(folder)
        content = path.read_bytes()
        size = len(content) // 13
        path.write_bytes(content[: 12 * size])

        with pytest.raises(ValueError, match="is damaged"):
            read(folder)

    def test_missing_shard(self, write):
        """A missing one is missing, verified or not."""
        folder = write(shards=2)
        shards_of(folder)[0].unlink()

        with pytest.raises(ValueError, match="00000-of-00002.tfrecord'.*is missing"):
            read(folder, verify=False)

    def test_unreadable_shard(self, write, monkeypatch):
        """What the disk doesn't give is not called damaged: it may be good."""
        folder = write(shards=2)

        def broken(*_):
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(hashlib, "file_digest", broken)
        with pytest.raises(ValueError, match="00000-of-00002.tfrecord', which can't be read"):
            read(folder)

    def test_more_shards_than_files_may_be_open(self, write, monkeypatch):
        """All are open at a time where the order is that of the table."""
        resource = pytest.importorskip("resource", reason="this system has no limits to set")
        folder = write(shards=13)
        monkeypatch.setattr(
            resource, "getrlimit", lambda _: (76, 76)
        )  # a real one would bind pytest, too
        with pytest.raises(ValueError, match="13 shards, where the system .* 76 open files"):
            read(folder)

        read(folder, shuffle=True)
        read(folder, shard=(0, 13))
        monkeypatch.setattr(resource, "getrlimit", lambda _: (77, 77))
        read(folder)

    def test_no_records(self, tmp_path):
        """Another folder is none."""
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
        """So is what isn't one."""
        path = write() / "records.json"
        path.write_bytes(content)

        with pytest.raises(ValueError, match=r"records\.json must be"):
            read(path.parent)
        with pytest.raises(ValueError, match=r"records\.json must be"):
            write(path.parent)

    def test_no_path_comes_from_a_manifest(self, write, tmp_path):
        """Whoever writes a manifest can't make a reader open other files."""
        path = write() / "records.json"

        assert not {"file_paths", "paths", "files"} & set(json.loads(path.read_text()))
        assert os.sep not in path.read_text()


class TestTraining:
    """Models learn from records."""

    def test_fit_is_the_same(self, table, write):
        """Training from records equals training from files."""
        weights = []
        for data in (image_dataset(table, (8, 8)), read(write(image_size=(8, 8)))):
            keras.utils.set_random_seed(0)
            model = simple_cnn((8, 8, 3), 3, filters=(4,), mode="unit")
            model.compile("adam", "categorical_crossentropy")
            model.fit(data, epochs=2, shuffle=False, verbose=0)
            weights.append(model.get_weights())

        for one, other in zip(*weights, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_fine_tune(self, write):
        """Records train a classifier in two stages; features are cached where told."""
        inputs = keras.Input((8, 8, 3))
        first = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
        backbone = keras.Model(inputs, keras.layers.Conv2D(4, 3, activation="relu")(first))
        data = read(write(image_size=(8, 8)))
        model = build_classifier(backbone, data.class_names, mode="unit")
        history = fine_tune(model, data, data, head_epochs=2, epochs=1, cache=True, verbose=0)

        assert len(history.history["loss"]) == 3
