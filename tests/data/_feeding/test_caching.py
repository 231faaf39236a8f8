"""image_dataset(cache="some.cache"): the same bytes as without, and never a wrong or half file."""

import itertools
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import albumentations as A
import keras
import numpy as np
import pandas as pd
import pytest

import cnnkit
from cnnkit.data import image_dataset, list_images, read_image
from cnnkit.data._feeding import sources
from cnnkit.exceptions import ImageReadError

LEVELS = list(range(0, 240, 20))
SIZE = (4, 6)

# What a process of its own runs: it waits for a line, makes the cache and saves the images. It
# does without TensorFlow, which takes longer to load than all the rest.
MAKER = '''
"""maker.py FILES CACHE IMAGES STOP_AT: after so many images it stops for good."""
import itertools, sys, time
from types import SimpleNamespace
import numpy as np
import pandas as pd
from cnnkit.data import image_dataset, read_image
from cnnkit.data._feeding import datasets, sources

files, cache, images, stop_at = sys.argv[1:]
counter = itertools.count()

def read_slowly(*args, **options):
    if next(counter) == int(stop_at):
        print("stopped", flush=True)
        time.sleep(600)
    time.sleep(0.02)
    return read_image(*args, **options)

def first_epoch(batches, passes, *, cached):
    return SimpleNamespace(images=batches(0, np.arange(batches.length)))

sources.read_image = read_slowly
datasets.batch_dataset = first_epoch
table = pd.read_csv(files)
print("ready", flush=True)
sys.stdin.readline()
dataset = image_dataset(
    table, (4, 6), label_mode=None, cache=cache, workers=1, progress=False
)
np.save(images, dataset.images)
'''


def images_of(dataset):
    """Return all images of one epoch of a dataset without targets."""
    return np.concatenate([batch.numpy() for batch in dataset])


def levels_of(dataset):
    return images_of(dataset)[:, 0, 0, 0].tolist()


def opened(table, cache, size=SIZE, **options):
    """Return a dataset of images alone."""
    options = {"label_mode": None, "progress": False, "batch_size": 5, **options}
    return image_dataset(table, size, cache=cache, **options)


def assert_right(table, cache, size=SIZE, **options):
    """Compare an epoch with that of a dataset without a cache."""
    expected = images_of(opened(table, None, size, **options))
    np.testing.assert_array_equal(expected, images_of(opened(table, cache, size, **options)))


def beside(cache):
    """Return the names of whatever stands in the folder of the cache."""
    return sorted(path.name for path in cache.parent.iterdir())


@pytest.fixture
def cache(tmp_path):
    """A path in a folder where nothing else is."""
    (tmp_path / "caches").mkdir()
    return tmp_path / "caches" / "train.cache"


@pytest.fixture
def photos(make_folder):
    """Twelve wide images of random pixels, of two classes."""
    return list_images(make_folder({"cat": 6, "dog": 6}, size=(20, 30)))


@pytest.fixture
def write_level(write_image):
    """Return a function that saves an image of one level, with as many bytes as any other."""

    def write(level, name=None, size=(8, 8)):
        return write_image(name or f"level_{level:03}.bmp", np.full((*size, 3), level, np.uint8))

    return write


@pytest.fixture
def table(write_level):
    """Twelve images of one level each; the file's name tells it."""
    return pd.DataFrame({"file_paths": [str(write_level(level)) for level in LEVELS]})


@pytest.fixture
def reads(monkeypatch):
    """The files that have been read, in a list that goes on growing."""
    paths = []

    def read(path, *args, **options):
        paths.append(path)
        return read_image(path, *args, **options)

    monkeypatch.setattr(sources, "read_image", read)
    return paths


@pytest.fixture
def at_read(monkeypatch):
    """Return a function that puts an action before the sixth read, or another one, once."""

    def put(action, number=6):
        count = itertools.count(1)

        def read(*args, **options):
            if next(count) == number:
                action()
            return read_image(*args, **options)

        monkeypatch.setattr(sources, "read_image", read)

    return put


