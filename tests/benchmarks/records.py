"""Time of reading records, side by side with `image_dataset` on the same images, and memory.

    nox -s bench -- records [PHOTOS [TINY]]

PHOTOS and TINY hold images in class folders, read at 224 x 224 and 32 x 32; without them they are
made of scikit-learn's two sample photos. The ratio is the time of `image_dataset` without a cache
over that of `record_dataset`, from interleaved pairs; each iterates over all images. Then a process
of its own writes and reads 100,000 small images, TINY again and again; its memory is the most that
it ever held, TensorFlow included.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from memory import peak
from pairs import ratio, seconds
from pipelines import write_photos

from cnnkit.data import image_dataset, list_images, record_dataset, write_records

MANY, PAIRS = 100_000, 11
quiet: dict[str, Any] = {"progress": False}


def iterate(dataset: Any) -> int:
    """Return how many images a pass over a dataset gives."""
    return sum(len(images) for images, _ in dataset)


def compare(folder: str, side: int, made: Path) -> pd.DataFrame:
    """Return seconds of writing and verifying, and how many times faster reading is."""
    table = list_images(folder)
    write: Callable[[], object] = partial(write_records, table, made, (side, side), **quiet)
    rows = {"write": seconds(write), "verify": seconds(lambda: record_dataset(made, **quiet))}
    files = image_dataset(table, (side, side))
    shuffled_files = image_dataset(table, (side, side), shuffle=True)
    ratios = {
        "in order": (record_dataset(made, **quiet), files),
        "shuffled": (record_dataset(made, shuffle=True, **quiet), shuffled_files),
    }
    for name, (ours, theirs) in ratios.items():
        both = ratio(partial(iterate, ours), partial(iterate, theirs), pairs=PAIRS)
        rows[f"{name}, times as fast"], rows[f"{name}, low"] = both
    rows["megabytes on disk"] = sum(path.stat().st_size for path in made.iterdir()) / 1e6
    return pd.Series(rows).to_frame(f"{len(table)} of {side} x {side}")


def many(folder: str, made: str) -> None:
    """Write and read many images; print seconds, how many, and the memory."""
    import tensorflow as tf  # noqa: F401  # for its share of the memory

    start = peak()
    table = list_images(folder)
    rows = np.resize(np.random.default_rng(0).permutation(len(table)), MANY)
    table = table.iloc[rows].reset_index(drop=True)
    write = seconds(lambda: write_records(table, made, (32, 32), **quiet))
    counts: list[int] = []
    dataset = record_dataset(made, shuffle=True, **quiet)
    read = seconds(lambda: counts.append(iterate(dataset)))
    print(
        json.dumps(
            {
                "write": write,
                "read": read,
                "images": counts[0],
                "MB at start": start,
                "peak MB": peak(),
            }
        )
    )


def main(photos: str, tiny: str, made: Path) -> None:
    """Print the tables."""
    import tensorflow as tf  # noqa: F401  # beforehand, or it counts as writing

    tables = [compare(photos, 224, made / "photos"), compare(tiny, 32, made / "tiny")]
    print(pd.concat(tables, axis=1).to_string(float_format="{:.2f}".format))
    command = [sys.executable, __file__, tiny, str(made / "many"), "many"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    print(f"\n{MANY} images:", pd.Series(json.loads(told)).round(1).to_dict())


if __name__ == "__main__":
    if sys.argv[-1] == "many":
        many(sys.argv[1], sys.argv[2])
    else:
        given = dict(enumerate(sys.argv[1:]))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            main(
                given.get(0) or write_photos(folder / "of_photos", 600, (400, 533), 400),
                given.get(1) or write_photos(folder / "of_tiny", 3000, (32, 32), 120),
                folder / "records",
            )
