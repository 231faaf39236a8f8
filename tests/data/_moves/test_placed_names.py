"""split_folder: no file is lost because of its name."""

from placing import WAYS, place, trees


import os
import shutil
import sys
import tempfile
import unicodedata
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cnnkit.data import list_images


class TestNames:
    """No file is lost because another has its name."""

    def test_equal_names_get_numbers(self, tmp_path, parts, write_files):
        """Files of one class from several folders, and a name that the number would give."""
        names = ["a/1.jpg", "b/1.jpg", "c/1.jpg", "c/1_2.jpg", "d/2.jpg"]
        root = write_files(tmp_path / "photos", [f"cat/{name}" for name in names])

        table = place(root, parts)

        expected = ["1.jpg", "1_3.jpg", "1_4.jpg", "1_2.jpg", "2.jpg"]
        assert expected == [Path(path).name for path in table["file_paths"]]
        for old, new in zip(table["source_paths"], table["file_paths"], strict=True):
            assert Path(old).read_bytes() == Path(new).read_bytes()

    @pytest.mark.parametrize(
        "names",
        [("cat.jpg", "CAT.JPG"), ("é.jpg", "e\u0301.jpg")],
        ids=["case", "composition"],
    )
    def test_names_that_some_systems_take_for_one(self, tmp_path, parts, names, write_files):
        """Names that differ in case or composition only are made to differ in more."""
        root = write_files(
            tmp_path / "photos", [f"cat/{number}/{names[number]}" for number in (0, 1)]
        )

        table = place(root, parts, validation_size=0, test_size=0)

        numbered = names[1].replace(".", "_2.")
        assert {names[0], numbered} == {Path(path).name for path in table["file_paths"]}

    def test_classes_share_names(self, tmp_path, parts, write_files):
        """Equal names in different classes stay."""
        names = [f"{label}/{number}.jpg" for label in ("cat", "dog") for number in range(5)]

        table = place(write_files(tmp_path / "photos", names), parts)

        assert names == [
            f"{Path(path).parent.name}/{Path(path).name}" for path in table["file_paths"]
        ]

    def test_numbers_do_not_depend_on_the_order(self, tmp_path, parts, write_files, states):
        """A table in another order gives every file the same place."""
        names = [f"cat/{folder}/1.jpg" for folder in "abcdefgh"]
        table = list_images(write_files(tmp_path / "photos", names))
        place(table, parts)
        before = states(parts)

        shuffled = place(table.sample(frac=1, random_state=0), tmp_path / "others")

        assert {name: content[0] for name, content in before.items() if name != "split.csv"} == {
            os.path.relpath(path, tmp_path / "others"): Path(path).read_bytes()
            for path in shuffled["file_paths"]
        }

    def test_long_names(self, tmp_path, parts, write_files):
        """A name as long as a file system allows is placed."""
        names = [f"cat/{letter * 251}.jpg" for letter in "abcde"]

        table = place(write_files(tmp_path / "photos", names), parts)

        assert names == [f"cat/{Path(path).name}" for path in table["file_paths"]]

    @pytest.mark.skipif(sys.platform != "linux", reason="only there names are any bytes")
    def test_names_that_are_no_text(self, tmp_path, parts, write_files):
        """Names of older encodings are kept, byte by byte, in `split.csv` as well."""
        names = [os.fsdecode(b"caf\xe9/\xff%d.jpg" % number) for number in range(5)]

        table = place(write_files(tmp_path / "photos", names), parts)

        assert names == [
            f"{Path(path).parent.name}/{Path(path).name}" for path in table["file_paths"]
        ]
        assert 10 == (parts / "split.csv").read_bytes().count(b"caf\xe9/\xff")


@pytest.fixture(scope="module")
def folder_of(write_files):
    """Return a context manager that makes a folder of images."""

    @contextmanager
    def made(tree):
        with tempfile.TemporaryDirectory() as folder:
            names = [f"{label}/{name}" for label, files in tree.items() for name in files]
            yield write_files(Path(folder, "photos"), ["other/1.png", *names])

    return made


@pytest.mark.skipif(sys.platform != "linux", reason="only there names are any bytes")
class TestAnyTree:
    """Properties of any folder of images."""

    @settings(deadline=None, max_examples=30)  # a busy machine is no failure
    @given(trees, st.sampled_from(WAYS), st.floats(0, 0.45), st.integers(0, 9))
    @example({"cat": ["1.jpg", "a/1.jpg", "b/1.jpg", "1_2.jpg"]}, "copy", 0.2, 0)
    def test_every_file_is_placed_once(self, states, folder_of, tree, how, test_size, seed):
        """The parts together contain every file exactly once, under distinct names."""
        with folder_of(tree) as root:
            before = states(root)
            parts = root.parent / "parts"

            test_count = int(test_size * len(before))
            place(
                root,
                parts,
                how=how,
                validation_size=0,
                test_size=test_count,
                stratify=False,
                random_state=seed,
            )

            files = [path for path in parts.glob("*/*/*") if path.is_file()]
            assert Counter(content for content, *_ in before.values()) == Counter(
                path.read_bytes() for path in files
            )
            names = {
                unicodedata.normalize("NFC", f"{p.parent.name}/{p.name}").casefold() for p in files
            }
            assert len(files) == len(names)
            assert before == states(root)

    @settings(deadline=None, max_examples=15)  # a busy machine is no failure
    @given(trees, st.sampled_from(["copy", "hardlink"]), st.integers(0, 30))
    def test_repeats_end_the_same(self, states, contents, breaking, folder_of, tree, how, step):
        """An interrupted call that is repeated gives the same result as an undisturbed one."""
        owner, name = (shutil, "copy2") if how == "copy" else (os, "link")
        with folder_of(tree) as root:
            parts, undisturbed = root.parent / "parts", root.parent / "undisturbed"
            sizes = {"validation_size": 0, "test_size": len(states(root)) // 3}
            options = {"how": how, "stratify": False, **sizes}
            place(root, undisturbed, **options)

            with breaking(owner, name, step, KeyboardInterrupt()), suppress(KeyboardInterrupt):
                place(root, parts, **options)
            place(root, parts, **options)

            assert contents(undisturbed) == contents(parts)