@pytest.fixture
def augmentation():
    return A.Compose(
        [A.HorizontalFlip(p=0.5), A.RandomBrightnessContrast(p=0.8), A.GaussNoise(p=0.5)]
    )


class TestSameBytes:
    """A cache changes no byte, neither when it is made nor when it is opened."""

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"shuffle": True, "seed": 1},
            {"color_mode": "grayscale"},
            {"crop_to_aspect_ratio": True},
            {"pad_to_aspect_ratio": True},
            {"pad_to_aspect_ratio": True, "color_mode": "grayscale", "mode": "tf"},
            {"mode": "torch", "shuffle": True, "seed": 2, "initial_epoch": 3},
        ],
    )
    def test_images(self, photos, cache, options):
        """Made and opened, the cache gives what the files give, epoch by epoch."""
        plain = opened(photos, None, **options)
        made = opened(photos, cache, **options)
        found = opened(photos, cache, **options)

        for _ in range(2):
            expected = images_of(plain)
            np.testing.assert_array_equal(expected, images_of(made))
            np.testing.assert_array_equal(expected, images_of(found))

    @pytest.mark.parametrize("workers", [0, 1, 4])
    def test_augmented_images(self, photos, cache, augmentation, workers):
        """Three epochs are augmented as without a cache, at any number of workers."""
        options = {"transform": augmentation, "shuffle": True, "seed": 1}
        plain = opened(photos, None, **options)
        expected = [images_of(plain) for _ in range(3)]

        for _ in range(2):
            dataset = opened(photos, cache, **options, workers=workers)
            np.testing.assert_array_equal(expected, [images_of(dataset) for _ in range(3)])

    def test_images_under_a_keras_layer(self, photos, cache):
        """The layer works on cached images as on others."""
        layers = [keras.layers.RandomFlip(seed=1) for _ in range(2)]
        plain = opened(photos, None, transform=layers[0])
        cached = opened(photos, cache, transform=layers[1])

        for _ in range(2):
            np.testing.assert_array_equal(images_of(plain), images_of(cached))

    @pytest.mark.parametrize("shuffle", [False, True])
    def test_all_but_the_images(self, photos, cache, shuffle):
        """Targets, names, files, shapes and length are those of the table."""
        options = {"batch_size": 5, "shuffle": shuffle, "seed": 0, "progress": False}
        plain = image_dataset(photos, SIZE, **options)

        for _ in range(2):
            cached = image_dataset(photos, SIZE, cache=cache, **options)
            for expected, actual in zip(plain, cached, strict=True):
                np.testing.assert_array_equal(expected[1], actual[1])
            assert plain.element_spec == cached.element_spec
            assert [None, *SIZE, 3] == cached.element_spec[0].shape.as_list()
            assert 3 == len(cached)
            assert ["cat", "dog"] == cached.class_names
            assert photos["file_paths"].tolist() == cached.file_paths
            assert 0 == len(cached.skipped)
            plain = image_dataset(photos, SIZE, **options)

    def test_transform_in_place_spoils_no_cache(self, table, cache):
        """What a transform writes is neither in the next epoch nor in the file."""

        def brighten(image):
            image += 5
            return image

        for _ in range(2):
            dataset = opened(table, cache, transform=brighten)
            for _ in range(2):
                assert [level + 5 for level in LEVELS] == levels_of(dataset)
        assert levels_of(opened(table, cache)) == LEVELS


