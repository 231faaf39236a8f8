"""Time of listing a folder of classes, side by side with Keras.

    nox -s bench -- listing

Both give the paths and the class numbers of all files, in the order of the names. The ratio is
their time over ours, from interleaved pairs.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from keras.src.utils.dataset_utils import index_directory

from cnnkit.data import list_images

from pairs import ratio

CLASSES = 10
FILES = 5_000  # in each class
TARGET = 5


def write_files(root: Path) -> None:
    """Write empty files: to list is not to read."""
    for label in range(CLASSES):
        folder = root / f"class_{label}"
        folder.mkdir()
        for number in range(FILES):
            (folder / f"{number:05}.jpg").touch()


def keras_index(root: Path) -> tuple[list[str], np.ndarray, list[str]]:
    """List as `keras.utils.image_dataset_from_directory` does: this is what it calls."""
    return index_directory(
        str(root), "inferred", (".jpg", ".jpeg", ".png"), shuffle=False, verbose=False
    )


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_files(root)
        paths, targets, _ = keras_index(root)
        table = list_images(root)
        assert paths == table["file_paths"].tolist()
        assert list(targets) == table["targets"].tolist()
        median, low = ratio(lambda: list_images(root), lambda: keras_index(root))
    columns = ["files", "their time / ours", "lower end of 95 %", "target"]
    row = (CLASSES * FILES, f"{median:.2f}", f"{low:.2f}", f">= {TARGET}")
    print(pd.DataFrame([row], columns=columns).to_string(index=False))


if __name__ == "__main__":
    main()
