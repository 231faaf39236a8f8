"""load_images: a table in memory, row by row, and a record of what could not be read."""

import io
import re
import sys
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cnnkit.data import LoadedImages, list_images, load_images, read_image
from cnnkit.data._feeding import keeping, sources
from cnnkit.exceptions import ImageReadError


def damage(path):
    """Put an image that is cut short in the place of another."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    Path(path).write_bytes(stream.getvalue()[: stream.tell() * 9 // 10])


@pytest.fixture
def damaged_table(level_table):
    """Five images, of which the third is cut short."""
    table = level_table([10, 20, 30, 40, 50], ["cat", "dog", "cat", "dog", "cat"])
    damage(table["file_paths"][2])
    return table


class TestImages:
    """Images stand in the order of the rows, as read_image reads them."""

    def test_equals_read_image(self, make_folder):
        """Every row is what read_image gives for its file."""
        table = list_images(make_folder({"cat": 3, "dog": 2}))
        expected = [read_image(path, (12, 10)) for path in table["file_paths"]]

        loaded = load_images(table, (12, 10), progress=False)

        assert isinstance(loaded, LoadedImages)
        assert np.uint8 == loaded.images.dtype
        np.testing.assert_array_equal(expected, loaded.images)

    def test_targets_and_class_names(self, level_table):
        """Class numbers and names are the table's."""
        table = level_table([1, 2, 3], ["dog", "cat", "dog"])

        loaded = load_images(table, (4, 4), progress=False)

        assert [1, 0, 1] == loaded.targets.tolist()
        assert np.int64 == loaded.targets.dtype
        assert ["cat", "dog"] == loaded.class_names
        pd.testing.assert_frame_equal(table, loaded.table)
        assert len(loaded.skipped) == 0

    @pytest.mark.parametrize("workers", [1, 2, 4])
    def test_order_does_not_depend_on_workers(self, level_table, workers):
        """However many threads read, row follows row."""
        levels = list(range(0, 250, 5))
        table = level_table(levels, ["a"] * 50)

        loaded = load_images(table, (4, 4), workers=workers, progress=False)

        assert levels == loaded.images[:, 0, 0, 0].tolist()

    def test_filtered_table(self, level_table):
        """A filtered, reordered table is loaded in its own order."""
        table = level_table([10, 20, 30, 40], ["a", "b", "a", "b"]).iloc[[3, 0, 2]]

        loaded = load_images(table, (4, 4), progress=False)

        assert [40, 10, 30] == loaded.images[:, 0, 0, 0].tolist()
        assert [1, 0, 0] == loaded.targets.tolist()
        assert ["a", "b"] == loaded.class_names

    def test_grayscale(self, level_table):
        """Grayscale images have one channel."""
        loaded = load_images(level_table([7], ["a"]), (4, 4), color_mode="grayscale")

        np.testing.assert_array_equal(np.full((1, 4, 4, 1), 7), loaded.images)

    def test_unlabelled_table(self, level_table):
        """A table without labels gives images, and None for the rest."""
        table = level_table([7, 8], ["a", "a"])[["file_paths"]]

        loaded = load_images(table, (4, 4), progress=False)

        assert loaded.targets is None
        assert loaded.class_names is None
        assert (2, 4, 4, 3) == loaded.images.shape

    def test_empty_table(self, level_table):
        """A table without rows gives no images, of the right shape."""
        loaded = load_images(level_table([], []), (4, 5), progress=False)

        assert (0, 4, 5, 3) == loaded.images.shape

    @pytest.mark.parametrize("progress", [True, False])
    def test_progress_is_shown_on_request(self, level_table, capsys, progress):
        """The bar goes to standard error, or nowhere."""
        load_images(level_table([1, 2], ["a", "a"]), (4, 4), progress=progress)

        shown = capsys.readouterr()
        assert progress == ("2/2" in shown.err)
        assert shown.out == ""