class TestReadOnce:
    """Files are read when the cache is made, and never again."""

    @pytest.mark.parametrize("workers", [None, 1, 4])
    def test_each_file_once(self, table, cache, reads, workers):
        """Every file is read beforehand, and none in an epoch or by a second dataset."""
        first = opened(table, cache, workers=workers)

        assert table["file_paths"].tolist() == sorted(reads)
        for dataset in (first, first, opened(table, cache, workers=workers)):
            assert levels_of(dataset) == LEVELS
        assert 12 == len(reads)

    def test_files_may_go(self, table, cache):
        """After the call the files aren't needed."""
        dataset = opened(table, cache)
        for path in table["file_paths"]:
            Path(path).unlink()

        assert LEVELS == levels_of(dataset) == levels_of(dataset)

    def test_damage_that_does_not_show(self, table, cache):
        """A file of the same size and time isn't opened."""
        opened(table, cache)
        for path in map(Path, table["file_paths"]):
            status = path.stat()
            path.write_bytes(bytes(status.st_size))
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

        assert levels_of(opened(table, cache)) == LEVELS

    @pytest.mark.parametrize(
        "options",
        [
            {"batch_size": 2},
            {"mode": "torch"},
            {"shuffle": True, "seed": 7},
            {"transform": np.flipud},
            {"workers": 2},
            {"on_error": "skip"},
        ],
    )
    def test_one_cache_for_all_that_comes_after(self, photos, cache, reads, options):
        """What is done with the pixels makes no other cache."""
        opened(photos, cache)
        before = cache.read_bytes()

        images_of(opened(photos, cache, **options))
        image_dataset(photos, SIZE, cache=cache, label_mode="int", progress=False)

        assert 12 == len(reads)
        assert before == cache.read_bytes()

    def test_same_files_in_another_table(self, table, cache, reads):
        """Index and further columns don't matter."""
        opened(table, cache)

        other = table.assign(author="me").set_index(pd.Index(range(100, 112)))

        assert levels_of(opened(other, cache)) == LEVELS
        assert 12 == len(reads)

    def test_relative_paths(self, table, cache, reads, tmp_path, monkeypatch):
        """However a file is called from wherever, it is the same file."""
        opened(table, cache)
        monkeypatch.chdir(tmp_path)

        names = [Path(path).name for path in table["file_paths"]]
        dataset = opened(table.assign(file_paths=names), Path("caches") / cache.name)

        assert levels_of(dataset) == LEVELS
        assert 12 == len(reads)


