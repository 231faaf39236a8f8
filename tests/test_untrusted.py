"""Untrusted files are only data: none runs code or gives access to other folders."""

import re
import ast
import json
import pickle
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import cnnkit
from cnnkit.data import rename_classes, renumber_files
from cnnkit.models import load_weights, simple_cnn

RUN = "import pathlib; pathlib.Path({!r}).touch()"
SOURCES = sorted(Path(cnnkit.__file__).parent.rglob("*.py"))


class Payload:
    """An object that runs code when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return exec, (RUN.format(self.path),)


@pytest.fixture
def victim(tmp_path):
    """Return a path that exists only if code from a file was run."""
    return tmp_path / "victim"


def model():
    return simple_cnn((8, 8, 3), 2, filters=(2,))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_no_call_that_runs_data(source):
    """There is no `eval`, `exec` or pickle, and functions that could unpickle must not."""
    calls = [node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Call)]
    for call in calls:
        name = ast.unparse(call.func)
        options = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert name not in ("eval", "exec", "compile", "__import__", "os.system")
        assert not name.startswith(("pickle.", "subprocess.", "marshal.", "shelve.", "yaml."))
        assert options.get("allow_pickle", "False") == "False"
        assert name != "torch.load" or options["weights_only"] == "True"
        assert not name.endswith("load_model") or options["safe_mode"] == "True"
        assert "enable_unsafe" not in name


def test_the_payload_works(victim):
    """Otherwise, the other tests would prove nothing."""
    pickle.loads(pickle.dumps(Payload(victim)))

    assert victim.exists()


def test_pickled_array(victim, tmp_path):
    """An .npz file with objects in it."""
    objects = np.empty(1, dtype=object)
    objects[0] = Payload(victim)
    np.savez(tmp_path / "weights.npz", **{"block1_conv1/kernel": objects})

    with pytest.raises(ValueError, match=r"weights\.npz"):
        load_weights(model(), tmp_path / "weights.npz")
    assert not victim.exists()


def test_lambda_in_a_model(victim, tmp_path):
    """A .keras file may carry Python bytecode."""
    inputs = keras.Input((8, 8, 3))
    outputs = keras.layers.Lambda(eval(f"lambda x: (exec({RUN.format(str(victim))!r}), x)[1]"))
    other = keras.Model(inputs, keras.layers.Dense(2)(outputs(inputs)))
    other.save(tmp_path / "model.keras")
    victim.unlink()  # building the model has run it

    with pytest.raises(ValueError, match=r"model\.keras"):
        load_weights(model(), tmp_path / "model.keras")
    assert not victim.exists()


def test_code_in_a_mapping(victim, tmp_path):
    """A mapping is one literal dict."""
    (tmp_path / "photos" / "a").mkdir(parents=True)
    (tmp_path / "mapping.txt").write_text(f"{{'a': exec({RUN.format(str(victim))!r})}}")

    with pytest.raises(ValueError, match=r"mapping\.txt"):
        rename_classes(tmp_path / "photos", tmp_path / "mapping.txt")
    assert not victim.exists()


class TestJournal:
    """A journal of a renaming that comes with a folder of images."""

    @pytest.fixture
    def photos(self, tmp_path):
        (tmp_path / "photos" / "a").mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / "a" / "x.png")
        (tmp_path / "private.txt").write_text("private")
        return tmp_path / "photos"

    @pytest.mark.parametrize("phase", ["out", "in"])
    @pytest.mark.parametrize(
        "moves",
        [
            [["a/x.png", "../private.txt"]],
            [["../private.txt", "a/x.png"]],
            [["../stolen.txt", "../private.txt"]],
            [["a/../../stolen.txt", "a/../../private.txt"]],
            [["a/y.png", "b/y.png"]],
            [["b/x.png", "a/x.png"]],
            [["{root}/stolen.txt", "{root}/private.txt"]],
            [[".", "."]],
            [[".", "b"]],
            [["a", "."]],
            [["a", ".."]],
        ],
    )
    def test_leads_outside(self, photos, phase, moves):
        """It can't move files outside, nor from one folder to another."""
        root = str(photos.parent)
        told = [[name.replace("{root}", root) for name in move] for move in moves]
        journal = photos / ".cnnkit-moves.json"
        journal.write_text(json.dumps({"phase": phase, "moves": told}))
        (photos / "a" / ".cnnkit-move-0").write_text("bait")
        (photos.parent / ".cnnkit-move-0").write_text("bait")
        before = sorted(photos.parent.rglob("*"))

        text = (
            "The journal of a renaming must be as it was written, with names inside its folder. "
            f"Received: {str(journal)!r}. Nothing was renamed; if it came with the images, "
            "delete it."
        )
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            renumber_files(photos)
        assert sorted(photos.parent.rglob("*")) == before
        assert (photos.parent / "private.txt").read_text() == "private"

    @pytest.mark.parametrize(
        "content",
        ["", "[]", "{}", '{"phase": "in"}', '{"phase": "up", "moves": []}', '{"moves": 1}'],
    )
    def test_is_none(self, photos, content):
        """The error names another file of that name."""
        (photos / ".cnnkit-moves.json").write_text(content)

        with pytest.raises(ValueError, match=r"cnnkit-moves\.json"):
            renumber_files(photos)
        assert (photos / "a" / "x.png").exists()
