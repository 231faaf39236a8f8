"""list_images and list_splits: which files, in which order, under which class."""

from typing import ClassVar
import os
import re
import sys
import unicodedata

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cnnkit.data import Split, image_dataset, list_images, list_splits


def relative(table, root):
    return [path.removeprefix(f"{root}/") for path in table["file_paths"]]


@pytest.fixture
def make_files(tmp_path):
    """Return a function that makes empty files; listing goes by names alone."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return make


class TestFiles:
    """Image files below the folder are listed, each once, in a stable order."""

    def test_columns(self, make_folder):
        """The table has the three columns of the design, with their types."""
        table = list_images(make_folder({"cat": 2, "dog": 1}))

        assert ["file_paths", "target_names", "targets"] == list(table.columns)
        assert isinstance(table["target_names"].dtype, pd.CategoricalDtype)
        assert np.int64 == table["targets"].dtype
        assert all(isinstance(path, str) for path in table["file_paths"])

    def test_every_file_once_in_the_order_of_names(self, make_files):
        """The order is that of the names, folder by folder."""
        root = make_files("dog/2.png", "dog/10.png", "cat/b.png", "cat/a.png", "dog/1.png")

        table = list_images(root)

        expected = ["cat/a.png", "cat/b.png", "dog/1.png", "dog/10.png", "dog/2.png"]
        assert expected == relative(table, root)
        assert list(range(5)) == list(table.index)

    def test_order_does_not_depend_on_the_file_system(self, make_files, monkeypatch):
        """Whatever order the system lists a folder in, the table is the same."""
        root = make_files("cat/a.png", "cat/b.png", "dog/1.png", "dog/2.png")
        expected = list_images(root)

        class Backwards:
            """What os.scandir gives, the other way round."""

            scandir = staticmethod(os.scandir)

            def __init__(self, folder):
                with self.scandir(folder) as entries:
                    self.entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

            def __enter__(self):
                return iter(self.entries)

            def __exit__(self, *_):
                return None

        monkeypatch.setattr(os, "scandir", Backwards)

        actual = list_images(root)

        pd.testing.assert_frame_equal(expected, actual)

    def test_nested_folders_belong_to_the_top_one(self, make_files):
        """A file at any depth has the class of the folder right below the directory."""
        root = make_files("cat/indoor/sofa/1.png", "cat/2.png", "dog/outdoor/3.png")

        table = list_images(root)

        expected = {"cat/2.png": "cat", "cat/indoor/sofa/1.png": "cat", "dog/outdoor/3.png": "dog"}
        assert expected == dict(zip(relative(table, root), table["target_names"], strict=True))

    @pytest.mark.parametrize(
        "name",
        [
            "cat/.hidden.png",
            "cat/._photo.png",
            "cat/.thumbnails/1.png",
            ".git/1.png",
            ".ipynb_checkpoints/1.png",
            "cat/.DS_Store",
            "cat/Thumbs.db",
            "cat/desktop.ini",
            "cat/labels.csv",
            "cat/notes.txt",
            "cat/photo.png.part",
            "cat/png",
            "cat/README",
            "__MACOSX/._x.jpg",
            "__MACOSX/cat/._1.png",
            ".cat/1.png",
        ],
    )
    def test_left_out(self, make_files, name):
        """Hidden files and folders, and files that are no images, are not listed."""
        root = make_files("cat/1.png", "dog/1.png", name)

        table = list_images(root)

        assert ["cat/1.png", "dog/1.png"] == relative(table, root)
        assert ["cat", "dog"] == list(table["target_names"].cat.categories)

    @pytest.mark.parametrize(
        "extension",
        [
            "jpg", "JPG", "Jpeg", "jpe", "png", "PNG", "gif", "bmp", "tif", "TIFF", "webp", "WebP",
            "ppm", "pgm", "jfif",
        ],
    )  # fmt: skip
    def test_extensions_in_any_case(self, make_files, extension):
        """All common extensions are known, in capitals too."""
        root = make_files(f"cat/1.{extension}")

        assert [f"cat/1.{extension}"] == relative(list_images(root), root)

    def test_names_in_other_scripts(self, make_folder):
        """Korean names and names with blanks are classes like any other."""
        root = make_folder({"장미 꽃": 1, "해바라기": 1, "black eyed susan": 1})

        table = list_images(root)

        expected = ["black eyed susan", "장미 꽃", "해바라기"]
        assert expected == list(table["target_names"])
        assert [0, 1, 2] == list(table["targets"])

    def test_loose_files_beside_class_folders_are_left_out(self, make_files):
        """An image that lies in no class folder has no class, and is not listed."""
        root = make_files("cover.png", "cat/1.png")

        assert ["cat/1.png"] == relative(list_images(root), root)

    def test_folder_named_like_an_image(self, make_files):
        """A folder whose name ends like an image is a folder."""
        root = make_files("cat/album.png/1.png")

        assert ["cat/album.png/1.png"] == relative(list_images(root), root)

    def test_directory_may_be_a_string(self, make_folder):
        """A directory is a string or a Path."""
        root = make_folder({"cat": 1})

        pd.testing.assert_frame_equal(list_images(root), list_images(str(root)))


class TestLabels:
    """The class of an image comes from its folder, its name, or a function."""

    def test_regular_expression(self, make_files):
        """The one group of a regular expression is the class."""
        root = make_files("cat.1006.jpg", "dog.7.jpg", "cat.2.jpg")

        table = list_images(root, labels=re.compile(r"^(cat|dog)\."))

        assert ["cat", "cat", "dog"] == list(table["target_names"])
        assert [0, 0, 1] == list(table["targets"])

    def test_regular_expression_sees_the_file_name_alone(self, make_files):
        """Folders don't count for the expression."""
        root = make_files("dog/cat_1.jpg")

        table = list_images(root, labels=re.compile(r"(cat|dog)"))

        assert ["cat"] == list(table["target_names"])

    def test_function(self, make_files):
        """A function is given the whole path."""
        root = make_files("2021/rain/1.jpg", "2022/snow/1.jpg")

        table = list_images(root, labels=lambda path: path.parent.name)

        assert ["rain", "snow"] == list(table["target_names"])

    def test_none(self, make_files):
        """labels=None lists every image, loose or not, without classes."""
        root = make_files("a.png", "folder/b.png")

        table = list_images(root, labels=None)

        assert ["file_paths"] == list(table.columns)
        assert ["a.png", "folder/b.png"] == relative(table, root)


