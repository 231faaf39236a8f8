"""rename_classes: which names folders get, what is refused, and the table that is returned."""

from renaming import classes, unchanged, contents


import re
import unicodedata
from pathlib import Path
from types import MappingProxyType

import pandas as pd
import pytest

from cnnkit.data import rename_classes, renumber_files

BOTH_WAYS = {
    "cane": "dog",
    "gatto": "cat",
    "pecora": "sheep",
    "spider": "ragno",
    "dog": "cane",
    "cat": "gatto",
}


class TestDirections:
    """A mapping serves in the direction that fits the folders."""

    def test_new_names_by_old_ones(self, make_classes):
        """Each folder gets the value of its name, with what is in it."""
        root = make_classes("cane", "gatto")

        rename_classes(root, {"cane": "dog", "gatto": "cat"})

        assert {"dog": "cane", "cat": "gatto"} == classes(root)

    def test_opposite_direction(self, make_classes):
        """Where no folder has the name of a key, values become keys."""
        root = make_classes("dog", "cat")

        rename_classes(root, {"cane": "dog", "gatto": "cat"})

        assert {"cane": "dog", "gatto": "cat"} == classes(root)

    def test_one_key_decides(self, make_classes):
        """Where a folder has the name of a key, a folder with that of a value keeps it."""
        root = make_classes("cane", "cat")

        rename_classes(root, {"cane": "dog", "gatto": "cat"})

        assert {"dog": "cane", "cat": "cat"} == classes(root)

    def test_second_call_renames_back(self, make_classes):
        """Twice is never."""
        root = make_classes("cane", "gatto", "ragno")

        rename_classes(root, {"cane": "dog", "gatto": "cat"})
        rename_classes(root, {"cane": "dog", "gatto": "cat"})

        assert unchanged("cane", "gatto", "ragno") == classes(root)

    def test_dictionary_in_both_directions(self, make_classes):
        """Names that are keys only, values only or both are all found."""
        root = make_classes("cane", "gatto", "pecora", "ragno")

        rename_classes(root, BOTH_WAYS)

        expected = {"dog": "cane", "cat": "gatto", "sheep": "pecora", "spider": "ragno"}
        assert expected == classes(root)

    def test_dictionary_in_both_directions_twice(self, make_classes):
        """It renames back, too."""
        root = make_classes("cane", "gatto", "pecora", "ragno")

        rename_classes(root, BOTH_WAYS)
        rename_classes(root, BOTH_WAYS)

        assert unchanged("cane", "gatto", "pecora", "ragno") == classes(root)

    def test_keys_come_first(self, make_classes):
        """A name that is a key and a value is taken for the key."""
        root = make_classes("b")

        rename_classes(root, {"a": "b", "b": "c"})

        assert {"c": "b"} == classes(root)

    @pytest.mark.parametrize(
        ("mapping", "expected"),
        [
            ({"a": "b", "b": "a"}, {"b": "a", "a": "b", "c": "c"}),
            ({"a": "b", "b": "c", "c": "a"}, {"b": "a", "c": "b", "a": "c"}),
            ({"a": "b", "b": "c", "c": "d"}, {"b": "a", "c": "b", "d": "c"}),
            ({"c": "d", "b": "c", "a": "b"}, {"b": "a", "c": "b", "d": "c"}),
        ],
        ids=["swap", "cycle", "chain", "chain from its end"],
    )
    def test_names_are_passed_on(self, make_classes, mapping, expected):
        """A name may go from one folder to another."""
        root = make_classes("a", "b", "c")

        rename_classes(root, mapping)

        assert expected == classes(root)

    def test_swap_twice(self, make_classes):
        """Two swaps are none."""
        root = make_classes("a", "b")

        rename_classes(root, {"a": "b", "b": "a"})
        rename_classes(root, {"a": "b", "b": "a"})

        assert unchanged("a", "b") == classes(root)

    def test_letter_case_may_change(self, make_classes):
        """A new name may differ from the old one in its letters' case alone."""
        root = make_classes("cat")

        rename_classes(root, {"cat": "Cat"})

        assert {"Cat": "cat"} == classes(root)

    def test_any_mapping_serves(self, make_classes):
        """The mapping needn't be a dict."""
        root = make_classes("cane")

        rename_classes(root, MappingProxyType({"cane": "dog"}))

        assert {"dog": "cane"} == classes(root)

    @pytest.mark.parametrize(("on_disk", "in_mapping"), [("NFD", "NFC"), ("NFC", "NFD")])
    def test_decomposed_names_are_found(self, make_classes, on_disk, in_mapping):
        """Composed and decomposed characters are the same name."""
        root = make_classes(unicodedata.normalize(on_disk, "고양이"), "cane")
        mapping = {unicodedata.normalize(in_mapping, "고양이"): "cat"}

        rename_classes(root, mapping)

        assert {"cat", "cane"} == set(classes(root))

    def test_hidden_folders_and_files_are_left(self, make_classes):
        """Only visible folders are classes."""
        root = make_classes("cane", ".cane", ".git")
        (root / "gatto").write_text("a file", encoding="utf-8")

        rename_classes(root, {"cane": "dog", "gatto": "cat"})

        assert {"dog": "cane", ".cane": ".cane", ".git": ".git"} == classes(root)
        assert "a file" == (root / "gatto").read_text("utf-8")

    def test_link_to_a_folder_is_renamed_as_a_link(self, make_classes):
        """What a link leads to keeps its name."""
        root = make_classes("cane")
        (root / "cane").rename(root.parent / "elsewhere")
        (root / "cane").symlink_to(root.parent / "elsewhere")

        rename_classes(root, {"cane": "dog"})

        assert (root / "dog").is_symlink()
        assert (root.parent / "elsewhere" / "note.txt").is_file()


