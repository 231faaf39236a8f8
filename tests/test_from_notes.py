"""The right column of the page on course notes works, from top to bottom."""

import re
import shutil
import sys
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from keras.applications.imagenet_utils import decode_predictions
from PIL import Image
from sklearn.datasets import load_digits, load_sample_image

PAGE = Path(__file__).parents[1] / "docs" / "how_to" / "from_notes.md"
TEXT = PAGE.read_text(encoding="utf-8").replace('weights="imagenet"', "weights=None")
ROW = r"^\| (?P<notes>[^|\n]+) \| (?P<today>[^|\n]+) \| `(?P<row>[^\n]+)` \|$"
BLOCK = r"^```python\n(?P<block>[\s\S]*?)^```$"
PARTS = [
    match["row"] or match["block"]
    for match in re.finditer(f"{ROW}|{BLOCK}", TEXT, flags=re.MULTILINE)
]


def write_digits(folder: Path, name: str, images: np.ndarray) -> None:
    """Write digits as images of a size that all networks accept."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        pixels = Image.fromarray((image * (255 / 16)).round().astype(np.uint8))
        pixels.resize((70, 70)).save(folder / f"{name}.{number}.png")


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """Write the files of such a project: a photo, folders of animals and pets, an archive."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(load_sample_image("china.jpg")).save("photo.jpg")
    digits, targets = load_digits(n_class=3, return_X_y=True)
    by_class = [digits.reshape(-1, 8, 8)[targets == target][:20] for target in range(3)]
    for name, images in zip(("cane", "gatto", "pecora"), by_class, strict=True):
        write_digits(Path("animals", name), "photo", images)
    for name, images in zip(("cat", "dog"), by_class, strict=False):
        write_digits(Path("pets"), name, images)
    Path("translate.py").write_text(
        'translate = {"cane": "dog", "gatto": "cat", "pecora": "sheep"}', encoding="utf-8"
    )
    shutil.make_archive("archive", "zip", ".", "animals")
    return tmp_path


def test_the_table_is_found() -> None:
    """The table is still where this test looks for it, and each row has three cells."""
    rows = [line for line in TEXT.splitlines() if line.startswith("| ")]
    heads = [line for line in rows if line == "| in the notes | today | instead |"]

    assert len(PARTS) - TEXT.count("```python") == len(rows) - len(heads)
    assert len(PARTS) > 80


@pytest.fixture
def untraced():
    """Run `fit` and `predict` eagerly: tracing MobileNetV2 takes longer than these few steps."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.usefixtures("untraced")
# TensorFlow warns that functions of datasets are traced all the same.
@pytest.mark.filterwarnings("ignore:Even though the `tf.config:UserWarning")
# Keras's ImageDataGenerator imports from a module that SciPy will remove.
@pytest.mark.filterwarnings("ignore:Please import `affine_transform`:DeprecationWarning")
def test_every_row_runs(project, monkeypatch) -> None:
    """The rows run in the order of the page, as one project."""
    words = {str(number): (f"n{number:08}", f"class {number}") for number in range(1000)}
    keras_names = sys.modules[decode_predictions.__module__]
    monkeypatch.setattr(keras_names, "CLASS_INDEX", words)  # Keras would download them
    names = {"url": (project / "archive.zip").as_uri()}
    for part in PARTS:
        try:
            exec(part, names)
        except Exception as error:
            error.add_note(f"The row: {part}")
            raise
        plt.close("all")

    assert names["class_names"] == ["cat", "dog", "sheep"]
    assert (project / "datasets").is_dir()
    assert isinstance(names["model"], keras.Model)
    assert len(names["names"][0]) == 5
    for transform in names["TRANSFORMS"]:
        assert names["show_augmentations"](names["image"], transform, draws=1).size == 2
        plt.close("all")