class TestClassNames:
    """class_names orders the classes, and filtering keeps them."""

    def test_sorted_by_default(self, make_folder):
        """Numbers follow the sorted names."""
        table = list_images(make_folder({"dog": 1, "cat": 1, "ant": 1}))

        assert ["ant", "cat", "dog"] == list(table["target_names"].cat.categories)
        assert [0, 1, 2] == list(table["targets"])

    def test_given_order_is_kept(self, make_folder):
        """Numbers follow the given order, rows do not."""
        names = ["low", "medium", "high"]

        table = list_images(make_folder(dict.fromkeys(names, 1)), class_names=names)

        assert names == list(table["target_names"].cat.categories)
        assert {"high": 2, "low": 0, "medium": 1} == dict(
            zip(table["target_names"], table["targets"], strict=True)
        )

    def test_class_without_images_keeps_its_number(self, make_folder):
        """A named class that has no images is a class all the same."""
        table = list_images(make_folder({"b": 1}), class_names=["a", "b", "c"])

        assert ["a", "b", "c"] == list(table["target_names"].cat.categories)
        assert [1] == list(table["targets"])

    def test_filtering_keeps_all_classes(self, make_folder):
        """A filtered table still knows every class and its number."""
        table = list_images(make_folder({"b": 2, "a": 2}), class_names=["b", "a"])

        only = table[table["target_names"] == "a"]

        assert ["b", "a"] == list(only["target_names"].cat.categories)
        assert [1, 1] == list(only["targets"])

    def test_targets_are_the_codes(self, make_folder):
        """The number of a class is its category's code."""
        table = list_images(make_folder({"x": 3, "y": 2, "z": 1}), class_names=["z", "x", "y"])

        assert list(table["target_names"].cat.codes) == list(table["targets"])

    def test_missing_class_is_refused(self, make_folder):
        """A class that class_names leaves out is named."""
        text = (
            r"^`class_names` must name every class, once\. Received: class_names=\['cat'\], but "
            r"there are images of 'ant' (or|and) 'dog'\.$"
        )

        with pytest.raises(ValueError, match=text):
            list_images(make_folder({"cat": 1, "dog": 1, "ant": 1}), class_names=["cat"])

    def test_repeated_class_is_refused(self, make_folder):
        """The same class can't have two numbers."""
        with pytest.raises(ValueError, match=r"(?i)unique|twice|once|repeat"):
            list_images(make_folder({"cat": 1}), class_names=["cat", "cat"])


