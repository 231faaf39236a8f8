"""find_leaks: images in more than one part of a split are found, and nothing else."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from cnnkit.data import Split, find_leaks, split_table

PARTS = ["train", "validation", "test"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths by name: ten pictures as `0.png`, each also of half the size as `0 small.png`."""
    folder = tmp_path_factory.mktemp("tiles")
    photo = Image.fromarray(load_sample_images().images[0])
    paths = {}
    for number in range(10):
        x, y = 96 * (number % 5), 192 + 96 * (number // 5)
        tile = photo.crop((x, y, x + 96, y + 96))
        for name, picture in {f"{number}": tile, f"{number} small": tile.resize((48, 48))}.items():
            paths[name] = str(folder / f"{name}.png")
            picture.save(paths[name])
    return paths


def split_of(files, **names):
    """A split of the named files, each row indexed by its part and name."""
    return Split(
        *(
            pd.DataFrame(
                {"file_paths": [files[name] for name in names.get(part, [])]},
                index=[f"{part} {name}" for name in names.get(part, [])],
            )
            for part in PARTS
        )
    )


COLUMNS = ["kind", "part", "other_part", "other_path"]


def leaks_of(split, **options):
    """Return what find_leaks finds, in short."""
    leaks = find_leaks(split, progress=False, **options)
    return [
        (index, kind, part, other_part, Path(other).stem)
        for index, kind, part, other_part, other in leaks[COLUMNS].itertuples()
    ]


SAME, NEARLY = "the same bytes", "looks nearly the same"
PAIRS = [("train", "validation"), ("train", "test"), ("validation", "test")]


class TestFound:
    """A leak is an image of one part that a later part has too."""

    @pytest.mark.parametrize(("part", "later"), PAIRS)
    def test_same_bytes(self, files, part, later):
        """The same file in two parts is one leak, at the row of the earlier part."""
        split = split_of(files, **{part: ["0", "1", "2"], later: ["3", "1"]})

        assert [(f"{part} 1", SAME, part, later, "1")] == leaks_of(split)

    @pytest.mark.parametrize(("part", "later"), PAIRS)
    def test_near(self, files, part, later):
        """A resized copy in another part is a leak."""
        split = split_of(files, **{part: ["0", "1", "2"], later: ["3", "1 small"]})

        assert [(f"{part} 1", NEARLY, part, later, "1 small")] == leaks_of(split)

    def test_all_three_parts(self, files):
        """An image in all parts leaks from each part into each later one."""
        split = split_of(files, train=["4"], validation=["4 small"], test=["4"])

        expected = [
            ("train 4", NEARLY, "train", "validation", "4 small"),
            ("train 4", SAME, "train", "test", "4"),
            ("validation 4 small", NEARLY, "validation", "test", "4"),
        ]
        assert expected == leaks_of(split)

    def test_every_row_is_listed(self, files):
        """Two copies in train that test has too are two leaks, each with its nearest copy."""
        split = split_of(files, train=["5", "0", "5 small"], test=["5", "1", "5 small"])

        expected = [
            ("train 5", SAME, "train", "test", "5"),
            ("train 5 small", SAME, "train", "test", "5 small"),
        ]
        assert expected == leaks_of(split)

    def test_nothing_inside_one_part(self, files):
        """Copies within one part are no leak."""
        split = split_of(files, train=["0", "0", "0 small"], validation=["1", "1"], test=["2"])
        split = Split(*(part.reset_index(drop=True) for part in split))

        assert [] == leaks_of(split)

    def test_repeated_index(self, files):
        """Where the index can't name a row, dropping by it would drop others."""
        split = split_of(files, train=["0", "0"], test=["2"])

        with pytest.raises(ValueError, match="must have a unique index"):
            find_leaks(split, progress=False)

    @pytest.mark.parametrize("make", [list, lambda split: split[:2], lambda split: split.train])
    def test_other_than_a_split(self, files, make):
        """Two tables, a list or a single table are refused with what to make."""
        split = split_of(files, train=["0"], test=["2"])

        with pytest.raises(TypeError, match=r"must be a Split.*Split\(train, validation, test\)"):
            find_leaks(make(split), progress=False)

    def test_distinct_pictures(self, files):
        """Parts of different pictures don't leak."""
        split = split_of(files, train=list("012345"), validation=list("67"), test=list("89"))

        assert [] == leaks_of(split)

    def test_only_the_same_bytes(self, files):
        """near_duplicates=False leaves out what only looks alike."""
        split = split_of(files, train=["0", "1"], test=["0 small", "1"])

        assert [("train 1", SAME, "train", "test", "1")] == leaks_of(split, near_duplicates=False)

    def test_unread_files(self, tmp_path):
        """Files that are no images leak by their bytes; missing ones do not."""
        names = {"1": "no image", "2": "no image", "3": "text"}
        for name, text in names.items():
            (tmp_path / f"{name}.png").write_text(text)
        paths = {name: str(tmp_path / f"{name}.png") for name in [*names, "gone", "lost"]}

        leaks = leaks_of(split_of(paths, train=["1", "3", "gone"], test=["2", "lost"]))

        assert [("train 1", SAME, "train", "test", "2")] == leaks


class TestResult:
    """The result can be used to drop what leaks."""

    def test_columns(self, files):
        """The columns are those of the documentation, with the paths of both files."""
        leaks = find_leaks(split_of(files, train=["0"], test=["0 small"]), progress=False)

        expected = {
            "part": "train",
            "other_part": "test",
            "kind": NEARLY,
            "file_paths": files["0"],
            "other_path": files["0 small"],
        }
        assert expected == leaks.loc["train 0"].to_dict()
        assert list(expected) == list(leaks.columns)

    def test_dropping_by_the_index(self, files):
        """What is dropped from the earlier parts leaves a split without leaks."""
        names = {"train": ["0", "1", "2", "3"], "validation": ["1", "4"], "test": ["0", "4", "5"]}
        split = split_of(files, **names)
        leaks = find_leaks(split, progress=False)

        clean = Split(
            *(
                table.drop(leaks.query("part == @part").index)
                for part, table in zip(PARTS, split, strict=True)
            )
        )

        assert ["train 2", "train 3"] == list(clean.train.index)
        assert ["validation 1"] == list(clean.validation.index)
        assert [] == leaks_of(clean)

    def test_index_may_repeat_between_parts(self, files):
        """Parts numbered from 0 each are no obstacle."""
        split = split_of(files, train=["0", "1"], validation=["2", "1"], test=["2"])
        split = Split(*(table.reset_index(drop=True) for table in split))

        leaks = find_leaks(split, progress=False)

        assert [(1, "train"), (0, "validation")] == list(leaks[["part"]].itertuples(name=None))

    @pytest.mark.parametrize("empty", PARTS)
    def test_empty_part(self, files, empty):
        """A part without images leaks nothing, and the others still do."""
        names = {part: ["0"] for part in PARTS if part != empty}
        first, second = names

        leaks = leaks_of(split_of(files, **names))
        assert [(f"{first} 0", SAME, first, second, "0")] == leaks

    def test_empty_split(self, files):
        """Without images there is nothing to find, in the same columns."""
        leaks = find_leaks(split_of(files), progress=False)

        assert (0, 5) == leaks.shape

    def test_split_is_left_alone(self, files):
        """The tables don't change."""
        split = split_of(files, train=["0", "1"], test=["1 small"])
        before = [table.copy(deep=True) for table in split]

        find_leaks(split, progress=False)

        for table, copy in zip(split, before, strict=True):
            pd.testing.assert_frame_equal(copy, table)

    def test_progress(self, files, capfd):
        """A bar is shown on stderr, or nothing at all."""
        split = split_of(files, train=["0", "1"], test=["2"])

        find_leaks(split)
        shown = capfd.readouterr()
        find_leaks(split, progress=False)

        assert "comparing images: 100%" in shown.err
        assert ("", "") == tuple(capfd.readouterr())

    def test_no_table(self, files):
        """A part that is not a table is refused."""
        split = split_of(files, train=["0"])._replace(test=[files["0"]])

        with pytest.raises(ValueError, match=r"^`table` must be a DataFrame .*Received: list"):
            find_leaks(split, progress=False)


def table_with_copies(files, generator):
    """A labelled table of the ten pictures with random copies of both kinds, in random order."""
    names = [f"{number}" for number in range(10)] + generator.choice(list(files), 30).tolist()
    generator.shuffle(names)
    classes = pd.Categorical(generator.choice(["a", "b"], len(names)))
    return pd.DataFrame({"file_paths": [files[name] for name in names], "target_names": classes})


@pytest.mark.filterwarnings("ignore:Whole groups can't give the sizes exactly")
class TestGroupedSplits:
    """Splits in whole groups of copies have no leaks."""

    @pytest.mark.parametrize("seed", range(5))
    def test_near_duplicates(self, files, seed):
        """With groups="near-duplicates" nothing leaks, but without groups something does."""
        table = table_with_copies(files, np.random.default_rng(seed))

        plain = split_table(table, stratify=False, random_state=seed)
        grouped = split_table(
            table, stratify=False, groups="near-duplicates", random_state=seed, progress=False
        )

        assert len(leaks_of(plain)) > 0
        assert [] == leaks_of(grouped)
        assert len(table) == sum(map(len, grouped))

    @pytest.mark.parametrize("seed", range(5))
    def test_duplicates(self, files, seed):
        """With groups="duplicates", only similar images leak, not identical files."""
        table = table_with_copies(files, np.random.default_rng(seed))

        plain = split_table(table, stratify=False, random_state=seed)
        grouped = split_table(
            table, stratify=False, groups="duplicates", random_state=seed, progress=False
        )

        assert SAME in {kind for _, kind, *_ in leaks_of(plain)}
        assert {NEARLY} == {kind for _, kind, *_ in leaks_of(grouped)}
