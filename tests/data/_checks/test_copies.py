"""check_images: copies are reported, by their bytes or their looks, and nothing else."""

from checks import TILE, check, exif_of


from pathlib import Path

import io
import tracemalloc
import numpy as np
import pytest
from PIL import Image

from cnnkit.data._checks.duplicates import similar


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
    """Return `(row, problem, name of the other file)` for each reported copy."""
    found = problems[problems["problem"].isin(COPIES)]
    return [
        (row, problem, Path(other).name)
        for row, problem, other in found[["problem", "same_as"]].itertuples(name=None)
    ]


class TestCopies:
    """Copies are reported: the first file is kept, the later ones are copies."""

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
        """A rotated picture with an EXIF orientation looks like the upright one.

        Without the orientation, it does not.
        """
        upright = write_image("upright.png", tiles[2])
        stored = tiles[2].transpose(Image.Transpose.ROTATE_90)
        righted = write_image("righted.jpg", stored, exif=exif_of(6))
        aside = write_image("aside.jpg", stored)

        problems = check([upright, righted, aside])

        assert [(1, "near-duplicate", "upright.png")] == copies_in(problems)

    def test_only_the_same_bytes(self, originals, write_image, tiles):
        """near_duplicates=False reports identical files only."""
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
        """If a picture has two classes, both rows are reported, each with the other class."""
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
        """A table without problems has text columns, too."""
        problems = check([write_image("1.png", tiles[0])])

        assert 0 == len(problems)
        assert [] == list(problems["explanation"].str.len())

    def test_no_other_file_is_none(self, originals, write_image, tiles):
        """`same_as` is None for files that are not copies."""
        gray = write_image("gray.png", tiles[15].convert("L"))

        problems = check([originals[0], originals[0], gray])

        assert [str(originals[0]), None] == list(problems["same_as"])

    # Pillow warns of what is cut; whether the file can be read is what counts.
    @pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
    @pytest.mark.filterwarnings("ignore:Truncated File Read:UserWarning")
    @pytest.mark.parametrize("form", ["GIF", "TIFF"])
    def test_damage_behind_the_first_frame(self, tmp_path, form):
        """If the first frame can be read, damage to later ones does not matter."""
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
        """A copy is reported as a copy, even if a similar image has another class."""
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
        """Thousands of similar frames form one group, without a list of all pairs in memory."""
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
        """If each image looks like the next one, all form one group, in any order."""
        first = rng.choice(np.array([-1, 1], dtype=np.int8), 255)
        chain = [np.where(np.arange(255) < 40 * step, -first, first) for step in range(6)]
        order = [3, 0, 5, 1, 4, 2]

        groups = similar([chain[step] for step in order], np.arange(6))

        assert [0] * 6 == groups.tolist()

    def test_without_labels_nothing_conflicts(self, write_image, tiles):
        """In an unlabelled table copies are copies."""
        paths = [write_image("cat/1.png", tiles[0]), write_image("dog/1.png", tiles[0])]

        assert [(1, "duplicate", "1.png")] == copies_in(check(paths))
