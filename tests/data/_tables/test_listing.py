"""list_images: which files, in which order, under which class."""

import os
import re

import numpy as np
import pandas as pd
import pytest

from cnnkit.data import list_images


def relative(table, root):
    return [path.removeprefix(f"{root}/") for path in table["file_paths"]]


class TestFiles:
    """All image files below the folder are listed once, in a stable order."""

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
            r"^`class_names` must name every class exactly once\. Received: class_names=\['cat'\], "
            r"but there are images of 'ant' (or|and) 'dog'\.$"
        )

        with pytest.raises(ValueError, match=text):
            list_images(make_folder({"cat": 1, "dog": 1, "ant": 1}), class_names=["cat"])

    def test_repeated_class_is_refused(self, make_folder):
        """The same class can't have two numbers."""
        with pytest.raises(ValueError, match=r"(?i)unique|twice|once|repeat"):
            list_images(make_folder({"cat": 1}), class_names=["cat", "cat"])


class TestErrors:
    """Folders that can't be listed are refused with their name and advice."""

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
            r"are not in class folders: pass a regular expression or a function as `labels`, or "
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
        """A regular expression without a group is refused."""
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
