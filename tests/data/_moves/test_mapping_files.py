"""rename_classes with a file of names: JSON and CSV in all their forms."""

from renaming import classes, unchanged


import json
from pathlib import Path

import pytest

from cnnkit.data import rename_classes


@pytest.fixture
def mapping_file(tmp_path):
    """Return a function that writes a text into a file beside the folder of classes."""

    def write(text, encoding="utf-8"):
        path = tmp_path / "translate.txt"
        path.write_text(text, encoding=encoding)
        return path

    return write


class TestMappingFile:
    """The mapping may be a file, which is read and never run."""

    @pytest.mark.parametrize(
        "text",
        [
            'translate = {"cane": "dog", "gatto": "cat"}',
            "{'cane': 'dog', 'gatto': 'cat'}",
            '{\n  "cane": "dog",\n  "gatto": "cat"\n}\n',
            'translate: dict[str, str] = {"cane": "dog", "gatto": "cat"}',
            'import os\n# all\nn = 3\nx = {\n"cane": "dog",  # one\n"gatto": "cat",\n}\nprint(x)\n',
            '\ufefftranslate = {"cane": "dog", "gatto": "cat"}',
            '\ufeff{"cane": "dog", "gatto": "cat"}',
            'translate = {"cane": "dog",\r\n"gatto": "cat"}\r\n',
        ],
        ids=[
            "assigned", "bare", "JSON", "annotated", "among others", "BOM", "JSON with BOM", "CRLF",
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("kind", [str, Path])
    def test_forms(self, make_classes, mapping_file, text, kind):
        """Python or JSON, with whatever else is in the file."""
        root = make_classes("cane", "gatto")

        rename_classes(root, kind(mapping_file(text)))

        assert {"dog": "cane", "cat": "gatto"} == classes(root)

    @pytest.mark.parametrize("escaped", [False, True])
    def test_korean_names(self, make_classes, mapping_file, escaped):
        """Names of any script are read from UTF-8, and from JSON's escapes."""
        root = make_classes("고양이", "개")
        text = json.dumps({"고양이": "cat", "개": "dog"}, ensure_ascii=escaped)

        rename_classes(root, mapping_file(text))

        assert {"cat": "고양이", "dog": "개"} == classes(root)

    def test_escaped_emoji_in_json(self, make_classes, mapping_file):
        """JSON writes a character beyond the first 65,536 as two escapes."""
        root = make_classes("😀")

        rename_classes(root, mapping_file(json.dumps({"😀": "smile"})))

        assert {"smile": "😀"} == classes(root)

    def test_other_statements_are_not_run(self, make_classes, mapping_file, tmp_path):
        """Other content of the file has no effect."""
        root = make_classes("cane")
        proof = tmp_path / "proof"
        path = mapping_file(f"open({str(proof)!r}, 'w').close()\nnames = {{'cane': 'dog'}}\n")

        rename_classes(root, path)

        assert {"dog": "cane"} == classes(root)
        assert not proof.exists()

    @pytest.mark.parametrize(
        "text",
        [
            "{__import__('os').mkdir({proof!r}) or 'cane': 'dog'}",
            "{'cane': __import__('os').mkdir({proof!r}) or 'dog'}",
            "names = {'cane': 'dog', **__import__('os').mkdir({proof!r})}",
            "{'cane': f\"{__import__('os').mkdir({proof!r})}\"}",
            "{'cane': [__import__('os').mkdir({proof!r}) for _ in 'a']}",
        ],
    )
    def test_code_is_refused_and_not_run(self, make_classes, mapping_file, tmp_path, text):
        """A dictionary that would have to be executed is refused."""
        root = make_classes("cane")
        proof = tmp_path / "proof"
        path = mapping_file(text.replace("{proof!r}", repr(str(proof))))

        with pytest.raises(ValueError, match="one dictionary of plain names"):
            rename_classes(root, path)

        assert not proof.exists()
        assert unchanged("cane") == classes(root)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "cane: dog",
            "cane,dog\n",
            "{'cane': 'dog'",
            "['cane', 'dog']",
            "{'cane', 'dog'}",
            "dict(cane='dog')",
            "{'cane': dog}",
            "{'cane': 'd' + 'og'}",
            "def names():\n    names = {'cane': 'dog'}\n",
            "one = {'cane': 'dog'}\ntwo = {'gatto': 'cat'}",
        ],
    )
    def test_other_files_are_refused(self, make_classes, mapping_file, text):
        """The file must hold one dictionary, of literals."""
        root, path = make_classes("cane"), mapping_file(text)
        text = (
            "^`mapping` must be a UTF-8 file with one dictionary of plain names. "
            "Received: .*translate.txt"
        )
        with pytest.raises(ValueError, match=text):
            rename_classes(root, path)

        assert unchanged("cane") == classes(root)

    def test_dictionaries_are_counted(self, make_classes, mapping_file):
        """The error says how many there are."""
        root = make_classes("cane")

        with pytest.raises(ValueError, match="'.*translate.txt': it holds 2 dictionaries.$"):
            rename_classes(root, mapping_file("{'cane': 'dog'}\n{'gatto': 'cat'}"))

    def test_unhashable_keys_are_refused(self, make_classes, mapping_file):
        """A list can't be a key, and the file is at fault."""
        root = make_classes("cane")

        with pytest.raises(ValueError, match="one dictionary of plain names"):
            rename_classes(root, mapping_file("{['cane']: 'dog'}"))

    @pytest.mark.parametrize(
        "text", ["{1: 'dog'}", "{'cane': 1}", "{'cane': None}", "{b'cane': 'dog'}", "{'cane': {}}"]
    )
    def test_other_values_than_names_are_refused(self, make_classes, mapping_file, text):
        """Keys and values of the file must be names."""
        root = make_classes("cane")

        with pytest.raises(ValueError, match="names that a folder can have"):
            rename_classes(root, mapping_file(text))

    def test_missing_file(self, make_classes, tmp_path):
        """The file must exist."""
        root = make_classes("cane")

        with pytest.raises(FileNotFoundError, match="missing.txt"):
            rename_classes(root, tmp_path / "missing.txt")
