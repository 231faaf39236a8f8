"""Kill what writes files at random moments, and see that nothing is lost and a rerun ends right.

    nox -s faults [-- OPERATION ...]

Each operation runs in a process of its own, 20 times, which gets SIGKILL at a moment drawn from the
time that it takes. Then its folder is looked at, it is run again, and the outcome is compared with
that of a run that nobody killed.
"""

import argparse
import hashlib
import importlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

KILLS = 20
CLASSES = ("a", "b", "c")
WITH_KERAS = ("keras", "cnnkit.data", "cnnkit.transfer")


class Operation(NamedTuple):
    """What is killed.

    Attributes:
        prepare: Makes what it works on, in a folder.
        work: Does it, in the process that is killed.
        kept: Gives what must be the same after the kill as before the work.
        outcome: Gives what must be the same after the rerun as without a kill.
        imports: What takes long to import, before the time counts.
    """

    prepare: Callable[[Path], object]
    work: Callable[[Path], object]
    kept: Callable[[Path], object]
    outcome: Callable[[Path], object]
    imports: tuple[str, ...] = ("sklearn.model_selection", "cnnkit.data")


def write_photos(folder: Path, count: int = 400) -> None:
    generator = np.random.default_rng(0)
    for number in range(count):
        path = folder / "photos" / CLASSES[number % 3] / f"photo {generator.integers(10**9)}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def contents(folder: Path) -> dict[str, str]:
    """Return the checksum of every file, by its path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): digest(path) for path in files}


def photos(folder: Path) -> dict[str, str]:
    return contents(folder / "photos")


def pixels_kept(folder: Path) -> Counter[str]:
    """Return the checksums of all photos, whatever they are called."""
    found = contents(folder / "photos")
    return Counter(value for name, value in found.items() if "cnnkit-moves" not in name)


def made(folder: Path) -> dict[str, str]:
    return contents(folder / "made")


def split(folder: Path) -> None:
    from cnnkit.data import split_folder

    split_folder(folder / "photos", folder / "made", progress=False)


def half_placed(folder: Path) -> object:
    """Return the photos, and raise if one was placed in part."""
    whole = set(photos(folder).values())
    parts = {name: told for name, told in made(folder).items() if name.endswith(".png")}
    assert set(parts.values()) <= whole, "a photo was placed in part"
    return photos(folder)


def renumber(folder: Path) -> None:
    from cnnkit.data import renumber_files

    renumber_files(folder / "photos")


def cache(folder: Path) -> None:
    from cnnkit.data import image_dataset, list_images

    table = list_images(folder / "photos")
    (folder / "made").mkdir(exist_ok=True)
    path = folder / "made" / "photos.cache"
    image_dataset(table, (64, 64), cache=path, progress=False)


def records(folder: Path) -> None:
    from cnnkit.data import list_images, write_records

    table = list_images(folder / "photos")
    write_records(table, folder / "made", (64, 64), shards=8, progress=False)


def pixels_of_records(folder: Path) -> dict[str, str]:
    """Return the checksums of all but the manifest, whose key knows the folder."""
    return {name: told for name, told in made(folder).items() if name != "records.json"}


def pixels_of_cache(folder: Path) -> tuple[list[str], str]:
    """Return the names that are there, and the pixels."""
    from cnnkit._foundation.kept_files import HEADER

    content = (folder / "made" / "photos.cache").read_bytes()
    return sorted(made(folder)), hashlib.sha256(content[HEADER:]).hexdigest()


def train(folder: Path) -> None:
    import keras

    from cnnkit.data import list_images, load_images
    from cnnkit.models import simple_cnn
    from cnnkit.transfer import build_classifier, fine_tune

    images, targets, *_ = load_images(list_images(folder / "photos"), (32, 32), progress=False)
    data = images, np.eye(3)[targets]
    keras.utils.set_random_seed(0)
    backbone = simple_cnn((32, 32, 3), 3, filters=(4, 8), mode="unit", include_top=False)
    model = build_classifier(backbone, 3, dropout=0)
    backups = keras.callbacks.BackupAndRestore(folder / "backup", double_checkpoint=True)
    losses = keras.callbacks.CSVLogger(folder / "losses.csv", append=True)
    fit = {"head_epochs": 5, "epochs": 10, "cache": False, "batch_size": len(images)}
    fine_tune(model, data, data, **fit, callbacks=[losses, backups], verbose=0)


def last_losses(folder: Path) -> list[float]:
    """Return the last losses, to five digits: processors differ in what they add first."""
    last = (folder / "losses.csv").read_text().splitlines()[-1].split(",")
    return [float(f"{float(value):.5g}") for value in last if value not in ("head", "all")]


OPERATIONS = {
    "split_folder": Operation(write_photos, split, half_placed, made),
    "renumber_files": Operation(write_photos, renumber, pixels_kept, photos),
    "image_dataset, cache": Operation(write_photos, cache, photos, pixels_of_cache, WITH_KERAS),
    "write_records": Operation(write_photos, records, photos, pixels_of_records, WITH_KERAS),
    "fine_tune, backups": Operation(
        lambda folder: write_photos(folder, 48), train, photos, last_losses, WITH_KERAS
    ),
}


def started(name: str, folder: Path) -> subprocess.Popen[str]:
    """Start an operation, and return when its imports are done."""
    command = [sys.executable, __file__, "--folder", str(folder), name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def finish(name: str, folder: Path) -> float:
    """Run an operation to its end; return its seconds."""
    process = started(name, folder)
    start = time.perf_counter()
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return time.perf_counter() - start


def trial(name: str, root: Path, seconds: float, expected: object) -> dict[str, object]:
    """Kill an operation once, and tell what came of it."""
    shutil.rmtree(root)
    one = OPERATIONS[name]
    one.prepare(root)
    before = one.kept(root)
    process = started(name, root)
    time.sleep(random.uniform(0, seconds))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    row: dict[str, object] = {"killed": process.returncode == -signal.SIGKILL}
    try:
        row["kept"] = one.kept(root) == before
        finish(name, root)
        row["rerun right"] = one.outcome(root) == expected
    except AssertionError as error:
        print(f"\n{name}: {error}", file=sys.stderr)
    return row


def table(name: str, folder: Path) -> dict[str, Any]:
    """Kill an operation many times, and count."""
    one = OPERATIONS[name]
    root = folder / "run"  # the same for all: some files hold paths
    one.prepare(root)
    before = one.kept(root)
    seconds = finish(name, root)
    assert one.kept(root) == before
    expected = one.outcome(root)
    rows = [trial(name, root, seconds, expected) for _ in tqdm(range(KILLS), name)]
    counts = pd.DataFrame(rows, columns=["killed", "kept", "rerun right"]).fillna(value=False).sum()
    return {"operation": name, "runs": KILLS, **counts.to_dict(), "seconds": round(seconds, 1)}


def child(name: str, folder: Path) -> None:
    """Do the work, after what takes long to import."""
    for module in OPERATIONS[name].imports:
        importlib.import_module(module)
    print("ready", flush=True)
    OPERATIONS[name].work(folder)


def main() -> int:
    """Print the counts; return 1 if any trial went wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("operations", nargs="*", default=list(OPERATIONS))
    parser.add_argument("--folder", type=Path, help="of the process that is killed")
    options = parser.parse_args()
    if options.folder:
        child(options.operations[0], options.folder)
        return 0
    wrong = 0
    for name in options.operations:
        with tempfile.TemporaryDirectory() as folder:
            row = table(name, Path(folder))
        print(row, flush=True)
        wrong += 2 * KILLS - int(row["kept"]) - int(row["rerun right"])
    return min(1, wrong)


if __name__ == "__main__":
    sys.exit(main())