class TestStale:
    """A cache of other images is made anew."""

    @pytest.mark.parametrize(
        ("size", "milliseconds"),
        [((8, 8), 10_000), ((8, 8), -10_000), ((8, 8), 10), ((9, 8), 0), ((9, 8), 10)],
    )
    def test_changed_file(self, table, cache, reads, write_level, size, milliseconds):
        """A file that has another time or another size counts as changed."""
        path = Path(table["file_paths"][3])
        before = path.stat()
        opened(table, cache)
        write_level(255, path.name, size)
        time = before.st_mtime_ns + milliseconds * 10**6
        os.utime(path, ns=(time, time))
        assert (size == (8, 8)) == (before.st_size == path.stat().st_size)

        dataset = opened(table, cache)

        assert [*LEVELS[:3], 255, *LEVELS[4:]] == levels_of(dataset)
        assert 24 == len(reads)

    @pytest.mark.parametrize(
        ("size", "options"),
        [
            ((6, 4), {}),
            ((5, 6), {}),
            ((4, 7), {}),
            (SIZE, {"color_mode": "grayscale"}),
            (SIZE, {"crop_to_aspect_ratio": True}),
            (SIZE, {"pad_to_aspect_ratio": True}),
        ],
    )
    def test_read_in_another_way(self, photos, cache, reads, size, options):
        """Another size, other colors or another form make another cache, there and back."""
        opened(photos, cache)

        assert_right(photos, cache, size, **options)
        assert 12 * 3 == len(reads)  # two caches and an epoch without one

        assert_right(photos, cache)
        assert 12 * 5 == len(reads)

    def test_cut_and_padded(self, photos, cache):
        """Two forms of the same size aren't taken for each other."""
        assert_right(photos, cache, crop_to_aspect_ratio=True)
        assert_right(photos, cache, pad_to_aspect_ratio=True)
        assert_right(photos, cache, crop_to_aspect_ratio=True)

    @pytest.mark.parametrize(
        "rows",
        [
            list(range(12))[::-1],
            [1, 0, *range(2, 12)],
            list(range(11)),
            [0, *range(12)],
            [0, 0, *range(2, 12)],
        ],
    )
    def test_other_rows(self, table, cache, reads, rows):
        """Another order, or some rows more or less, make another cache."""
        opened(table, cache)

        dataset = opened(table.iloc[rows], cache)

        assert [LEVELS[row] for row in rows] == levels_of(dataset)
        assert 12 + len(rows) == len(reads)

    def test_other_doubles(self, table, cache):
        """The same files, as many, and others of them twice, make another cache."""
        opened(table.iloc[[0, 0, 1]], cache)

        assert [0, 20, 20] == levels_of(opened(table.iloc[[0, 1, 1]], cache))

    def test_another_table(self, table, cache, write_level):
        """A cache of as many other images is none of these."""
        other = table.assign(
            file_paths=[str(write_level(level + 9, f"other_{level}.bmp")) for level in LEVELS]
        )
        opened(other, cache)

        assert levels_of(opened(table, cache)) == LEVELS
        assert [level + 9 for level in LEVELS] == levels_of(opened(other, cache))

    def test_twins_of_two_folders(self, table, cache, tmp_path, write_level):
        """Files of one name, size and time in two folders are two files."""
        twins = [tmp_path / "twins" / Path(path).name for path in table["file_paths"]]
        for level, path, twin in zip(LEVELS, table["file_paths"], twins, strict=True):
            write_level(255 - level, twin)
            os.utime(twin, ns=(Path(path).stat().st_mtime_ns,) * 2)
        opened(table, cache)

        dataset = opened(table.assign(file_paths=[str(path) for path in twins]), cache)

        assert [255 - level for level in LEVELS] == levels_of(dataset)

    @pytest.mark.parametrize("module", ["cnnkit", "cv2", "PIL"])
    def test_another_version(self, table, cache, reads, monkeypatch, module):
        """Another version of what reads may read otherwise."""
        opened(table, cache)
        monkeypatch.setattr(sys.modules[module], "__version__", "0.0.1")

        assert levels_of(opened(table, cache)) == LEVELS
        assert 24 == len(reads)

    @pytest.mark.parametrize("shape", [list, np.array], ids=["list", "array"])
    def test_the_same_size_in_another_form(self, table, cache, reads, shape):
        """A size is the same as a tuple, a list or an array."""
        opened(table, cache)

        opened(table, cache, shape(SIZE))

        assert 12 == len(reads)


class TestDamaged:
    """A cache that isn't whole is made anew."""

    @pytest.mark.parametrize("length", [0, 31, 32, 100, 128, 129, 500, -73, -1])
    def test_cut(self, table, cache, reads, length):
        """A cache that is cut short anywhere is no cache."""
        opened(table, cache)
        whole = cache.read_bytes()
        cache.write_bytes(whole[:length])

        assert levels_of(opened(table, cache)) == LEVELS
        assert 24 == len(reads)
        assert whole == cache.read_bytes()

    @pytest.mark.parametrize("more", [1, 73, 100_000])
    def test_too_long(self, table, cache, more):
        """A cache with something behind it is no cache."""
        opened(table, cache)
        whole = cache.read_bytes()
        cache.write_bytes(whole + bytes(more))

        assert levels_of(opened(table, cache)) == LEVELS
        assert whole == cache.read_bytes()

    @pytest.mark.parametrize("place", [31, 60, 94])
    def test_another_key(self, table, cache, place):
        """A cache whose line of images differs in any place is of other images."""
        opened(table, cache)
        whole = cache.read_bytes()
        cache.write_bytes(whole[:place] + b"~" + whole[place + 1 : 128] + bytes(len(whole) - 128))

        assert levels_of(opened(table, cache)) == LEVELS
        assert whole == cache.read_bytes()

    def test_empty_file(self, table, cache):
        """An empty file, as tempfile makes it, is filled."""
        cache.touch()

        assert levels_of(opened(table, cache)) == LEVELS
        assert levels_of(opened(table, cache)) == LEVELS