class TestUnreadable:
    """An unreadable file stops the work, or is skipped and reported."""

    def test_error_names_the_file_and_its_place(self, damaged_table):
        """The message has the path, the reason, and which of how many."""
        path = damaged_table["file_paths"][2]
        text = (
            rf"^Could not read {re.escape(repr(path))} as an image: .*truncated.*"
            r"\(file 3 of 5\)\.?$"
        )

        with pytest.raises(ImageReadError, match=text):
            load_images(damaged_table, (4, 4), progress=False)

    def test_place_is_counted_in_the_given_table(self, damaged_table):
        """In a filtered table the place is the row's own, not its index."""
        with pytest.raises(ImageReadError, match=r"\(file 1 of 3\)"):
            load_images(damaged_table.iloc[2:], (4, 4), progress=False)

    def test_error_is_an_os_error(self, damaged_table):
        """Who catches OSError, as for any file, catches this too."""
        with pytest.raises(OSError, match="file 3 of 5"):
            load_images(damaged_table, (4, 4), progress=False)

    def test_skipped_file_is_reported(self, damaged_table):
        """With on_error="skip" the row stands in `skipped`, with a reason that names it."""
        loaded = load_images(damaged_table, (4, 4), on_error="skip", progress=False)

        assert [2] == list(loaded.skipped.index)
        assert [*damaged_table.columns, "reason"] == list(loaded.skipped.columns)
        assert "level_030.png" in loaded.skipped["reason"][2]
        assert "truncated" in loaded.skipped["reason"][2]

    def test_the_rest_stays_aligned(self, damaged_table):
        """Images, targets and table leave the skipped row out alike."""
        loaded = load_images(damaged_table, (4, 4), on_error="skip", progress=False)

        assert [10, 20, 40, 50] == loaded.images[:, 0, 0, 0].tolist()
        assert [0, 1, 1, 0] == loaded.targets.tolist()
        assert [0, 1, 3, 4] == list(loaded.table.index)

    @pytest.mark.parametrize("workers", [1, 2, 4])
    @pytest.mark.parametrize(
        "damaged",
        [
            {0},
            {9},
            {4},
            {0, 9},
            {0, 1, 2},
            {7, 8, 9},
            {1, 3, 5, 7, 9},
            set(range(9)),
            set(range(10)),
        ],
        ids=str,
    )
    def test_wherever_the_unreadable_are(self, level_table, damaged, workers):
        """First, last, every other or all: images, targets and table close up, in order."""
        levels = [10 * row for row in range(10)]
        table = level_table(levels, ["a", "b"] * 5)
        for row in damaged:
            damage(table["file_paths"][row])
        kept = [row for row in range(10) if row not in damaged]

        loaded = load_images(table, (4, 4), on_error="skip", workers=workers, progress=False)

        expected = np.broadcast_to(
            np.reshape([levels[row] for row in kept], (-1, 1, 1, 1)), (len(kept), 4, 4, 3)
        )
        np.testing.assert_array_equal(expected, loaded.images)
        assert [row % 2 for row in kept] == loaded.targets.tolist()
        assert kept == loaded.table.index.tolist()
        assert sorted(damaged) == loaded.skipped.index.tolist()
        assert ["a", "b"] == loaded.class_names

    def test_rows_of_a_repeated_index_keep_their_reasons(self, level_table):
        """Every skipped row has the reason of its own file, whatever the index."""
        table = level_table([10, 20, 30, 40], ["a"] * 4).set_axis([5, 5, 6, 5])
        for row in (1, 3):
            damage(table["file_paths"].iloc[row])

        loaded = load_images(table, (4, 4), on_error="skip", progress=False)

        assert [5, 5] == loaded.skipped.index.tolist()
        assert ["level_020", "level_040"] == [
            re.search(r"level_\d+", reason)[0] for reason in loaded.skipped["reason"]
        ]

    def test_warning(self, level_table):
        """With on_error="warn" one warning has the counts and the first reason."""
        table = level_table([10, 20, 30], ["a", "b", "a"])
        for row in (1, 2):
            damage(table["file_paths"][row])
        text = (
            r"^2 of 3 images were left out\. Could not read '.*level_020\.png' as an image: .*trunc"
        )

        with pytest.warns(UserWarning, match=text) as caught:
            loaded = load_images(table, (4, 4), on_error="warn", progress=False)

        assert [__file__] == [warning.filename for warning in caught]
        assert [10] == loaded.images[:, 0, 0, 0].tolist()
        assert [1, 2] == loaded.skipped.index.tolist()

    @pytest.mark.parametrize("on_error", ["warn", "skip"])
    def test_no_warning_without_cause(self, level_table, damaged_table, on_error):
        """Nothing is said where all is read, or where "skip" was asked for."""
        table = damaged_table if on_error == "skip" else level_table([1, 2], ["a", "b"])

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            loaded = load_images(table, (4, 4), on_error=on_error, progress=False)

        assert len(table) == len(loaded.images) + len(loaded.skipped)

    def test_repeated_index_is_no_obstacle(self, damaged_table):
        """Rows are told apart by place, not by index."""
        table = damaged_table.set_axis([0] * 5)

        loaded = load_images(table, (4, 4), on_error="skip", progress=False)

        assert [10, 20, 40, 50] == loaded.images[:, 0, 0, 0].tolist()
        assert 1 == len(loaded.skipped)

    def test_given_table_is_unchanged(self, damaged_table):
        """The table that was handed in gets no further column."""
        before = damaged_table.copy()

        load_images(damaged_table, (4, 4), on_error="skip", progress=False)

        pd.testing.assert_frame_equal(before, damaged_table)