class TestErrors:
    """What can't be listed is refused with the folder's name and advice."""

    def test_missing_folder(self, tmp_path):
        """A missing folder is a FileNotFoundError."""
        missing = tmp_path / "없음"
        text = (
            r"^`directory` must be an existing folder\. Received: "
            rf"{re.escape(repr(str(missing)))}\.$"
        )

        with pytest.raises(FileNotFoundError, match=text):
            list_images(missing)

    def test_file_in_place_of_a_folder(self, make_files):
        """A file is no folder."""
        root = make_files("cat.png")

        with pytest.raises(FileNotFoundError, match="`directory` must be an existing folder"):
            list_images(root / "cat.png")

    def test_empty_folder(self, tmp_path):
        """An empty folder is a ValueError that says so."""
        text = (
            r"^`directory` must hold a folder of images for each class\. Received: "
            rf"{re.escape(repr(str(tmp_path)))}\. It holds no images\.$"
        )

        with pytest.raises(ValueError, match=text):
            list_images(tmp_path)

    def test_no_class_folders(self, make_files):
        """Images side by side are refused, with the ways to label them."""
        root = make_files("cat.1.png")
        text = (
            r"^`directory` must hold a folder of images for each class\. Received: .* Its images "
            r"lie side by side: use `labels=` with a regular expression or a function, or "
            r"labels=None\.$"
        )

        with pytest.raises(ValueError, match=text):
            list_images(root)

    def test_no_images_to_list_without_labels(self, make_files):
        """Without labels, a folder of other files is refused with the known extensions."""
        root = make_files("notes.txt")
        text = r"^`directory` must hold images \(.*\.jpg.*\.png.*\)\. Received: .*holds none\.$"

        with pytest.raises(ValueError, match=text):
            list_images(root, labels=None)

    def test_expression_that_does_not_match(self, make_files):
        """A file whose name yields no class is named."""
        root = make_files("cat.1.png", "cow.1.png")
        text = (
            r"^`labels` must match every file name\. Received: '\^\(cat\|dog\)', which does not "
            r"match '.*cow\.1\.png'\.$"
        )

        with pytest.raises(ValueError, match=text):
            list_images(root, labels=re.compile("^(cat|dog)"))

    def test_expression_without_a_group(self, make_files):
        """An expression without a group says nothing of the class, and is refused."""
        root = make_files("cat.1.png")

        with pytest.raises(ValueError, match=r"`labels` must .*group.*Received: .*"):
            list_images(root, labels=re.compile("cat"))

    def test_function_that_gives_no_name(self, make_files):
        """A function that doesn't give a string for a path is refused, with the path."""
        root = make_files("cat.1.png")

        with pytest.raises((TypeError, ValueError), match=r"`labels` must .*Received: .*cat\.1"):
            list_images(root, labels=lambda path: None)

    @pytest.mark.parametrize("labels", ["folders", 3, "(cat|dog)"])
    def test_labels_of_the_wrong_form(self, make_folder, labels):
        """What labels may be is listed."""
        text = (
            r"^`labels` must be 'folder', a compiled regular expression with one group, a function "
            rf"of the path or None\. Received: labels={re.escape(repr(labels))}\.$"
        )

        with pytest.raises(ValueError, match=text):
            list_images(make_folder({"cat": 1}), labels=labels)


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
        with pytest.raises(ValueError, match="`class_names` must name every class, once"):
            list_splits(root, class_names=["b"])

    def test_one_class_order(self, make_files):
        """A class that is missing in one part still has its number there."""
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
            rf"{re.escape(repr(str(root)))}\. For a folder of class folders use `list_images`"
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


