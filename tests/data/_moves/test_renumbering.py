"""renumber_files: which names files get, and what is refused."""

from renaming import contents


import re
import io
from pathlib import Path

import pytest
from PIL import Image

from cnnkit.data import renumber_files


def image_bytes(kind):
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, format=kind)
    return buffer.getvalue()


JPEG, PNG, GIF = map(image_bytes, ("JPEG", "PNG", "GIF"))


def first_names(root):
    """The first path of each file by its present one, for files that hold their own names."""
    return {name: content.decode() for name, content in contents(root).items()}


class TestNumbers:
    """Images of a class are numbered in the order of their names."""

    def test_new_names(self, make_files):
        """A name is that of the folder, a number and the extension."""
        root = make_files("cat/a.png", "cat/b.jpg", "dog/a.gif")

        renumber_files(root)

        expected = {"cat/cat1.png": "cat/a.png", "cat/cat2.jpg": "cat/b.jpg"}
        assert {**expected, "dog/dog1.gif": "dog/a.gif"} == first_names(root)

    def test_names_that_are_there_already(self, make_files):
        """A file whose name another one gets is renamed too, and not overwritten."""
        root = make_files("cat/a.png", "cat/cat1.png", "cat/cat2.png", "cat/cat4.png")

        renumber_files(root)

        expected = {
            "cat/cat1.png": "cat/a.png",
            "cat/cat2.png": "cat/cat1.png",
            "cat/cat3.png": "cat/cat2.png",
            "cat/cat4.png": "cat/cat4.png",
        }
        assert expected == first_names(root)

    def test_natural_order(self, make_files):
        """Numbers in names count as numbers."""
        names = ["cat/x2.png", "cat/x9y20.png", "cat/x10y3.png", "cat/x10y20.png", "cat/y1.png"]
        root = make_files(*sorted(names))

        renumber_files(root)

        expected = {f"cat/cat{number}.png": name for number, name in enumerate(names, start=1)}
        assert expected == first_names(root)

    def test_leading_zeros(self, make_files):
        """Names of the same number have a fixed order."""
        root = make_files("cat/1.png", "cat/001.png", "cat/01.png")

        renumber_files(root)

        names = ["cat/001.png", "cat/01.png", "cat/1.png"]
        expected = {f"cat/cat{number}.png": name for number, name in enumerate(names, start=1)}
        assert expected == first_names(root)

    @pytest.mark.parametrize("name", ["cat", "7", "class1", "class0", "고양이", "a b"])
    def test_second_call_changes_nothing(self, make_files, name):
        """Names stay, whatever the folder's name ends with."""
        root = make_files(*(f"{name}/{number}.png" for number in range(12)))

        renumber_files(root)
        after = contents(root)
        table = renumber_files(root)

        assert {f"{name}/{name}{number}.png" for number in range(1, 13)} == set(after)
        assert table.empty
        assert after == contents(root)

    def test_parts_of_a_split_are_no_classes(self, make_files):
        """Files of each class would be numbered as if they were of one, train."""
        root = make_files("train/cat/a.png", "test/cat/a.png")

        with pytest.raises(ValueError, match=f"{re.escape(str(root))}', which is split into"):
            renumber_files(root)

    def test_files_that_are_no_images_are_left(self, make_files):
        """Other files, hidden ones, folders and what lies in those keep their names."""
        others = ["cat/notes.txt", "cat/png", "cat/.a.png", "cat/more/a.png", ".cat/a.png", "a.png"]
        root = make_files("cat/z.png", *others)

        renumber_files(root)

        assert {"cat/cat1.png": "cat/z.png", **{name: name for name in others}} == first_names(root)

    def test_link_to_a_file_is_renamed_as_a_link(self, make_files):
        """What a link leads to keeps its name, and so does what no link leads to."""
        root = make_files("cat/a.png")
        (root.parent / "elsewhere.png").write_bytes(PNG)
        (root / "cat" / "b.png").symlink_to("../../elsewhere.png")
        (root / "cat" / "c.png").symlink_to("nowhere")

        renumber_files(root)

        links = {path.name: path.readlink() for path in root.glob("cat/*") if path.is_symlink()}
        assert {"cat2.png": Path("../../elsewhere.png"), "cat3.png": Path("nowhere")} == links
        assert PNG == (root.parent / "elsewhere.png").read_bytes()

    @pytest.mark.parametrize("dry_run", [False, True])
    def test_name_of_a_folder(self, make_files, dry_run):
        """A name that a folder has is taken, and no other class is renamed either."""
        root = make_files("cat/a.png", "cat/cat1.png/b.png", "bird/a.png")
        before = contents(root)

        with pytest.raises(FileExistsError, match="must be free.*cat1.png.*Nothing was renamed"):
            renumber_files(root, dry_run=dry_run)

        assert before == contents(root)

    def test_linked_class_folder(self, make_files):
        """Two names of one folder would give every file two numbers."""
        root = make_files("cat/a.png")
        (root / "dog").symlink_to("cat", target_is_directory=True)

        text = (
            f"`directory` must hold a folder for each class. Received: {str(root)!r} with two "
            "names of one folder."
        )
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            renumber_files(root)

    def test_numbers_come_before_letters(self, make_files):
        """A name that begins with a number stands in front."""
        root = make_files("cat/x9y20.png", "cat/1.png")

        moves = renumber_files(root)

        assert [f"{root}/cat/1.png", f"{root}/cat/x9y20.png"] == list(moves["old_paths"])

    @pytest.mark.parametrize("names", [(), ("a.png",), (".cat/a.png",)])
    def test_no_class_folders(self, make_files, names):
        """A folder that holds no class folders is refused."""
        root = make_files("note.txt", *names)

        with pytest.raises(ValueError, match="^`directory` must hold .* with no folders.$"):
            renumber_files(root)

    def test_class_without_images(self, make_files):
        """A class folder needs no images."""
        root = make_files("cat/notes.txt")

        table = renumber_files(root)

        assert table.empty

    def test_too_long_name(self, make_files):
        """What the system refuses in the middle is undone."""
        root = make_files("cat/a.png", f"{'x' * 250}/1.png", f"{'x' * 250}/a.jpeg")
        before = contents(root)

        with pytest.raises(OSError, match="too long"):
            renumber_files(root)

        assert before == contents(root)

    def test_missing_folder(self, tmp_path):
        """The folder must exist."""
        with pytest.raises(FileNotFoundError, match="`directory` must be an existing folder"):
            renumber_files(tmp_path / "missing")


