"""list_images in odd folders: links in circles, and names that are no text."""

import os
import re
import sys
import unicodedata

import pytest
from PIL import Image

from cnnkit.data import list_images


def relative(table, root):
    return [path.removeprefix(f"{root}/") for path in table["file_paths"]]


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
        """A folder that contains all classes is not a class."""
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