class TestMemory:
    """One block holds all images, and a warning comes before one that may not fit."""

    def test_skipping_makes_no_second_block(self, level_table):
        """What is returned is the front of the block that was read into."""
        table = level_table([10, 20, 30, 40], ["a"] * 4)
        damage(table["file_paths"][0])
        block = 4 * 1000 * 1000 * 3
        load_images(table, (8, 8), on_error="skip", progress=False)  # imports what it needs
        tracemalloc.start()
        try:
            loaded = load_images(table, (1000, 1000), on_error="skip", workers=1, progress=False)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert block == loaded.images.base.nbytes
        assert peak < block * 1.6  # one image on its way is a quarter of the block

    @pytest.mark.parametrize("free", [10 * 4 * 4 * 3 * 2 - 1, 1, 0])
    def test_warning_before_reading(self, level_table, monkeypatch, free):
        """More than half of what is free: the warning comes first and advises."""
        table = level_table(range(10), ["a"] * 10)
        monkeypatch.setattr(keeping, "free_memory", lambda: free)
        monkeypatch.setattr(sources, "read_image", None)
        text = r"^The images take 0\.0 GB of the 0\.0 GB of memory .* Use a smaller image_size, or"

        with (
            pytest.warns(UserWarning, match=text) as caught,
            pytest.raises(TypeError, match="not callable"),  # from reading, which is broken here
        ):
            load_images(table, (4, 4), progress=False)

        assert [__file__] == [warning.filename for warning in caught]

    def test_warning_that_is_an_error_stops_it(self, level_table, monkeypatch):
        """No file is read where warnings are errors."""
        read = []
        monkeypatch.setattr(keeping, "free_memory", lambda: 1)
        monkeypatch.setattr(sources, "read_image", lambda *args, **_: read.append(args))

        with pytest.raises(UserWarning, match="memory that are free"):
            load_images(level_table([1, 2], ["a", "a"]), (4, 4), progress=False)

        assert [] == read

    def test_numbers_of_the_warning(self, level_table, monkeypatch):
        """The need is counted from the size that was asked for, the rows and the channels."""
        monkeypatch.setattr(keeping, "free_memory", lambda: 16_000_000_000)
        text = r"^The images take 12\.0 GB of the 16\.0 GB"

        with pytest.raises(UserWarning, match=text):
            load_images(level_table([1, 2], ["a", "a"]), (20_000, 100_000), progress=False)

    @pytest.mark.parametrize("free", [10 * 4 * 4 * 3 * 2, 10**9, None])
    def test_no_warning(self, level_table, monkeypatch, free):
        """Half of what is free may be taken; where nobody tells, nothing is said."""
        monkeypatch.setattr(keeping, "free_memory", lambda: free)

        loaded = load_images(level_table(range(10), ["a"] * 10), (4, 4), progress=False)

        assert list(range(10)) == loaded.images[:, 0, 0, 0].tolist()

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells so")
    def test_free_memory(self):
        """The number lies between nothing and what the machine has."""
        total = re.search(r"MemTotal: *(\d+) kB", Path("/proc/meminfo").read_text("ascii"))[1]

        assert 2**20 < keeping.free_memory() < int(total) * 1024

    @pytest.mark.parametrize(
        "content", [None, "MemTotal: 5 kB\nMemFree: 4 kB\n", ""], ids=["missing", "old", "empty"]
    )
    def test_free_memory_unknown(self, monkeypatch, tmp_path, content):
        """Other systems, and old ones, don't tell."""
        if content is not None:
            (tmp_path / "meminfo").write_text(content)
        monkeypatch.setattr(keeping, "Path", lambda _: tmp_path / "meminfo")

        assert keeping.free_memory() is None


class TestArguments:
    """Wrong arguments are refused before any file is read."""

    def test_unknown_on_error(self, level_table):
        """What to do with unreadable files is one of three words."""
        text = r"^`on_error` must be one of 'raise', 'skip' or 'warn'\. Received: on_error='ignore'"

        with pytest.raises(ValueError, match=text):
            load_images(level_table([1], ["a"]), (4, 4), on_error="ignore")

    def test_unknown_color_mode(self, level_table):
        """Color modes are those of read_image."""
        with pytest.raises(ValueError, match=r"^`color_mode` must be one of 'rgb' or 'grayscale'"):
            load_images(level_table([1], ["a"]), (4, 4), color_mode="rgba")

    @pytest.mark.parametrize("image_size", [224, (224, 224, 3), (1.5, 2.0), "8x8", (0, 4), None])
    def test_image_size_of_the_wrong_form(self, level_table, image_size):
        """An array of images needs one size, a pair of whole numbers."""
        text = (
            r"^`image_size` must be a pair of whole numbers, .*Received: "
            rf"image_size={re.escape(repr(image_size))}\.$"
        )

        with pytest.raises(ValueError, match=text):
            load_images(level_table([1], ["a"]), image_size)

    @pytest.mark.parametrize("table", [["a.png"], None, "folder"])
    def test_no_table(self, table):
        """Something else than a table is refused by its type."""
        text = (
            r"^`table` must be a DataFrame with the columns file_paths\. "
            rf"Received: {type(table).__name__}\. `list_images` makes one\.$"
        )

        with pytest.raises(ValueError, match=text):
            load_images(table, (4, 4))

    def test_table_of_other_columns(self):
        """A table without file paths is refused by its columns."""
        with pytest.raises(ValueError, match=r"Received: \['path', 'label'\]"):
            load_images(pd.DataFrame({"path": ["a.png"], "label": [0]}), (4, 4))