class TestRefusals:
    """A renaming that can't be completed is refused before anything is renamed."""

    def test_no_folder_is_named(self, make_classes):
        """The error lists names of both sides."""
        root = make_classes("cat", "dog")

        text = (
            "`mapping` must name a folder. Received: names 'cane'; the folders in "
            f"{str(root)!r} are 'cat' or 'dog'."
        )
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            rename_classes(root, {"cane": "hund"})

    def test_no_folder_of_many_is_named(self, make_classes):
        """The error lists five names of each side."""
        root = make_classes(*"abcdefg")

        with pytest.raises(ValueError, match="names '1', '2', '3', '4' or '5'; .* 'd' or 'e'\\.$"):
            rename_classes(root, {str(number): "x" for number in range(1, 8)})

    @pytest.mark.parametrize(("names", "mapping"), [(["cat"], {}), ([], {"cane": "dog"})])
    def test_nothing_to_name(self, make_classes, tmp_path, names, mapping):
        """The error is the same for an empty mapping and for a folder without folders."""
        (tmp_path / "animals").mkdir()
        root = tmp_path / "animals"
        for name in names:
            (root / name).mkdir()

        with pytest.raises(ValueError, match="must name a folder"):
            rename_classes(root, mapping)

    def test_two_keys_for_a_folder(self, make_classes):
        """In the opposite direction, a folder that two keys lead to has no one name."""
        root = make_classes("dog", "cat")

        text = "^`mapping` must give one name for each folder. Received: several keys for 'dog'.$"
        with pytest.raises(ValueError, match=text):
            rename_classes(root, {"cane": "dog", "cagna": "dog", "gatto": "cat"})

        assert unchanged("dog", "cat") == classes(root)

    def test_two_keys_for_no_folder(self, make_classes):
        """Two keys of one value don't matter where no folder has that name."""
        root = make_classes("cat")

        rename_classes(root, {"cane": "dog", "cagna": "dog", "gatto": "cat"})

        assert {"gatto": "cat"} == classes(root)

    def test_two_keys_for_a_folder_in_both_directions(self, make_classes):
        """It is the same where some names are keys as well as values."""
        root = make_classes("dog")

        with pytest.raises(ValueError, match="several keys for 'dog'"):
            rename_classes(root, {"cane": "dog", "cagna": "dog", "gatto": "cane"})

    @pytest.mark.parametrize(
        "name", ["", ".", "..", ".hidden", "a/b", "/a", "a/", "a\\b", "a\0b", 3, None, b"dog"]
    )
    def test_unfit_new_names(self, make_classes, name):
        """A name must be that of one visible folder."""
        root = make_classes("cane", "gatto")

        with pytest.raises(ValueError, match="`mapping` must hold names that a folder can have"):
            rename_classes(root, {"gatto": "cat", "cane": name})

        assert unchanged("cane", "gatto") == classes(root)

    @pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", 3, None])
    def test_unfit_old_names(self, make_classes, name):
        """Keys must be fit as well: they may become names."""
        root = make_classes("cane", "dog")

        with pytest.raises(ValueError, match="`mapping` must hold names that a folder can have"):
            rename_classes(root, {name: "dog", "cane": "hund"})

        assert unchanged("cane", "dog") == classes(root)

    @pytest.mark.parametrize("dry_run", [False, True])
    def test_name_of_another_folder(self, make_classes, dry_run):
        """A name that a folder keeps is taken, and the others aren't renamed either."""
        root = make_classes("cane", "gatto", "dog")

        with pytest.raises(FileExistsError, match="must be free.*dog.*Nothing was renamed"):
            rename_classes(root, {"gatto": "cat", "cane": "dog"}, dry_run=dry_run)

        assert unchanged("cane", "gatto", "dog") == classes(root)

    def test_name_of_a_file(self, make_classes):
        """A name that a file has is taken."""
        root = make_classes("cane", "gatto")
        (root / "dog").write_text("a file", encoding="utf-8")

        with pytest.raises(FileExistsError, match="dog"):
            rename_classes(root, {"gatto": "cat", "cane": "dog"})

        assert unchanged("cane", "gatto") == classes(root)
        assert "a file" == (root / "dog").read_text("utf-8")

    def test_name_of_a_broken_link(self, make_classes):
        """A dangling link keeps its own name."""
        root = make_classes("cane", "gatto")
        (root / "dog").symlink_to("nowhere")

        with pytest.raises(FileExistsError, match="dog"):
            rename_classes(root, {"gatto": "cat", "cane": "dog"})

        assert unchanged("cane", "gatto") == classes(root)

    def test_one_name_for_two_folders(self, make_classes):
        """Folders are never merged."""
        root = make_classes("cane", "cagna", "gatto")

        with pytest.raises(FileExistsError, match="'[^']*dog', which another"):
            rename_classes(root, {"gatto": "cat", "cane": "dog", "cagna": "dog"})

        assert unchanged("cane", "cagna", "gatto") == classes(root)

    def test_composed_and_decomposed_folders(self, make_classes):
        """Two folders whose names are the same but for composition can't both be renamed."""
        root = make_classes("caf\u00e9", "cafe\u0301")

        names = sorted(map(repr, ["caf\u00e9", "cafe\u0301"]))
        text = (
            "^`directory` must not hold two names that differ only in Unicode normalization. "
            f"Received: {' or '.join(names)}.$"
        )
        with pytest.raises(ValueError, match=text):
            rename_classes(root, {"caf\u00e9": "coffee"})

    def test_composed_and_decomposed_keys(self, make_classes):
        """Two keys that name one folder don't tell which one holds."""
        root = make_classes("caf\u00e9")

        with pytest.raises(ValueError, match="^`mapping` must not hold two names that differ"):
            rename_classes(root, {"caf\u00e9": "coffee", "cafe\u0301": "bar"})

    def test_other_encodings_are_refused(self, make_classes, tmp_path):
        """A file that isn't UTF-8 is named, with the rule."""
        root = make_classes("cane")
        path = tmp_path / "names.py"
        path.write_bytes("{'cane': '개'}".encode("cp949"))

        with pytest.raises(ValueError, match=r"must be a UTF-8 file.*names\.py"):
            rename_classes(root, path)

    def test_too_long_name(self, make_classes):
        """What the system refuses in the middle is undone."""
        root = make_classes("cane", "gatto")

        with pytest.raises(OSError, match="too long"):
            rename_classes(root, {"cane": "dog", "gatto": "x" * 256})

        assert {"cane", "gatto"} == {path.name for path in root.iterdir()}

    def test_missing_folder(self, tmp_path):
        """The folder must exist."""
        with pytest.raises(FileNotFoundError, match="`directory` must be an existing folder"):
            rename_classes(tmp_path / "missing", {"cane": "dog"})


