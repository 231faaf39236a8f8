"""Failing files and disks: the error names the file, and nothing is lost."""

import hashlib
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from cnnkit.data import (
    check_images,
    flow_from_tables,
    image_dataset,
    k_fold_tables,
    list_images,
    load_images,
    predict_images,
    record_dataset,
    rename_classes,
    renumber_files,
    split_folder,
    split_table,
    write_records,
)
from cnnkit.exceptions import ImageReadError
from cnnkit.models import simple_cnn
from cnnkit.transfer import cache_features, freeze

SIZE = (8, 8)
QUIET = {"progress": False}


@pytest.fixture
def photos(make_folder):
    """Twelve photos of two classes."""
    return make_folder({"photos/a": 6, "photos/b": 6}) / "photos"


def model():
    return simple_cnn((*SIZE, 3), 2, filters=(2,), mode="unit")


def state(folder):
    return Counter(
        (path.name, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.rglob("*")
        if path.is_file()
    )


WRITERS = {
    "split_folder": lambda photos, folder: split_folder(photos, folder / "made", **QUIET),
    "write_records": lambda photos, folder: write_records(
        list_images(photos), folder / "made", SIZE, **QUIET
    ),
    "image_dataset": lambda photos, folder: image_dataset(
        list_images(photos), SIZE, cache=folder / "made" / "photos.cache", **QUIET
    ),
    "cache_features": lambda photos, folder: cache_features(
        freeze(model()),
        image_dataset(list_images(photos), SIZE),
        at="block1_conv1",
        cache=folder / "made" / "features.cache",
        **QUIET,
    ),
}
writers = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


class TestTheDisk:
    """The disk is full or not writable."""

    @writers
    @pytest.mark.parametrize("room", [100, 500])
    def test_full(self, photos, tmp_path, file_size_limit, write, room):
        """The photos stay, no incomplete file is left, and a rerun with enough space succeeds."""
        before = state(photos)
        with file_size_limit(room), pytest.raises(OSError, match="File too large") as caught:
            write(photos, tmp_path)
        assert str(tmp_path / "made") in str(caught.value)
        left = [path.name for path in (tmp_path / "made").rglob("*") if path.is_file()]

        assert state(photos) == before
        assert [name for name in left if name != "records.json"] == []
        write(photos, tmp_path)
        assert any(path.is_file() for path in (tmp_path / "made").rglob("*"))

    def test_full_while_renaming(self, photos, file_size_limit):
        """If the journal can't be written, nothing is renamed, and the error names the journal."""
        before = state(photos)
        with file_size_limit(10), pytest.raises(OSError, match=r"cnnkit-moves\.json"):
            rename_classes(photos, {"a": "z"})

        assert state(photos) == before

    @writers
    def test_no_place_for_a_folder(self, photos, tmp_path, write):
        """A destination below a file can't be created."""
        before = state(photos)
        (tmp_path / "made").write_text("precious")
        with pytest.raises(OSError, match="made"):
            write(photos, tmp_path)

        assert state(photos) == before
        assert (tmp_path / "made").read_text() == "precious"


READERS = {
    "load_images": lambda table, folder: load_images(table, SIZE, **QUIET),
    "image_dataset": lambda table, folder: list(image_dataset(table, SIZE)),
    "image_dataset, memory": lambda table, folder: image_dataset(
        table, SIZE, cache="memory", shuffle=True, **QUIET
    ),
    "image_dataset, file": lambda table, folder: image_dataset(
        table, SIZE, cache=folder / "photos.cache", **QUIET
    ),
    "predict_images": lambda table, folder: predict_images(
        model(), table, class_names=["a", "b"], **QUIET
    ),
    "write_records": lambda table, folder: write_records(table, folder / "made", SIZE, **QUIET),
    "flow_from_tables": lambda table, folder: flow_from_tables(
        split_table(table, validation_size=0, test_size=0, random_state=0), SIZE
    ).train[0],
}
readers = pytest.mark.parametrize("read", READERS.values(), ids=READERS)


class TestFilesThatChange:
    """Between listing and reading anything can happen."""

    @readers
    def test_vanished(self, photos, tmp_path, read):
        """The missing file is named."""
        table = list_images(photos)
        Path(table["file_paths"][3]).unlink()

        with pytest.raises((ImageReadError, tf.errors.UnknownError), match=r"a/003\.png"):
            read(table, tmp_path)

    @readers
    def test_overwritten(self, photos, tmp_path, read):
        """A file that is no longer an image is named."""
        table = list_images(photos)
        Path(table["file_paths"][3]).write_text("<html>404</html>")

        with pytest.raises((ImageReadError, tf.errors.UnknownError), match=r"a/003\.png"):
            read(table, tmp_path)

    @readers
    def test_renewed(self, photos, tmp_path, read):
        """Another image in its place is read."""
        table = list_images(photos)
        Image.new("RGB", (40, 30)).save(table["file_paths"][3])

        assert read(table, tmp_path) is not None

    def test_check_images_tells(self, photos):
        """Files that are gone or broken are rows of the report."""
        table = list_images(photos)
        Path(table["file_paths"][3]).unlink()
        Path(table["file_paths"][4]).write_bytes(b"")
        found = check_images(table, **QUIET)

        assert found.index[found["severity"] == "error"].tolist() == [3, 4]


class TestNamesAndLinks:
    """Odd names and links that file systems allow."""

    def test_loop_of_folders(self, photos):
        """A link to the folder above doesn't go on for ever."""
        (photos / "a" / "loop").symlink_to(photos)

        assert len(list_images(photos)) == 12

    def test_loop_of_files(self, photos):
        """Links to each other can't be read, and are named."""
        (photos / "a" / "y.png").symlink_to(photos / "a" / "x.png")
        (photos / "a" / "x.png").symlink_to(photos / "a" / "y.png")
        table = list_images(photos)
        found = check_images(table, **QUIET)

        with pytest.raises(ImageReadError, match=r"x\.png.*[Tt]oo many levels of symbolic links"):
            load_images(table, SIZE, **QUIET)
        assert (found.loc[[6, 7], "problem"] == "unreadable").all()

    @pytest.fixture
    def odd(self, photos):
        """A folder with a name that isn't UTF-8."""
        shutil.copy(photos / "a" / "000.png", os.fsencode(photos / "a") + b"/\xe4.png")
        return photos

    @readers
    def test_not_utf8(self, odd, tmp_path, read):
        """Such a file is read like any other."""
        table = list_images(odd)

        assert len(table) == 13
        read(table, tmp_path)

    def test_not_utf8_placed_and_renamed(self, odd, tmp_path):
        """Files with such names are placed and renamed like any others."""
        split_folder(odd, tmp_path / "parts", **QUIET)
        before = Counter(told for _, told in state(odd).elements())
        renumber_files(odd)

        assert len(list((tmp_path / "parts").rglob("*.png"))) == 13
        assert Counter(told for _, told in state(odd).elements()) == before
        assert (odd / "a" / "a7.png").exists()


class TestFewAndMany:
    """One image, one class, and thousands of classes."""

    @readers
    def test_one_image(self, make_folder, tmp_path, read):
        """A table of one row."""
        read(list_images(make_folder({"one/a": 1}) / "one"), tmp_path)

    def test_one_image_cannot_be_split(self, make_folder):
        """A single image can't be split, except into one part."""
        table = list_images(make_folder({"a": 1}))
        split = split_table(table, validation_size=0, test_size=0, random_state=0)

        assert [len(part) for part in split] == [1, 0, 0]
        with pytest.raises(ValueError, match="0.2 of 1 images"):
            split_table(table, random_state=0)
        with pytest.raises(ValueError, match="n_splits=2 for 1 images"):
            k_fold_tables(table, n_splits=2)

    def test_one_class(self, make_folder):
        """A table with one class has one column of targets and can be split."""
        table = list_images(make_folder({"a": 10}))
        ((_, targets),) = image_dataset(table, SIZE)

        assert targets.numpy().tolist() == [[1.0]] * 10
        assert [len(part) for part in split_table(table, random_state=0)] == [6, 2, 2]

    @pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
    def test_many_classes(self, tmp_path, count):
        """A table, a split, a dataset and records with two images of each of many classes."""
        Image.new("RGB", SIZE).save(tmp_path / "one.png")
        for number in range(count):
            folder = tmp_path / "photos" / f"class {number:05}"
            folder.mkdir(parents=True)
            for name in ("0.png", "1.png"):
                os.link(tmp_path / "one.png", folder / name)
        table = list_images(tmp_path / "photos")
        split = split_table(table, validation_size=0, test_size=0.5, random_state=0)
        write_records(table, tmp_path / "records", SIZE, **QUIET)

        assert len(table["target_names"].cat.categories) == count
        assert split.train["targets"].tolist() == list(range(count))
        for data in (image_dataset(table, SIZE), record_dataset(tmp_path / "records", **QUIET)):
            _, targets = next(iter(data))
            assert targets.shape == (32, count)
            np.testing.assert_array_equal(targets.numpy().argmax(axis=1), np.arange(32) // 2)