class TestConsistency:
    """The numbers of the classes are the codes of their names, or the table is refused."""

    CHANGES: ClassVar = {
        "numbers by hand": (
            lambda table: table.assign(targets=1 - table["targets"]),
            "not the codes of the names",
        ),
        "names only renamed": (
            lambda table: table.assign(
                target_names=table["target_names"].cat.reorder_categories(["b", "a"])
            ),
            "not the codes of the names",
        ),
        "names as plain text": (
            lambda table: table.assign(target_names=table["target_names"].astype(str)),
            "plain names",
        ),
        "a class taken away": (
            lambda table: table.assign(
                target_names=table["target_names"].cat.remove_categories(["a"]),
                targets=table["target_names"].cat.remove_categories(["a"]).cat.codes,
            ),
            "rows without a class",
        ),
    }

    @pytest.mark.parametrize(("change", "received"), CHANGES.values(), ids=CHANGES)
    def test_contradictory_tables(self, make_folder, change, received):
        """Labels can't be swapped in silence."""
        table = change(list_images(make_folder({"a": 2, "b": 2})))

        with pytest.raises(ValueError, match=rf"Received: .*{received}.*Renew both: names = "):
            image_dataset(table, (8, 8))

    def test_a_filtered_table_keeps_its_numbers(self, make_folder):
        """Leaving out a class is no contradiction: all classes are still known."""
        table = list_images(make_folder({"a": 2, "b": 2}))

        dataset = image_dataset(table[table["target_names"] == "b"], (8, 8))
        assert ["a", "b"] == dataset.class_names

    def test_a_split_folder_is_not_listed_as_classes(self, make_folder):
        """Train, validation and test are no classes; the error says what lists them."""
        folder = make_folder({"train/cat": 1, "val/cat": 1, "test/cat": 1})

        with pytest.raises(ValueError, match=r"split into test, train, val\. Use `list_splits`"):
            list_images(folder)

    def test_a_class_called_train_is_a_class(self, make_folder):
        """A folder of vehicles may hold trains."""
        table = list_images(make_folder({"train": 1, "bus": 1}))

        assert ["bus", "train"] == list(table["target_names"].cat.categories)