class TestRefused:
    """Nothing is overwritten that somebody may want, and no slip makes a file."""

    RULE = (
        r"^`cache` must be None, 'memory' or the path of a cache file, new or made by "
        r"`image_dataset`\. Received: cache={}, which is something else\. "
        r"Choose a name such as 'train\.cache'\.$"
    )

    def refused(self, cache):
        return pytest.raises(ValueError, match=self.RULE.format(re.escape(repr(str(cache)))))

    def test_photo(self, table, reads):
        """An image is left byte for byte as it was, and nothing is read."""
        path = Path(table["file_paths"][0])
        before = path.read_bytes()

        with self.refused(path):
            opened(table, path)

        assert before == path.read_bytes()
        assert [] == reads

    @pytest.mark.parametrize("content", [b"\n", b"a,b\n1,2\n", b"cnnkit cache of texts, utf-8\n"])
    def test_something_else(self, table, cache, content):
        """Any file that isn't empty and doesn't begin as a cache is somebody's."""
        cache.write_bytes(content)

        with self.refused(cache):
            opened(table, str(cache))

        assert content == cache.read_bytes()
        assert [cache.name] == beside(cache)

    @pytest.mark.parametrize("word", ["disk", "Memory", "file", "True", ""])
    def test_bare_word(self, table, cache, monkeypatch, word):
        """A word is a slip rather than a file's name."""
        monkeypatch.chdir(cache.parent)

        with self.refused(word):
            opened(table, word)

        assert [] == beside(cache)

    def test_folder(self, table, cache):
        """A folder is no file."""
        with self.refused(cache.parent):
            opened(table, cache.parent)

        assert [] == beside(cache)

    @pytest.mark.parametrize("value", [5, True, b"x.cache"])
    def test_no_path(self, table, value):
        """What is no path is refused by its value."""
        text = rf"^`cache` must be None, 'memory' or a path\. Received: cache={value!r}\.$"

        with pytest.raises(TypeError, match=text):
            opened(table, value)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no such files")
    def test_pipe(self, table, cache):
        """A pipe isn't waited for."""
        os.mkfifo(cache)

        with self.refused(cache):
            opened(table, cache)

    @pytest.mark.parametrize("kind", [str, Path])
    def test_arrays(self, cache, kind):
        """Arrays are in memory already."""
        text = (
            r"^`cache` can't be a file for arrays, which are in memory already\. "
            rf"Received: cache={re.escape(repr(str(cache)))}\. Leave it out\.$"
        )

        with pytest.raises(ValueError, match=text):
            image_dataset((np.zeros((2, 4, 4, 3), np.uint8), [0, 1]), cache=kind(cache))

        assert [] == beside(cache)


class TestPaths:
    """A cache may be wherever a file may be."""

    @pytest.mark.parametrize("kind", [str, Path])
    def test_missing_folders(self, table, cache, kind):
        """Folders on the way are made."""
        path = cache.parent / "a" / "b c" / "ä.cache"

        assert levels_of(opened(table, kind(path))) == LEVELS
        assert levels_of(opened(table, kind(path))) == LEVELS
        assert ["ä.cache"] == beside(path)

    @pytest.mark.parametrize("name", ["x.cache", "./word", Path("word")])
    def test_name_alone(self, table, cache, monkeypatch, name):
        """A name with a dot, a path, or a Path of any name is a file in the working folder."""
        monkeypatch.chdir(cache.parent)

        assert levels_of(opened(table, name)) == LEVELS
        assert [Path(name).name] == beside(cache)

    def test_link(self, table, cache):
        """A link stays one, and the file that it names is made."""
        target = cache.parent / "elsewhere" / "real.cache"
        cache.symlink_to(target)

        assert levels_of(opened(table, cache)) == LEVELS
        assert levels_of(opened(table[::-1], cache)) == LEVELS[::-1]

        assert cache.is_symlink()
        assert ["real.cache"] == beside(target)


