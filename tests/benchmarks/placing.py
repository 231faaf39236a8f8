"""Time of placing a split in folders, side by side with split-folders.

    nox -s bench -- placing

Both read the folder and write train, validation and test folders of the same sizes; ours also
writes the table of what lies where. The ratio is their time over ours, from interleaved pairs.
"""

import shutil
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import splitfolders
from splitfolders import split as splitfolders_split
from tqdm import tqdm

from cnnkit.data import split_folder

from pairs import ratio

CLASSES = 10
FILES = 400  # in each class
SIZE = 50_000  # bytes of each file
PAIRS = 11
TARGETS = {"copy": 1, "hardlink": 10}


def write_files(root: Path) -> None:
    """Write files of random bytes: nothing here decodes them."""
    generator = np.random.default_rng(0)
    for label in range(CLASSES):
        folder = root / f"class_{label}"
        folder.mkdir(parents=True)
        for number in range(FILES):
            (folder / f"{number:03}.jpg").write_bytes(generator.bytes(SIZE))


def remove(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def placed(root: Path) -> int:
    return sum(1 for _ in root.glob("*/*/*.jpg"))


def main() -> None:
    """Print the table."""
    splitfolders_split.use_tqdm = False  # its bar can't be turned off otherwise
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        source, ours, theirs = (Path(folder, name) for name in ("source", "ours", "theirs"))
        write_files(source)
        run_theirs = partial(
            splitfolders.ratio, str(source), str(theirs), seed=1, ratio=(0.6, 0.2, 0.2)
        )
        for how, target in tqdm(TARGETS.items(), "pairs"):
            run_ours = partial(split_folder, source, ours, how=how, progress=False)
            prepare = partial(remove, ours, theirs)
            median, low = ratio(run_ours, run_theirs, pairs=PAIRS, prepare=prepare)
            run_theirs()
            assert CLASSES * FILES == placed(ours) == placed(theirs)
            rows.append((how, f"{median:.2f}", f"{low:.2f}", f">= {target}"))
    columns = ["how", "their time (copy) / ours", "lower end of 95 %", "target"]
    print(pd.DataFrame(rows, columns=columns).to_string(index=False))


if __name__ == "__main__":
    main()
