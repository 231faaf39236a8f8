"""check_images: what is wrong with a file is told, and nothing is told of a good one."""

from pathlib import Path

import io
import tracemalloc
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from cnnkit.data._checks.duplicates import similar
from cnnkit.data import check_images, list_images

TILE = 96


@pytest.fixture(scope="module")
def all_tiles():
    """All pictures that can be cut side by side from two photos, plain sky among them."""
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    corners = [(x, y) for y in range(0, 4 * TILE, TILE) for x in range(0, 6 * TILE, TILE)]
    return [photo.crop((x, y, x + TILE, y + TILE)) for photo in photos for x, y in corners]


@pytest.fixture(scope="module")
def tiles(all_tiles):
    """The sixteen pictures of most contrast."""
    return sorted(all_tiles, key=lambda tile: -np.std(tile.convert("L")))[:16]


def table_of(paths, names=None, index=None):
    table = pd.DataFrame({"file_paths": [str(path) for path in paths]}, index=index)
    if names is None:
        return table
    target_names = pd.Categorical(names)
    return table.assign(target_names=target_names, targets=target_names.codes.astype("int64"))


def check(paths, names=None, **options):
    return check_images(table_of(paths, names), progress=False, **options)


def told_of(path):
    """Return what is told of one file: explanations by problem."""
    problems = check([path])
    explanations = [explanation.rstrip(".") for explanation in problems["explanation"]]
    return dict(zip(problems["problem"], explanations, strict=True))


def exif_of(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def cut_short(path):
    """Take away the second half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


class TestUnread:
    """What can't be read is told, with the reason and as an error."""

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
            (b"no image at all", "it is not of a kind that Pillow knows"),
            (b"", "it is empty"),
            (
                b"version https://git-lfs.github.com/spec/v1\n",
                "it is a pointer of Git LFS; `git lfs pull` gets the image",
            ),
        ],
    )
    def test_not_an_image(self, tmp_path, content, reason):
        """Text under an image's name is no image."""
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
    """What is read well but may be a mistake is a note."""

    def test_nothing_to_tell(self, write_image, tiles):
        """Of good pictures of every common kind, nothing is told."""
        suffixes = ("jpg", "jpeg", "png", "bmp", "tif", "webp", "ppm", "avif", "jp2")
        paths = [
            write_image(f"{suffix}.{suffix}", tile)
            for suffix, tile in zip(suffixes, tiles, strict=False)
        ]

        assert 0 == len(check(paths))

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_orientation(self, write_image, tiles, orientation):
        """Every EXIF orientation but the upright one is told."""
        path = write_image("1.jpg", tiles[0], exif=exif_of(orientation))

        expected = {} if orientation == 1 else {"rotated": f"EXIF orientation {orientation}"}
        assert expected == told_of(path)

    @pytest.mark.parametrize("orientation", [0, 9])
    def test_orientation_that_there_is_not(self, write_image, tiles, orientation):
        """A number without a meaning turns nothing, and nothing is told."""
        assert {} == told_of(write_image("1.jpg", tiles[0], exif=exif_of(orientation)))

    @pytest.mark.parametrize(("suffix", "kind"), [("PNG", "JPEG"), ("jpg", "PNG"), ("gif", "BMP")])
    def test_wrong_extension(self, write_image, tiles, suffix, kind):
        """A name that ends like another kind of image is told."""
        path = write_image(f"1.{suffix}", tiles[0], format=kind)

        assert {"wrong extension": f"{kind} as '.{suffix.lower()}'"} == told_of(path)

    @pytest.mark.parametrize("suffix", ["JPG", "jpe", "jfif", "Jpeg"])
    def test_right_extensions(self, write_image, tiles, suffix):
        """All extensions of a kind are right, in any case."""
        assert {} == told_of(write_image(f"1.{suffix}", tiles[0], format="JPEG"))

    @pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
    def test_animated(self, write_image, tiles, suffix):
        """A file of several frames is told; one of a single frame is not."""
        moving = write_image(f"2.{suffix}", tiles[0], save_all=True, append_images=tiles[1:3])
        still = write_image(f"1.{suffix}", tiles[0], save_all=True)

        assert "3 frames, the first is read" == told_of(moving)["animated"]
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
        """Every mode but RGB is told by what it is."""
        path = write_image(f"1.{suffix}", tiles[0].convert("L").convert(mode))

        assert {"unusual mode": explanation} == told_of(path)

    @pytest.mark.parametrize(
        ("kind", "suffix", "explanation"),
        [("uint16", "png", "16-bit gray"), ("int32", "tif", "32-bit integers")],
    )
    def test_high_depth(self, write_image, tiles, kind, suffix, explanation):
        """More than 8 bits are told, by how many."""
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
        """Width and height are told if a side is below 32 or four times the other."""
        assert expected == told_of(write_image("1.png", tiles[0].resize(size)))

    @pytest.mark.parametrize("color", ["black", "white", "firebrick"])
    def test_blank(self, write_image, tiles, color):
        """An image of one color is told."""
        path = write_image("1.png", Image.new("RGB", (64, 64), color))

        assert {"blank": "nearly all of one gray"} == told_of(path)

    def test_blank_images_are_not_near(self, write_image):
        """Blank images of several colors are no copies of each other."""
        paths = [
            write_image(f"{color}.png", Image.new("RGB", (64, 64), color))
            for color in ("black", "white", "red")
        ]

        assert ["blank"] * 3 == list(check(paths)["problem"])

    def test_several_problems_of_one_file(self, write_image, tiles):
        """Every problem of a file is told, in one row each, under the file's index."""
        path = write_image("1.jpg", tiles[0].convert("LA").resize((20, 90)), format="PNG")

        problems = check_images(table_of([path], index=["row"]), progress=False)

        expected = ["wrong extension", "unusual mode", "tiny", "extreme aspect ratio"]
        assert expected == list(problems["problem"])
        assert ["row"] * 4 == list(problems.index)


