"""check_images: problems of files are reported, and good files are not."""

from checks import table_of, check, exif_of


import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cnnkit.data import check_images, list_images


def told_of(path):
    """Return what is reported for one file: explanations by problem."""
    problems = check([path])
    explanations = [explanation.rstrip(".") for explanation in problems["explanation"]]
    return dict(zip(problems["problem"], explanations, strict=True))


def cut_short(path):
    """Take away the second half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


class TestUnread:
    """Unreadable files are reported as errors, with the reason."""

    @pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tif"])
    def test_cut_short(self, write_image, tiles, suffix):
        """An image that ends too early is damaged; the whole one is not."""
        whole = write_image(f"whole.{suffix}", tiles[0])
        cut = cut_short(write_image(f"cut.{suffix}", tiles[1]))

        problems = check([whole, cut])

        assert [("damaged", "error", str(cut))] == list(
            zip(problems["problem"], problems["severity"], problems["file_paths"], strict=True)
        )

    def test_flipped_bytes(self, write_image, tiles):
        """A PNG whose checksum is wrong is damaged."""
        path = write_image("flipped.png", tiles[0])
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(content)

        assert ["damaged"] == list(told_of(path))

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"no image at all", "Pillow does not recognize its format"),
            (b"", "it is empty"),
            (
                b"version https://git-lfs.github.com/spec/v1\n",
                "it is a Git LFS pointer; run `git lfs pull` to download the image",
            ),
        ],
    )
    def test_not_an_image(self, tmp_path, content, reason):
        """A text file with an image extension is reported."""
        path = tmp_path / "1.jpg"
        path.write_bytes(content)

        assert {"not an image": reason} == told_of(path)

    def test_missing(self, tmp_path):
        """A file that isn't there can't be read."""
        assert {"unreadable": "No such file or directory"} == told_of(tmp_path / "gone.png")

    def test_no_permission(self, write_image, tiles, monkeypatch):
        """A file that may not be opened can't be read, and the others are read."""
        paths = [write_image("mine.png", tiles[0]), write_image("locked.png", tiles[1])]
        opened = open

        def refuse(path, *args, **options):
            if str(path).endswith("locked.png"):
                raise PermissionError(13, "Permission denied", str(path))
            return opened(path, *args, **options)

        monkeypatch.setattr("builtins.open", refuse)
        monkeypatch.setattr("io.open", refuse)

        problems = check(paths)

        assert [(1, "unreadable")] == list(problems[["problem"]].itertuples(name=None))
        assert problems["explanation"].iloc[0].startswith("Permission denied")

    def test_folder(self, tmp_path):
        """A folder can't be read."""
        assert ["unreadable"] == list(told_of(tmp_path))

    def test_too_many_pixels(self, write_image, tiles, monkeypatch):
        """More pixels than Pillow's limit are not decoded."""
        path = write_image("bomb.png", tiles[0])
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)

        told = told_of(path)
        assert ["unreadable"] == list(told)
        assert "exceeds limit of 2000 pixels" in told["unreadable"]


