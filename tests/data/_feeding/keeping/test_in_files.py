"""A cache file: the same bytes, read once, made anew if anything has changed."""

import os
import sys
from pathlib import Path
import keras
import numpy as np
import pandas as pd
import pytest
from cnnkit.data import image_dataset
from cache_files import LEVELS, SIZE, images_of, levels_of, opened, assert_right


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