class TestUnreadable:
    """What can't be read is an error at the call, or left out."""

    @pytest.fixture
    def broken(self, table, tmp_path):
        """The table with a text and a missing file among the images."""
        (tmp_path / "text.png").write_text("no image")
        paths = table["file_paths"].tolist()
        paths[3], paths[10] = str(tmp_path / "text.png"), str(tmp_path / "gone.png")
        return table.assign(file_paths=paths)

    @pytest.fixture
    def readable(self):
        return [level for row, level in enumerate(LEVELS) if row not in (3, 10)]

    @pytest.mark.parametrize("workers", [1, None])
    def test_error_at_the_call(self, broken, cache, workers):
        """The file is named with its place, and nothing is left behind."""
        path = re.escape(broken["file_paths"][3])

        with pytest.raises(ImageReadError, match=rf"{path}.*\(file 4 of 12\)\.$"):
            opened(broken, cache, workers=workers)

        assert [] == beside(cache)

    def test_error_leaves_an_earlier_cache(self, table, cache, reads, write_level):
        """A cache that was right before is right again once the file is back."""
        opened(table, cache)
        before = cache.read_bytes()
        path = Path(table["file_paths"][3])
        status, content = path.stat(), path.read_bytes()
        path.write_text("no image")

        with pytest.raises(ImageReadError, match=r"\(file 4 of 12\)"):
            opened(table, cache)

        assert before == cache.read_bytes()
        assert [cache.name] == beside(cache)
        path.write_bytes(content)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        reads.clear()
        assert levels_of(opened(table, cache)) == LEVELS
        assert [] == reads

    @pytest.mark.parametrize(
        "options", [{}, {"shuffle": True, "seed": 0}, {"transform": np.flipud}]
    )
    def test_skipped(self, broken, cache, readable, reads, options):
        """The rows that remain, and those that don't, are the same whenever it is opened."""
        for opening in range(3):
            dataset = opened(broken, cache, on_error="skip", **options)

            assert readable == sorted(levels_of(dataset))
            assert options.get("shuffle") or readable == levels_of(dataset)
            kept = [path for row, path in enumerate(broken["file_paths"]) if row not in (3, 10)]
            assert kept == dataset.file_paths
            assert 2 == len(dataset)
            assert [3, 10] == list(dataset.skipped.index)
            assert "text.png" in dataset.skipped["reason"][3]
            assert "No such file" in dataset.skipped["reason"][10]
            if opening:  # the readable ones aren't read again
                assert {broken["file_paths"][3], broken["file_paths"][10]} == set(reads)
            reads.clear()

    def test_skipped_with_targets(self, broken, cache):
        """Targets stay with the images that remain."""
        names = pd.Categorical(["dark"] * 6 + ["light"] * 6)
        labelled = broken.assign(target_names=names, targets=names.codes.astype("int64"))

        for _ in range(2):
            dataset = opened(labelled, cache, on_error="skip", label_mode="int", shuffle=True)
            for images, targets in dataset:
                expected = (images[:, 0, 0, 0].numpy() >= LEVELS[6]).astype(int)
                assert expected.tolist() == targets.numpy().tolist()

    def test_skipped_in_memory(self, broken, readable):
        """The cache in memory leaves out the same rows."""
        for options in ({}, {"shuffle": True}, {"transform": np.flipud}):
            dataset = opened(broken, "memory", on_error="skip", **options)

            assert readable == sorted(levels_of(dataset))
            assert [3, 10] == list(dataset.skipped.index)

    def test_skipped_until_it_is_there(self, broken, cache, write_level):
        """A file that comes later is taken up."""
        opened(broken, cache, on_error="skip")
        write_level(255, "text.png")
        write_level(254, "gone.png")

        dataset = opened(broken, cache, on_error="skip")

        assert [*LEVELS[:3], 255, *LEVELS[4:10], 254, LEVELS[11]] == levels_of(dataset)
        assert 0 == len(dataset.skipped)

    def test_error_over_a_cache_that_skips(self, broken, cache):
        """A cache made with on_error="skip" hides no error from a call without."""
        opened(broken, cache, on_error="skip")

        with pytest.raises(ImageReadError, match=r"text\.png.*\(file 4 of 12\)\.$"):
            opened(broken, cache)

    def test_nothing_can_be_read(self, table, cache):
        """A table of no readable images is refused."""
        with pytest.raises(ValueError, match="at least one image that can be read"):
            opened(table.assign(file_paths="gone.png"), cache, on_error="skip")