class TestNotes:
    """Images that can be read but may be a mistake give notes."""

    def test_nothing_to_tell(self, write_image, tiles):
        """For good pictures in all common formats, nothing is reported."""
        suffixes = ("jpg", "jpeg", "png", "bmp", "tif", "webp", "ppm", "avif", "jp2")
        paths = [
            write_image(f"{suffix}.{suffix}", tile)
            for suffix, tile in zip(suffixes, tiles, strict=False)
        ]

        assert 0 == len(check(paths))

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_orientation(self, write_image, tiles, orientation):
        """Every EXIF orientation except the upright one is reported."""
        path = write_image("1.jpg", tiles[0], exif=exif_of(orientation))

        expected = {} if orientation == 1 else {"rotated": f"EXIF orientation {orientation}"}
        assert expected == told_of(path)

    @pytest.mark.parametrize("orientation", [0, 9])
    def test_orientation_that_there_is_not(self, write_image, tiles, orientation):
        """An invalid orientation has no effect and is not reported."""
        assert {} == told_of(write_image("1.jpg", tiles[0], exif=exif_of(orientation)))

    @pytest.mark.parametrize(("suffix", "kind"), [("PNG", "JPEG"), ("jpg", "PNG"), ("gif", "BMP")])
    def test_wrong_extension(self, write_image, tiles, suffix, kind):
        """An extension that does not match the format is reported."""
        path = write_image(f"1.{suffix}", tiles[0], format=kind)

        assert {"wrong extension": f"{kind} as '.{suffix.lower()}'"} == told_of(path)

    @pytest.mark.parametrize("suffix", ["JPG", "jpe", "jfif", "Jpeg"])
    def test_right_extensions(self, write_image, tiles, suffix):
        """All extensions of a kind are right, in any case."""
        assert {} == told_of(write_image(f"1.{suffix}", tiles[0], format="JPEG"))

    @pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
    def test_animated(self, write_image, tiles, suffix):
        """A file with several frames is reported; one with a single frame is not."""
        moving = write_image(f"2.{suffix}", tiles[0], save_all=True, append_images=tiles[1:3])
        still = write_image(f"1.{suffix}", tiles[0], save_all=True)

        assert "3 frames, of which the first is read" == told_of(moving)["animated"]
        assert "animated" not in told_of(still)

    @pytest.mark.parametrize(
        ("mode", "suffix", "explanation"),
        [
            ("RGBA", "png", "transparency"),
            ("LA", "png", "gray with transparency"),
            ("P", "png", "palette"),
            ("1", "png", "black and white"),
            ("L", "jpg", "gray"),
            ("CMYK", "jpg", "CMYK"),
            ("F", "tif", "floats"),
        ],
    )
    def test_unusual_mode(self, write_image, tiles, mode, suffix, explanation):
        """Every mode other than RGB is reported by its name."""
        path = write_image(f"1.{suffix}", tiles[0].convert("L").convert(mode))

        assert {"unusual mode": explanation} == told_of(path)

    @pytest.mark.parametrize(
        ("kind", "suffix", "explanation"),
        [("uint16", "png", "16-bit gray"), ("int32", "tif", "32-bit integers")],
    )
    def test_high_depth(self, write_image, tiles, kind, suffix, explanation):
        """More than 8 bits are reported with their number."""
        levels = np.asarray(tiles[0].convert("L"), dtype=kind) * 257

        assert {"unusual mode": explanation} == told_of(write_image(f"1.{suffix}", levels))

    @pytest.mark.parametrize(
        ("size", "expected"),
        [
            ((31, 60), {"tiny": "31x60 pixels"}),
            ((60, 31), {"tiny": "60x31 pixels"}),
            ((32, 32), {}),
            ((32, 128), {}),
            ((32, 129), {"extreme aspect ratio": "32x129 pixels"}),
            ((129, 32), {"extreme aspect ratio": "129x32 pixels"}),
            ((10, 50), {"tiny": "10x50 pixels", "extreme aspect ratio": "10x50 pixels"}),
        ],
    )
    def test_size(self, write_image, tiles, size, expected):
        """The size is reported if a side is below 32, or more than four times the other."""
        assert expected == told_of(write_image("1.png", tiles[0].resize(size)))

    @pytest.mark.parametrize("color", ["black", "white", "firebrick"])
    def test_blank(self, write_image, tiles, color):
        """An image of a single color is reported."""
        path = write_image("1.png", Image.new("RGB", (64, 64), color))

        assert {"blank": "nearly a single gray level"} == told_of(path)

    def test_blank_images_are_not_near(self, write_image):
        """Blank images of several colors are no copies of each other."""
        paths = [
            write_image(f"{color}.png", Image.new("RGB", (64, 64), color))
            for color in ("black", "white", "red")
        ]

        assert ["blank"] * 3 == list(check(paths)["problem"])

    def test_several_problems_of_one_file(self, write_image, tiles):
        """Every problem of a file has its own row, with the file's index."""
        path = write_image("1.jpg", tiles[0].convert("LA").resize((20, 90)), format="PNG")

        problems = check_images(table_of([path], index=["row"]), progress=False)

        expected = ["wrong extension", "unusual mode", "tiny", "extreme aspect ratio"]
        assert expected == list(problems["problem"])
        assert ["row"] * 4 == list(problems.index)