class TestLinks:
    """Links lead to files and folders as on the command line, but never in circles."""

    def test_linked_file(self, make_files):
        """A link to a file is listed by its own name."""
        root = make_files("cat/1.png", "elsewhere.bin")
        (root / "cat" / "2.png").symlink_to(root / "elsewhere.bin")

        assert ["cat/1.png", "cat/2.png"] == relative(list_images(root), root)

    def test_linked_class_folder(self, make_files):
        """A link to a folder is a class by its own name."""
        root = make_files("images/cat/1.png", "store/0017/2.png")
        (root / "images" / "dog").symlink_to(root / "store" / "0017")

        table = list_images(root / "images")

        assert ["images/cat/1.png", "images/dog/2.png"] == relative(table, root)
        assert ["cat", "dog"] == list(table["target_names"])

    def test_linked_folder_within_a_class(self, make_files):
        """What lies behind a link belongs to the class that holds the link."""
        root = make_files("images/cat/1.png", "more/2.png")
        (root / "images" / "cat" / "more").symlink_to(root / "more")

        table = list_images(root / "images")

        assert ["cat/1.png", "cat/more/2.png"] == relative(table, root / "images")

    @pytest.mark.parametrize("target", [".", "..", "../.."])
    def test_link_to_a_folder_above(self, make_files, target):
        """A link upward is not followed in circles, and lists no file twice."""
        root = make_files("cat/indoor/1.png", "cat/2.png")
        (root / "cat" / "indoor" / "up").symlink_to(target)

        table = list_images(root, labels=None)

        assert ["cat/2.png", "cat/indoor/1.png"] == sorted(relative(table, root))

    def test_links_in_a_circle(self, make_files):
        """Two classes that hold links to each other are listed to the end, once each."""
        root = make_files("cat/1.png", "dog/2.png")
        (root / "cat" / "friend").symlink_to(root / "dog")
        (root / "dog" / "friend").symlink_to(root / "cat")

        table = list_images(root)

        expected = {
            "cat/1.png": "cat",
            "cat/friend/2.png": "cat",
            "dog/2.png": "dog",
            "dog/friend/1.png": "dog",
        }
        assert expected == dict(zip(relative(table, root), table["target_names"], strict=True))

    def test_one_folder_by_two_links(self, make_files):
        """A folder that two links lead to is listed by both."""
        root = make_files("images/cat/1.png", "more/2.png")
        for name in ("a", "b"):
            (root / "images" / "cat" / name).symlink_to(root / "more")

        table = list_images(root / "images")

        assert ["cat/1.png", "cat/a/2.png", "cat/b/2.png"] == relative(table, root / "images")

    def test_broken_link_to_a_folder(self, make_files):
        """A link to a folder that isn't there is no class."""
        root = make_files("cat/1.png")
        (root / "dog").symlink_to(root / "gone")

        table = list_images(root)
        assert ["cat"] == list(table["target_names"].cat.categories)

    def test_broken_link_to_a_file(self, make_files):
        """A link to an image that isn't there is listed, so that reading it tells."""
        root = make_files("cat/1.png")
        (root / "cat" / "2.png").symlink_to(root / "gone.png")

        assert ["cat/1.png", "cat/2.png"] == relative(list_images(root), root)


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


class TestOddLinks:
    """Links that lead nowhere or round in a circle."""

    def test_links_to_themselves(self, make_files):
        """A link to itself is no folder, and no end of the listing."""
        root = make_files("cat/a.png")
        (root / "self").symlink_to("self")
        (root / "cat" / "x.txt").symlink_to("x.txt")

        table = list_images(root)

        assert ["cat/a.png"] == relative(table, root)

    def test_link_to_the_root_is_no_class(self, make_files):
        """A folder that holds all classes is none of them."""
        root = make_files("cat/a.png", "dog/b.png")
        (root / "loop").symlink_to(".", target_is_directory=True)

        table = list_images(root)

        assert ["cat", "dog"] == list(table["target_names"])