class TestInterrupted:
    """The cache is whole, or it isn't there."""

    @pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
    def test_in_the_middle(self, table, cache, at_read, error):
        """Whatever ends the call leaves no file."""

        def fail():
            raise error

        at_read(fail)

        with pytest.raises(error):
            opened(table, cache, workers=1)

        assert [] == beside(cache)
        assert levels_of(opened(table, cache)) == LEVELS

    @pytest.mark.parametrize("has_old", [False, True])
    def test_disk_is_full(self, table, cache, has_old, file_size_limit):
        """A write that fails is told; an earlier cache stays, nothing else is left."""
        if has_old:
            opened(table[::-1], cache)
        before = cache.read_bytes() if has_old else b""
        with file_size_limit(600), pytest.raises(OSError, match="File too large"):
            opened(table, cache)

        assert ([cache.name] if has_old else []) == beside(cache)
        assert before == (cache.read_bytes() if has_old else b"")
        assert levels_of(opened(table, cache)) == LEVELS

    @pytest.mark.parametrize(
        "owner_and_name", [(os, "fsync"), (Path, "replace")], ids=["fsync", "replace"]
    )
    @pytest.mark.parametrize("has_old", [False, True])
    def test_end_fails(self, table, cache, monkeypatch, owner_and_name, has_old):
        """A failure after the last image does no more damage than one before."""

        def fail(*_):
            message = "no space left"
            raise OSError(message)

        if has_old:
            opened(table[::-1], cache)
        before = cache.read_bytes() if has_old else b""
        with monkeypatch.context() as patch:
            patch.setattr(*owner_and_name, fail)
            with pytest.raises(OSError, match="no space left"):
                opened(table, cache)

        assert ([cache.name] if has_old else []) == beside(cache)
        assert before == (cache.read_bytes() if has_old else b"")

    def test_not_there_before_it_is_whole(self, table, cache, at_read):
        """While images are read, an old cache stands as it was, or none."""
        seen = []
        at_read(lambda: seen.append(cache.exists()))
        opened(table, cache, workers=1)
        before = cache.read_bytes()
        at_read(lambda: seen.append(cache.read_bytes()))

        opened(table[::-1], cache, workers=1)

        assert [False, before] == seen