class TestExtensions:
    """An extension is kept unless it is wrong for what is in the file."""

    @pytest.mark.parametrize(
        ("name", "content", "expected"),
        [
            ("a.png", JPEG, "cat1.jpg"),
            ("a.PNG", JPEG, "cat1.jpg"),
            ("a.jpg", PNG, "cat1.png"),
            ("a.jpeg", GIF, "cat1.gif"),
        ],
    )
    def test_wrong_ones_are_corrected(self, make_files, name, content, expected):
        """The first extension of the true kind takes the place of another kind's."""
        root = make_files(**{f"cat/{name}": content})

        renumber_files(root)

        assert {f"cat/{expected}": content} == contents(root)

    @pytest.mark.parametrize(
        ("suffix", "content"),
        [(".jpg", JPEG), (".JPG", JPEG), (".jpeg", JPEG), (".jfif", JPEG), (".PNG", PNG)],
    )
    def test_right_ones_are_kept(self, make_files, suffix, content):
        """Any extension of the true kind stays, with its letters' case."""
        root = make_files(**{f"cat/a{suffix}": content})

        renumber_files(root)

        assert {f"cat/cat1{suffix}": content} == contents(root)

    @pytest.mark.parametrize("content", [b"", b"no image", PNG[:6]])
    @pytest.mark.parametrize("suffix", [".png", ".JPEG"])
    def test_unknown_files_keep_theirs(self, make_files, content, suffix):
        """A file that can't be identified is numbered under its extension."""
        root = make_files(**{f"cat/a{suffix}": content})

        renumber_files(root)

        assert {f"cat/cat1{suffix}": content} == contents(root)

    def test_extension_alone_may_change(self, make_files):
        """A file that has its number already still gets the right extension."""
        root = make_files(**{"cat/cat1.png": JPEG, "cat/cat2.png": PNG})

        renumber_files(root)

        assert {"cat/cat1.jpg": JPEG, "cat/cat2.png": PNG} == contents(root)
