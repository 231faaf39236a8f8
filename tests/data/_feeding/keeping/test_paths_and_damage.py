"""A cache file that is damaged, refused, or made of unreadable images."""

import os
import re
from pathlib import Path
import numpy as np
import pandas as pd
import pytest
from cnnkit.data import image_dataset
from cnnkit.exceptions import ImageReadError
from cache_files import LEVELS, levels_of, opened, beside


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