class TestTable:
    """What is returned is ordered, indexed like the table, and the table is left alone."""

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
        """In an empty table nothing is wrong."""
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
    """What is no table of images is refused."""

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


CHANGES = {
    "half the size": lambda tile: tile.resize((TILE // 2, TILE // 2)),
    "another aspect": lambda tile: tile.resize((TILE, TILE * 3 // 4)),
    "brighter": lambda tile: tile.point(lambda level: min(255, round(1.2 * level))),
    "gray": lambda tile: tile.convert("L"),
    "palette": lambda tile: tile.quantize(64),
    "a little cropped": lambda tile: tile.crop((1, 1, TILE - 1, TILE - 1)),
}
COPIES = ["duplicate", "near-duplicate", "conflicting labels", "conflicting near-duplicate"]


def copies_in(problems):
    """Return `(row, problem, name of the other file)` of what stands twice."""
    found = problems[problems["problem"].isin(COPIES)]
    return [
        (row, problem, Path(other).name)
        for row, problem, other in found[["problem", "same_as"]].itertuples(name=None)
    ]


class TestCopies:
    """What stands in a table twice is told: the first file is kept, the later ones are copies."""

    @pytest.fixture
    def originals(self, write_image, tiles):
        return [write_image(f"original {row}.png", tile) for row, tile in enumerate(tiles)]

    def test_distinct_pictures(self, write_image, all_tiles):
        """Pictures of other things are no copies, even if cut from one photo."""
        paths = [write_image(f"{row}.png", tile) for row, tile in enumerate(all_tiles)]

        assert [] == copies_in(check(paths))

    def test_same_bytes(self, originals, tmp_path):
        """Every later file with the same bytes names the first."""
        for name in ("b.png", "c.jpg"):
            (tmp_path / name).write_bytes(originals[3].read_bytes())

        problems = check([*originals, tmp_path / "b.png", tmp_path / "c.jpg"])

        rows = [16, 17]
        expected = [(row, "duplicate", "original 3.png") for row in rows]
        assert expected == copies_in(problems)
        assert {"the same bytes"} == set(problems.loc[problems["same_as"].notna(), "explanation"])

    def test_first_in_the_table_is_kept(self, write_image, tiles):
        """Which file is the first is a matter of rows, not of names or sizes."""
        paths = [write_image("z.png", tiles[0]), write_image("a.png", tiles[0])]

        assert [(1, "duplicate", "z.png")] == copies_in(check(paths))
        assert [(1, "duplicate", "a.png")] == copies_in(check(paths[::-1]))

    def test_one_file_twice(self, originals):
        """A row that repeats a file is a copy."""
        assert [(1, "duplicate", "original 0.png")] == copies_in(check([originals[0]] * 2))

    def test_files_of_one_size(self, write_image, tiles):
        """Files of one length and other bytes are no copies."""
        paths = [write_image(f"{row}.bmp", tile) for row, tile in enumerate(tiles)]

        assert 1 == len({path.stat().st_size for path in paths})
        assert [] == copies_in(check(paths))

    @pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
    def test_changed(self, originals, write_image, tiles, change):
        """A changed picture looks like its original and like no other."""
        changed = [write_image(f"{row}.png", change(tile)) for row, tile in enumerate(tiles)]

        expected = [(16 + row, "near-duplicate", f"original {row}.png") for row in range(16)]
        assert expected == copies_in(check([*originals, *changed]))

    @pytest.mark.parametrize(
        ("suffix", "options"),
        [("jpg", {"quality": 50}), ("webp", {"quality": 50}), ("bmp", {}), ("gif", {})],
    )
    def test_another_format(self, originals, write_image, tiles, suffix, options):
        """A picture saved in another format looks like its original and like no other."""
        saved = [write_image(f"{row}.{suffix}", tile, **options) for row, tile in enumerate(tiles)]

        expected = [(16 + row, "near-duplicate", f"original {row}.png") for row in range(16)]
        assert expected == copies_in(check([*originals, *saved]))

    def test_turned_by_exif(self, write_image, tiles):
        """A picture stored on its side with the orientation to right it looks like the upright one.

        Stored alike and shown on its side, it does not.
        """
        upright = write_image("upright.png", tiles[2])
        stored = tiles[2].transpose(Image.Transpose.ROTATE_90)
        righted = write_image("righted.jpg", stored, exif=exif_of(6))
        aside = write_image("aside.jpg", stored)

        problems = check([upright, righted, aside])

        assert [(1, "near-duplicate", "upright.png")] == copies_in(problems)

    def test_only_the_same_bytes(self, originals, write_image, tiles):
        """near_duplicates=False tells of identical files alone."""
        paths = [*originals, write_image("small.png", tiles[0].resize((48, 48))), originals[1]]

        problems = check(paths, near_duplicates=False)

        assert [(17, "duplicate", "original 1.png")] == copies_in(problems)

    def test_same_bytes_before_looks(self, write_image, tiles):
        """Among copies of both kinds, each row names the file with its own bytes."""
        large, small = tiles[0], tiles[0].resize((48, 48))
        pictures = {"1.png": large, "2.png": small, "3.png": large, "4.png": small}

        problems = check([write_image(name, picture) for name, picture in pictures.items()])

        expected = [(2, "duplicate", "1.png"), (3, "duplicate", "2.png")]
        assert [*expected, (1, "near-duplicate", "1.png")] == copies_in(problems)

    def test_copies_of_what_is_no_image(self, tmp_path):
        """Files that can't be read are copies by their bytes, and missing ones are not."""
        for name in ("1.jpg", "2.jpg"):
            (tmp_path / name).write_text("no image")
        paths = [tmp_path / name for name in ("1.jpg", "2.jpg", "gone.jpg", "lost.jpg")]

        assert [(1, "duplicate", "1.jpg")] == copies_in(check(paths))

    @pytest.mark.parametrize("size", [(96, 96), (48, 48)], ids=["identical", "near"])
    def test_conflicting_labels(self, write_image, tiles, size):
        """A picture under two classes is told of both rows, each with the other's class."""
        paths = [
            write_image("cat/1.png", tiles[0]),
            write_image("cat/2.png", tiles[1]),
            write_image("dog/1.png", tiles[0].resize(size)),
        ]

        problems = check(paths, ["cat", "cat", "dog"])

        problem, same = (
            ("conflicting labels", "the same bytes")
            if size == (96, 96)
            else ("conflicting near-duplicate", "looks nearly the same")
        )
        assert [problem] * 2 == list(problems["problem"])
        assert [0, 2] == list(problems.index)
        assert [f"{same} as a 'dog'", f"{same} as a 'cat'"] == list(problems["explanation"])
        assert [str(paths[2]), str(paths[0])] == list(problems["same_as"])

    def test_nothing_to_tell(self, write_image, tiles):
        """The table of no problems has text columns too, and no copy is None."""
        problems = check([write_image("1.png", tiles[0])])

        assert 0 == len(problems)
        assert [] == list(problems["explanation"].str.len())

    def test_no_other_file_is_none(self, originals, write_image, tiles):
        """What is no copy of another file has None for it, also beside copies."""
        gray = write_image("gray.png", tiles[15].convert("L"))

        problems = check([originals[0], originals[0], gray])

        assert [str(originals[0]), None] == list(problems["same_as"])

    # Pillow warns of what is cut; whether the file can be read is what counts.
    @pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
    @pytest.mark.filterwarnings("ignore:Truncated File Read:UserWarning")
    @pytest.mark.parametrize("form", ["GIF", "TIFF"])
    def test_damage_behind_the_first_frame(self, tmp_path, form):
        """What can be read is checked, wherever the rest of the frames is cut."""
        picture = Image.radial_gradient("L").resize((32, 32)).convert("RGB")
        stream = io.BytesIO()
        picture.save(stream, form, save_all=True, append_images=[picture.rotate(90)] * 2)
        data = stream.getvalue()
        path = tmp_path / f"cut.{form.lower()}"
        for place in range(len(data) // 4, len(data), max(1, len(data) // 60)):
            path.write_bytes(data[:place])

            assert set(check([path])["problem"]) <= {
                *("damaged", "not an image", "animated", "unusual mode", "blank"),
            }

    def test_labels_conflict_in_all_rows(self, write_image, tiles):
        """Of three identical files under two classes, every row is an error."""
        paths = [write_image(f"{row}.png", tiles[0]) for row in range(3)]

        problems = check(paths, ["cat", "cat", "dog"])

        assert ["conflicting labels"] * 3 == list(problems["problem"])

    def test_copies_beside_a_conflict(self, write_image, tiles):
        """A copy is told as one, whatever else looks like it under another class."""
        paths = [
            write_image("cat/1.png", tiles[0]),
            write_image("cat/2.png", tiles[0]),
            write_image("dog/1.png", tiles[0].resize((48, 48))),
        ]

        problems = check(paths, ["cat", "cat", "dog"])

        expected = [
            (1, "duplicate", "1.png"),
            (0, "conflicting near-duplicate", "1.png"),
            (2, "conflicting near-duplicate", "1.png"),
        ]
        assert expected == copies_in(problems)

    def test_many_alike(self, rng):
        """The frames of a camera that doesn't move are one group, and need no list of pairs."""
        scene = rng.choice(np.array([-1, 1], dtype=np.int8), 255)
        others = rng.choice(np.array([-1, 1], dtype=np.int8), (200, 255))
        looks = [*others, *([scene] * 4000)]
        tracemalloc.start()

        groups = similar(looks, np.arange(len(looks)))

        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(np.unique(groups)) == 201
        assert peak < 100e6  # a list of 8 million pairs of numbers takes 128 MB

    def test_chains_are_one_group(self, rng):
        """Each looks like the next: all belong together, in whatever order they come."""
        first = rng.choice(np.array([-1, 1], dtype=np.int8), 255)
        chain = [np.where(np.arange(255) < 40 * step, -first, first) for step in range(6)]
        order = [3, 0, 5, 1, 4, 2]

        groups = similar([chain[step] for step in order], np.arange(6))

        assert [0] * 6 == groups.tolist()

    def test_without_labels_nothing_conflicts(self, write_image, tiles):
        """In an unlabelled table copies are copies."""
        paths = [write_image("cat/1.png", tiles[0]), write_image("dog/1.png", tiles[0])]

        assert [(1, "duplicate", "1.png")] == copies_in(check(paths))