class TestProcesses:
    """Processes that make one cache at the same time don't disturb each other."""

    @pytest.fixture
    def start(self, table, cache, tmp_path):
        """Return a context in which some processes are ready to make the cache."""
        table.to_csv(tmp_path / "files.csv", index=False)
        (tmp_path / "maker.py").write_text(MAKER)
        here = str(Path(cnnkit.__file__).parents[1])  # the cnnkit that is under test

        @contextmanager
        def started(count, stop_at=-1):
            makers = [
                subprocess.Popen(
                    [
                        *(sys.executable, str(tmp_path / "maker.py")),
                        *(str(tmp_path / "files.csv"), str(cache)),
                        *(str(tmp_path / f"images_{number}.npy"), str(stop_at)),
                    ],
                    env={**os.environ, "PYTHONPATH": here},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                for number in range(count)
            ]
            try:
                for maker in makers:
                    assert maker.stdout.readline() == "ready\n", maker.stderr.read()
                for maker in makers:
                    maker.stdin.write("go\n")
                    maker.stdin.flush()
                yield makers
            finally:
                for maker in makers:
                    maker.kill()
                    maker.communicate()

        return started

    @pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
    def test_killed(self, table, cache, start):
        """A killed process leaves no cache, and the next call makes one and clears up."""
        with start(1, stop_at=5) as (maker,):
            assert "stopped\n" == maker.stdout.readline()
            maker.send_signal(signal.SIGKILL)
            maker.wait(timeout=60)
            assert not cache.exists()

            assert levels_of(opened(table, cache)) == LEVELS
            assert [cache.name] == beside(cache)
            assert levels_of(opened(table, cache)) == LEVELS

    @pytest.mark.parametrize("count", [2, 4])
    def test_at_the_same_time(self, table, cache, reads, tmp_path, start, count):
        """All have the right images, and one cache remains."""
        with start(count) as makers:
            for maker in makers:
                _, errors = maker.communicate(timeout=120)
                assert 0 == maker.returncode, errors

        for number in range(count):
            images = np.load(tmp_path / f"images_{number}.npy")
            assert LEVELS == images[:, 0, 0, 0].tolist()
        assert [cache.name] == beside(cache)
        assert levels_of(opened(table, cache)) == LEVELS
        assert [] == reads

    def test_another_is_done_first(self, table, cache, at_read):
        """Whoever comes second finds its work done, and both have the right images."""
        faster = []
        at_read(lambda: faster.append(opened(table, cache, workers=1)))

        slower = opened(table, cache, workers=1)

        assert levels_of(slower) == LEVELS
        assert levels_of(faster[0]) == LEVELS
        assert [cache.name] == beside(cache)

    def test_another_begins_before_this_one_ends(self, table, cache, at_read):
        """What another process has begun isn't damaged by one that begins later."""
        parts = []

        def look():
            parts.append({part: part.read_bytes() for part in cache.parent.glob("*.part")})

        def begin():
            look()
            at_read(look, number=1)
            opened(table, cache, workers=1)

        at_read(begin)
        opened(table, cache, workers=1)

        ours, both = parts
        assert [1, 2] == [len(ours), len(both)]
        assert ours.items() <= both.items()

    def test_another_makes_a_cache_of_a_longer_name(self, table, cache, at_read):
        """Tidying up takes what was left of this cache, and of no other."""
        longer, own = cache.with_name(f"{cache.name}.v2"), cache.with_name(f"{cache.name}.x.part")
        own.write_text("mine")
        at_read(lambda: opened(table, cache, workers=1))

        opened(table, longer, workers=1)

        assert longer.exists()
        assert own.read_text() == "mine"

    def test_another_reads_another_table(self, table, cache, at_read):
        """Whoever is given the same path by mistake mixes nothing up."""
        others = []
        at_read(lambda: others.append(opened(table[::-1], cache, workers=1)))

        ours = opened(table, cache, workers=1)

        assert levels_of(ours) == LEVELS
        assert levels_of(others[0]) == LEVELS[::-1]
        assert [cache.name] == beside(cache)
        assert levels_of(opened(table, cache)) == LEVELS

    def test_another_is_interrupted(self, table, cache, at_read):
        """Whoever gives up takes nothing away from who goes on."""

        def interrupt():
            raise KeyboardInterrupt

        def other():
            at_read(interrupt)
            with pytest.raises(KeyboardInterrupt):
                opened(table, cache, workers=1)

        at_read(other)

        assert levels_of(opened(table, cache, workers=1)) == LEVELS
        assert levels_of(opened(table, cache)) == LEVELS
        assert [cache.name] == beside(cache)

    def test_another_makes_an_other_cache_there(self, table, cache, monkeypatch):
        """Whoever is given the same path by mistake has no images of another table."""
        replace = Path.replace

        def replace_and_lose(part, path):
            replace(part, path)
            monkeypatch.setattr(Path, "replace", replace)
            opened(table[::-1], cache)

        monkeypatch.setattr(Path, "replace", replace_and_lose)

        assert levels_of(opened(table, cache)) == LEVELS

    @pytest.mark.parametrize("step", ["mkdir", "touch"])
    def test_another_is_done_before_this_one_begins(self, table, cache, monkeypatch, step):
        """A cache that comes between looking and making does no harm."""
        take_step = getattr(Path, step)

        def lose(*args, **options):
            take_step(*args, **options)
            monkeypatch.setattr(Path, step, take_step)
            opened(table, cache)

        monkeypatch.setattr(Path, step, lose)

        assert levels_of(opened(table, cache)) == LEVELS
        assert [cache.name] == beside(cache)