class TestTable:
    """Both functions return what they rename."""

    def test_rows_of_classes(self, make_classes):
        """There is a row for each folder that gets another name."""
        root = make_classes("cane", "gatto", "ragno", "stays")

        table = rename_classes(root, {"cane": "dog", "gatto": "cat", "stays": "stays"})

        assert [str(root / "cane"), str(root / "gatto")] == table["old_paths"].tolist()
        assert [str(root / "dog"), str(root / "cat")] == table["new_paths"].tolist()

    def test_rows_of_files(self, make_files):
        """There is a row for each file that gets another name."""
        root = make_files("cat/a.png", "cat/cat2.png", "dog/b.jpg")

        table = renumber_files(root)

        old = [str(root / "cat/a.png"), str(root / "dog/b.jpg")]
        new = [str(root / "cat/cat1.png"), str(root / "dog/dog1.jpg")]
        assert old == table["old_paths"].tolist()
        assert new == table["new_paths"].tolist()

    @pytest.mark.parametrize("names", [("cane",), ("dog",)], ids=["one row", "no row"])
    def test_columns(self, make_classes, names):
        """The columns are strings, also without rows."""
        table = rename_classes(make_classes(*names), {"cane": "dog", "dog": "dog"})

        strings = pd.Series(["a"], dtype=str).dtype
        assert {"old_paths": strings, "new_paths": strings} == table.dtypes.to_dict()

    @pytest.mark.parametrize("names", [("cat/a.png",), ("cat/cat1.png",)])
    def test_columns_of_files(self, make_files, names):
        """They are the same for files."""
        table = renumber_files(make_files(*names))

        strings = pd.Series(["a"], dtype=str).dtype
        assert {"old_paths": strings, "new_paths": strings} == table.dtypes.to_dict()

    def test_dry_run_of_classes(self, make_classes):
        """A dry run returns the same table and renames nothing."""
        root = make_classes("cane", "gatto")

        table = rename_classes(root, BOTH_WAYS, dry_run=True)

        assert unchanged("cane", "gatto") == classes(root)
        assert {"cane", "gatto"} == {path.name for path in root.iterdir()}
        pd.testing.assert_frame_equal(table, rename_classes(root, BOTH_WAYS))

    def test_dry_run_of_files(self, make_files):
        """Files with such names are numbered, too."""
        root = make_files("cat/b.png", "cat/cat2.png", "dog/1.jpg")
        before = contents(root)

        table = renumber_files(root, dry_run=True)

        assert before == contents(root)
        pd.testing.assert_frame_equal(table, renumber_files(root))

    def test_paths_lie_in_the_folder_as_given(self, make_files, monkeypatch):
        """A relative folder gives relative paths."""
        root = make_files("cat/a.png")
        monkeypatch.chdir(root.parent)

        table = renumber_files("animals")

        assert [str(Path("animals/cat/a.png"))] == table["old_paths"].tolist()
        assert [str(Path("animals/cat/cat1.png"))] == table["new_paths"].tolist()