class TestNames:
    """Names may hold whatever a file system takes."""

    @pytest.mark.parametrize(
        "name", ["a b", " a", "장미", "🌹", "a'b", "100%", "[x]*", "a.b", "a\nb", "가" * 60]
    )
    def test_any_name(self, make_files, name):
        """A class and a file of any name are listed under it."""
        root = make_files(f"{name}/{name}.PnG", "other/1.png")

        table = list_images(root)

        assert {name, "other"} == set(table["target_names"])
        assert f"{name}/{name}.PnG" in relative(table, root)

    def test_decomposed_folder_name(self, make_files):
        """A folder in macOS's decomposed form is a class in the composed form, its path kept."""
        folder = unicodedata.normalize("NFD", "장미")
        root = make_files(f"{folder}/1.png")

        table = list_images(root)

        assert ["장미"] == list(table["target_names"].cat.categories)
        assert [f"{folder}/1.png"] == relative(table, root)

    @pytest.mark.skipif(sys.platform == "darwin", reason="both names are one folder there")
    def test_both_forms_are_one_class(self, make_files):
        """Two folders whose names differ by form only are one class."""
        root = make_files("장미/1.png", f"{unicodedata.normalize('NFD', '장미')}/2.png", "해/3.png")

        table = list_images(root)

        assert ["장미", "해"] == list(table["target_names"].cat.categories)
        assert {"1": 0, "2": 0, "3": 1} == dict(
            zip(table["file_paths"].str[-5], table["targets"], strict=True)
        )

    @pytest.mark.parametrize("of_folder", ["NFC", "NFD"])
    @pytest.mark.parametrize("given", ["NFC", "NFD"])
    def test_class_names_in_either_form(self, make_files, of_folder, given):
        """class_names mean the same in both forms."""
        root = make_files(f"{unicodedata.normalize(of_folder, '장미')}/1.png", "a/1.png")

        table = list_images(root, class_names=[unicodedata.normalize(given, "장미"), "a"])

        assert ["장미", "a"] == list(table["target_names"].cat.categories)
        assert [1, 0] == list(table["targets"])

    def test_class_named_twice_in_two_forms(self, make_files):
        """Two forms of one name are one class, which can't have two numbers."""
        names = ["장미", unicodedata.normalize("NFD", "장미")]

        with pytest.raises(ValueError, match=r"which names a class twice\.$"):
            list_images(make_files("장미/1.png"), class_names=names)

    def test_expression_on_decomposed_names(self, make_files):
        """A regular expression sees the composed form of a name."""
        root = make_files(f"{unicodedata.normalize('NFD', '장미_1')}.png", "해_1.png")

        table = list_images(root, labels=re.compile(r"^(\w{1,2})_"))

        assert ["장미", "해"] == sorted(table["target_names"])

    @pytest.mark.skipif(sys.platform != "linux", reason="only there names are any bytes")
    def test_names_that_are_no_text(self, tmp_path):
        """Names of older encodings are listed, and the paths lead to the files."""
        for name in (b"caf\xe9", b"th\xe9"):
            folder = tmp_path / os.fsdecode(name)
            folder.mkdir()
            with (folder / os.fsdecode(b"\xff.png")).open("wb") as file:
                Image.new("RGB", (8, 8)).save(file, "PNG")

        table = list_images(tmp_path)

        assert [0, 1] == list(table["targets"])
        assert ["caf\udce9", "th\udce9"] == list(table["target_names"])
        for path in table["file_paths"]:
            with Image.open(path) as image:
                assert (8, 8) == image.size

    def test_deep_nesting(self, make_files):
        """Files many folders down are listed."""
        deep = "cat/" + "x/" * 200 + "1.png"

        root = make_files(deep)
        assert [deep] == relative(list_images(root), root)

    @pytest.mark.parametrize("labels", ["folder", None])
    def test_folder_without_permission(self, make_files, monkeypatch, labels):
        """A folder that may not be listed is an error with its name, not an empty folder."""
        root = make_files("cat/1.png", "cat/locked/2.png")
        scan = os.scandir

        def refuse(folder):
            if os.fspath(folder).endswith("locked"):
                raise PermissionError(13, "Permission denied", folder)
            return scan(folder)

        monkeypatch.setattr(os, "scandir", refuse)

        with pytest.raises(PermissionError, match=r"cat/locked"):
            list_images(root, labels=labels)

    def test_names_from_a_function_are_composed(self, make_files):
        """Whatever gives the name of a class, its characters are composed."""
        name = unicodedata.normalize("NFD", "\uc7a5\ubbf8")
        root = make_files(f"{name}/a.png")

        table = list_images(root, labels=lambda path: path.parent.name, class_names=[name])

        assert ["\uc7a5\ubbf8"] == list(table["target_names"])

    def test_decomposed_pattern(self, make_files):
        """A pattern finds a name however the two are composed."""
        name = unicodedata.normalize("NFD", "\uc7a5\ubbf8")
        root = make_files(f"{name}.1.png")

        table = list_images(root, labels=re.compile(f"^({name})"))

        assert ["\uc7a5\ubbf8"] == list(table["target_names"])
