"""image_dataset with cache='memory', and without unreadable files."""

import re
import keras
import numpy as np
import pytest
import tensorflow as tf
from cnnkit.data import image_dataset, list_images, read_image
from cnnkit.data._feeding import sources
from cnnkit.data._feeding.batches import ImageBatches
from cnnkit.exceptions import ImageReadError
from cnnkit.preprocess import scale
from epochs import LEVELS, images_of, levels_of


class TestCache:
    """cache="memory" reads each file once and changes no byte."""

    @pytest.fixture
    def reads(self, monkeypatch):
        """The files that have been read, in a list that goes on growing."""
        paths = []

        def read(path, *args, **options):
            paths.append(path)
            return read_image(path, *args, **options)

        monkeypatch.setattr(sources, "read_image", read)
        return paths

    @pytest.mark.parametrize("workers", [0, 4])
    def test_same_bytes(self, make_folder, augmentation, workers):
        """Two epochs with and without the cache are equal."""
        table = list_images(make_folder({"cat": 10, "dog": 10}))
        options = {"transform": augmentation, "shuffle": True, "seed": 1, "batch_size": 6}
        plain = image_dataset(table, (12, 12), **options)
        cached = image_dataset(table, (12, 12), **options, cache="memory", workers=workers)

        for _ in range(2):
            np.testing.assert_array_equal(images_of(plain), images_of(cached))

    def test_files_are_read_once(self, table):
        """After one epoch the files may go."""
        dataset = image_dataset(table, (4, 4), cache="memory")
        first = levels_of(dataset)
        for path in table["file_paths"]:
            tf.io.gfile.remove(path)

        assert first == levels_of(dataset)

    @pytest.mark.parametrize("mode", ["none", "torch"])
    @pytest.mark.parametrize("cropped", [False, True])
    def test_finished_batches_are_kept(self, make_folder, reads, monkeypatch, mode, cropped):
        """Without draws, nothing of ours runs in the second epoch, and its bytes are the same."""
        table = list_images(make_folder({"cat": 5, "dog": 6}, size=(20, 30)))
        options = {"mode": mode, "batch_size": 4, "crop_to_aspect_ratio": cropped}
        expected = images_of(image_dataset(table, (8, 8), **options))
        reads.clear()
        dataset = image_dataset(table, (8, 8), **options, cache="memory")
        assert [] == reads
        first = images_of(dataset)
        assert table["file_paths"].tolist() == sorted(reads)

        def fail(*_):
            raise AssertionError

        monkeypatch.setattr(ImageBatches, "__call__", fail)
        second = images_of(dataset)

        np.testing.assert_array_equal(expected, first)
        np.testing.assert_array_equal(expected, second)
        assert 11 == len(reads)

    def test_finished_batches_of_arrays_are_kept(self, arrays, monkeypatch):
        """Arrays are scaled once."""
        dataset = image_dataset(arrays, mode="torch", cache="memory", batch_size=7)
        images_of(dataset)
        monkeypatch.delattr(ImageBatches, "__call__")

        np.testing.assert_array_equal(scale(arrays[0], "torch"), images_of(dataset))

    def test_targets_are_kept_with_their_batches(self, table):
        """The second epoch has the targets of the first."""
        dataset = image_dataset(table, (4, 4), cache="memory", label_mode="int", batch_size=5)

        for _ in range(2):
            for images, targets in dataset:
                assert (images[:, 0, 0, 0].numpy() >= 120).astype(int).tolist() == list(targets)

    @pytest.mark.parametrize("how", ["shuffled", "by a function", "by a layer"])
    def test_drawn_batches_are_not_kept(self, table, reads, how):
        """What is drawn, or ordered, is made in each epoch, from files that were read before."""
        options = {
            "shuffled": {"shuffle": True},
            "by a function": {"transform": np.flipud},
            "by a layer": {"transform": keras.layers.RandomFlip(seed=0)},
        }
        dataset = image_dataset(table, (4, 4), cache="memory", **options[how])

        assert table["file_paths"].tolist() == sorted(reads)
        for _ in range(2):
            assert sorted(levels_of(dataset)) == LEVELS
        assert 24 == len(reads)

    @pytest.mark.parametrize("options", [{"shuffle": True}, {"transform": np.flipud}])
    def test_unreadable_image_is_an_error_at_the_call(self, table, options):
        """Where all files are read beforehand, the first that can't be is named at once."""
        path = table["file_paths"][13]
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(b"no image")

        with pytest.raises(ImageReadError, match=rf"{re.escape(path)}.*\(file 14 of 24\)\.$"):
            image_dataset(table, (4, 4), cache="memory", **options)

    def test_without_a_cache_files_are_read_each_time(self, table):
        """Without the cache a file that has gone is an error in the next epoch."""
        dataset = image_dataset(table, (4, 4))
        levels_of(dataset)
        tf.io.gfile.remove(table["file_paths"][0])

        with pytest.raises(tf.errors.OpError, match="No such file"):
            levels_of(dataset)


class TestSkip:
    """Files that can't be read are left out beforehand on request."""

    @pytest.fixture
    def broken(self, table, tmp_path):
        """The table with a text and a missing file among the images."""
        (tmp_path / "text.png").write_text("no image")
        paths = table["file_paths"].tolist()
        paths[3], paths[20] = str(tmp_path / "text.png"), str(tmp_path / "gone.png")
        return table.assign(file_paths=paths)

    @pytest.mark.parametrize("cache", [None, "memory"])
    def test_the_others_are_there(self, broken, cache):
        """Images and labels are those of the rows that can be read."""
        dataset = image_dataset(
            broken, (8, 8), label_mode="int", on_error="skip", cache=cache, progress=False
        )

        readable = [row for row in range(24) if row not in (3, 20)]
        for _ in range(2):
            assert [LEVELS[row] for row in readable] == levels_of(dataset)
        labels = [int(label) for _, batch in dataset for label in batch]
        assert broken["targets"].iloc[readable].tolist() == labels
        assert broken["file_paths"].iloc[readable].tolist() == dataset.file_paths
        assert 1 == len(dataset)

    def test_what_was_skipped(self, broken):
        """The rows that were left out are told with the reason."""
        skipped = image_dataset(broken, (8, 8), on_error="skip", progress=False).skipped

        assert [broken.index[3], broken.index[20]] == list(skipped.index)
        assert "text.png" in skipped["reason"].iloc[0]
        assert "No such file" in skipped["reason"].iloc[1]

    def test_nothing_to_skip(self, table):
        """Where all can be read, nothing is skipped; without reading, nothing is known."""
        for on_error in ("raise", "skip"):
            dataset = image_dataset(table, (8, 8), on_error=on_error, progress=False)

            assert 0 == len(dataset.skipped)
            assert 24 == len(dataset.file_paths)

    def test_nothing_can_be_read(self, table):
        """A table of no readable images is refused."""
        with pytest.raises(ValueError, match="at least one image that can be read"):
            image_dataset(
                table.assign(file_paths="gone.png"), (8, 8), on_error="skip", progress=False
            )

    def test_unknown_word(self, table):
        """on_error is one of two words."""
        with pytest.raises(ValueError, match="`on_error` must be one of 'raise' or 'skip'"):
            image_dataset(table, (8, 8), on_error="ignore")
