"""list_splits: the folders of a split, each as `list_images` lists it."""

import re

import pandas as pd
import pytest
from PIL import Image

from cnnkit.data import Split, list_images, list_splits


def relative(table, root):
    return [path.removeprefix(f"{root}/") for path in table["file_paths"]]


class TestListSplits:
    """list_splits reads ready-made folders with one class order."""

    @pytest.mark.parametrize("train", ["train", "training"])
    @pytest.mark.parametrize("validation", ["validation", "val", "valid"])
    @pytest.mark.parametrize("test", ["test", "testing"])
    def test_names_of_the_folders(self, make_files, train, validation, test):
        """The usual names of the three folders are known."""
        root = make_files(f"{train}/cat/1.png", f"{validation}/cat/2.png", f"{test}/cat/3.png")

        split = list_splits(root)

        assert isinstance(split, Split)
        expected = [[f"{train}/cat/1.png"], [f"{validation}/cat/2.png"], [f"{test}/cat/3.png"]]
        assert expected == [relative(table, root) for table in split]

    def test_class_order_of_a_table(self, make_files):
        """Folders don't tell the order that the classes had."""
        root = make_files("train/a/1.png", "train/b/1.png", "val/b/1.png")

        split = list_splits(root, class_names=["b", "a"])

        assert ["b", "a"] == list(split.train["target_names"].cat.categories)
        assert [1, 0] == split.train["targets"].tolist()
        assert [0] == split.validation["targets"].tolist()
        with pytest.raises(ValueError, match="`class_names` must name every class exactly once"):
            list_splits(root, class_names=["b"])

    def test_one_class_order(self, make_files):
        """A class that is missing from one part keeps its number there."""
        root = make_files("train/a/1.png", "train/c/1.png", "val/c/1.png", "test/b/1.png")

        split = list_splits(root)

        assert [["a", "b", "c"]] * 3 == [
            list(table["target_names"].cat.categories) for table in split
        ]
        assert [[0, 2], [2], [1]] == [list(table["targets"]) for table in split]

    def test_missing_part_is_empty(self, make_files):
        """A missing folder gives an empty table with the same columns, types and classes."""
        root = make_files("train/a/1.png", "test/b/1.png")

        split = list_splits(root)

        assert len(split.validation) == 0
        pd.testing.assert_series_equal(split.train.dtypes, split.validation.dtypes)

    def test_no_train_folder(self, make_files):
        """Without a train folder there is nothing to learn from."""
        root = make_files("val/a/1.png")
        text = (
            r"^`directory` must hold a folder `train`\. Received: "
            rf"{re.escape(repr(str(root)))}\. For a folder of class folders, use `list_images`"
        )

        with pytest.raises(FileNotFoundError, match=text):
            list_splits(root)

    def test_missing_folder(self, tmp_path):
        """A missing folder is a FileNotFoundError."""
        with pytest.raises(FileNotFoundError, match="`directory` must be an existing folder"):
            list_splits(tmp_path / "missing")

    def test_part_without_images(self, make_files):
        """A part that holds no images is refused by its name."""
        root = make_files("train/a/1.png", "val/notes.txt")

        with pytest.raises(ValueError, match=r"must hold a folder of images .*val'\. It holds no"):
            list_splits(root)

    def test_two_folders_for_one_part(self, make_files):
        """Where `val` and `validation` both exist, neither is silently left out."""
        root = make_files("train/a/1.png", "val/a/2.png", "validation/a/3.png")

        with pytest.raises(ValueError, match=r"`val`|'val'"):
            list_splits(root)

    def test_parts_can_be_read(self, make_folder):
        """The paths lead to the files."""
        split = list_splits(make_folder({"train/a": 2, "val/a": 1}))

        for path in [*split.train["file_paths"], *split.validation["file_paths"]]:
            with Image.open(path) as image:
                assert (16, 16) == image.size


class TestSplitFolders:
    """Folders of a split are known in upper and lower case."""

    @pytest.mark.parametrize("names", [("Training", "Test"), ("TRAIN", "Val"), ("train", "test")])
    def test_parts_are_no_classes(self, make_files, names):
        """The folders of a split are not taken for classes."""
        root = make_files(*(f"{name}/cat/1.png" for name in names))

        with pytest.raises(ValueError, match="which is split into .*Use `list_splits`"):
            list_images(root)

    def test_listed_as_a_split(self, make_files):
        """`list_splits` finds them."""
        root = make_files("Training/cat/1.png", "Training/dog/1.png", "Test/dog/1.png")

        assert [2, 0, 1] == [len(part) for part in list_splits(root)]