class TestTable:
    """The result is ordered and indexed like the table, which does not change."""

    @pytest.fixture
    def mixed(self, write_image, tiles):
        """A table of four good files among others, oddly ordered and indexed."""
        kinds = {
            "good 1": write_image("a/1.png", tiles[1]),
            "cut": cut_short(write_image("a/cut.jpg", tiles[2])),
            "good 2": write_image("a/2.jpg", tiles[3]),
            "copy": write_image("a/copy.png", tiles[1]),
            "gray": write_image("b/gray.png", tiles[4].convert("L")),
            "small": write_image("b/small.png", tiles[0].resize((48, 48))),
            "turned": write_image("b/turned.jpg", tiles[5], exif=exif_of(6)),
            "large": write_image("b/large.png", tiles[0]),
            "gone": "gone.png",
            "cat": write_image("a/cat.png", tiles[6]),
            "dog": write_image("b/dog.png", tiles[6]),
        }
        names = ["a"] * 4 + ["b"] * 4 + ["a", "a", "b"]
        return table_of(kinds.values(), names, index=list(kinds))

    def test_worst_first(self, mixed):
        """Errors come before copies before notes, and like problems in the table's order."""
        problems = check_images(mixed, progress=False)

        expected = [
            ("gone", "unreadable", "error"),
            ("cut", "damaged", "error"),
            ("cat", "conflicting labels", "error"),
            ("dog", "conflicting labels", "error"),
            ("copy", "duplicate", "copy"),
            ("large", "near-duplicate", "likeness"),
            ("turned", "rotated", "note"),
            ("gray", "unusual mode", "note"),
        ]
        assert expected == list(problems[["problem", "severity"]].itertuples(name=None))

    def test_categories_are_ordered(self, mixed):
        """Problems and severities can be compared, the worst being the least."""
        problems = check_images(mixed, progress=False)

        assert problems["problem"].cat.ordered
        assert problems["severity"].cat.ordered
        assert ["error", "copy", "likeness", "note"] == list(problems["severity"].cat.categories)
        assert 5 == (problems["severity"] <= "copy").sum()
        assert problems["problem"].is_monotonic_increasing

    def test_dropping_by_the_index(self, mixed):
        """What is left after errors and copies are dropped is exactly the good files."""
        problems = check_images(mixed, progress=False)

        clean = mixed.drop(problems.query("severity in ['error', 'copy']").index)

        assert ["good 1", "good 2", "gray", "small", "turned", "large"] == list(clean.index)
        assert {"likeness", "note"} == set(check_images(clean, progress=False)["severity"])

    def test_dropping_by_the_index_of_a_likeness(self, mixed):
        """Dropping what looks the same as well leaves one of each."""
        problems = check_images(mixed, progress=False)

        clean = mixed.drop(problems.query("severity != 'note'").index)

        assert ["good 1", "good 2", "gray", "small", "turned"] == list(clean.index)
        assert {"note"} == set(check_images(clean, progress=False)["severity"])

    def test_columns(self, mixed):
        """The columns are those of the documentation, and the paths those of the rows."""
        problems = check_images(mixed, progress=False)

        expected = ["problem", "severity", "explanation", "same_as", "file_paths"]
        assert expected == list(problems.columns)
        assert list(mixed.loc[problems.index, "file_paths"]) == list(problems["file_paths"])

    def test_same_as_is_none_without_a_copy(self, mixed):
        """Only copies and conflicting labels name another file."""
        problems = check_images(mixed, progress=False)

        expected = ["conflicting labels"] * 2 + ["duplicate", "near-duplicate"]
        assert expected == list(problems.loc[problems["same_as"].notna(), "problem"])
        assert problems.loc[problems["severity"] == "note", "same_as"].isna().all()

    def test_table_is_left_alone(self, mixed):
        """Neither rows nor columns of the table change."""
        before = mixed.copy(deep=True)

        check_images(mixed, progress=False)

        pd.testing.assert_frame_equal(before, mixed)

    @pytest.mark.parametrize("workers", [2, 4, None])
    def test_workers_change_nothing(self, mixed, workers):
        """Any number of threads finds the same, in the same order."""
        expected = check_images(mixed, workers=1, progress=False)

        actual = check_images(mixed, workers=workers, progress=False)

        pd.testing.assert_frame_equal(expected, actual)

    def test_empty_table(self):
        """An empty table has no problems."""
        problems = check([])

        assert ["problem", "severity", "explanation", "same_as", "file_paths"] == list(problems)
        assert 0 == len(problems)

    def test_table_of_a_folder(self, make_folder):
        """A table of list_images is taken as it is; noise of 16 pixels is tiny only."""
        problems = check_images(list_images(make_folder({"cat": 3, "dog": 2})), progress=False)

        assert ["tiny"] * 5 == list(problems["problem"])
        assert list(range(5)) == list(problems.index)

    def test_progress(self, mixed, capfd):
        """A bar is shown on stderr."""
        check_images(mixed, progress=True)

        output = capfd.readouterr()
        assert "checking images: 100%" in output.err
        assert f"{len(mixed)}/{len(mixed)}" in output.err
        assert "" == output.out

    def test_no_progress(self, mixed, capfd):
        """Without progress nothing at all is written."""
        check_images(mixed, progress=False)

        assert ("", "") == tuple(capfd.readouterr())


class TestErrors:
    """Anything but a table of images is refused."""

    def test_repeated_index(self, write_image, tiles):
        """Rows that can't be told apart can't be dropped."""
        path = write_image("1.png", tiles[0])
        text = r"^`table` must have a unique index.*Received: .*Call table\.reset_index\(drop=True"

        with pytest.raises(ValueError, match=text):
            check_images(table_of([path, path], index=[3, 3]), progress=False)

    def test_no_table(self):
        """A list of paths is refused by its type."""
        with pytest.raises(ValueError, match=r"^`table` must be a DataFrame .*Received: list"):
            check_images(["1.png"])

    def test_contradictory_labels(self, write_image, tiles):
        """Numbers that aren't the codes of the names are refused."""
        table = table_of([write_image("1.png", tiles[0])], ["a"]).assign(targets=7)

        with pytest.raises(ValueError, match=r"Received: numbers that are not the codes"):
            check_images(table, progress=False)

    @pytest.mark.parametrize("workers", [0, -1, True])
    def test_workers(self, workers):
        """At least one thread is needed."""
        text = rf"^`workers` must be a whole number of at least 1\. Received: workers={workers}\.$"

        with pytest.raises(ValueError, match=text):
            check([], workers=workers)
