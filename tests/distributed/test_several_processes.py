"""Two processes that share every batch end as one process with all of it."""

import os
import re
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from cnnkit.data import list_images, write_records

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("one_of_several.py")
EXACT = ["fit records", "fit files", "tune records False", "tune files False", "tune files True"]
SHUFFLED = ["tune records True"]  # each process shuffles its features in an order of its own


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Seventy-two photos of three classes, and records of them."""
    root = tmp_path_factory.mktemp("shared")
    generator = np.random.default_rng(0)
    for name in "abc":
        (root / "photos" / name).mkdir(parents=True)
        for number in range(24):
            pixels = generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "photos" / name / f"{number:02}.png")
    table = list_images(root / "photos").sample(frac=1, random_state=0)
    write_records(table, root / "records", (16, 16), shards=4, progress=False)
    return root


def addresses(count):
    """Return free addresses of this machine."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return ",".join(found)


def trained(folder, count):
    """Return what each of some processes has got."""
    where = addresses(count)
    results = [folder / f"{number} of {count}.npz" for number in range(count)]
    command = [sys.executable, SCRIPT, where]
    running = [
        subprocess.Popen(
            [*command, str(number), folder, result],
            env=os.environ | {"KERAS_BACKEND": "jax"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, result in enumerate(results)
    ]
    for process in running:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-3000:]
    return [dict(np.load(result)) for result in results]


@pytest.fixture(scope="session")
def both(folder):
    return trained(folder, 2)


@pytest.fixture(scope="session")
def alone(folder):
    return trained(folder, 1)[0]


def part(found, case):
    """Return the weights and the losses of a case."""
    chosen = [value for name, value in found.items() if name.startswith(f"{case}/")]
    assert len(chosen) > 0
    return chosen


@pytest.mark.parametrize("case", EXACT + SHUFFLED)
def test_the_same_on_both(both, case):
    """The processes end with the same weights and losses, bit for bit."""
    for one, other in zip(*(part(found, case) for found in both), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("case", EXACT)
def test_the_same_as_alone(both, alone, case):
    """They are those of one process that sees whole batches."""
    for one, other in zip(part(both[0], case), part(alone, case), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("source", ["records", "files"])
def test_each_caches_its_share(both, alone, source):
    """The features of a process are those of its images."""
    (whole,) = part(alone, f"features {source}")[:1]
    for number, found in enumerate(both):
        (own,) = part(found, f"features {source}")[:1]
        np.testing.assert_allclose(own, whole[number::2], atol=1e-6)


def test_something_was_learned(alone):
    """Or equal weights would be no news."""
    first, last = part(alone, "tune files True")[-1][[0, -1]]
    assert last < first


def test_the_commands_of_the_page(tmp_path, monkeypatch) -> None:
    """What docs/how_to/several_machines.md writes and says to start ends with a trained model."""
    blocks = runpy.run_path(str(ROOT / "docs" / "run_code_blocks.py"))
    page = ROOT / "docs" / "how_to" / "several_machines.md"
    blocks["run_in"](tmp_path, page)
    (commands,) = re.findall(
        r"^```bash\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    commands = commands.replace("127.0.0.1:5001,127.0.0.1:5002", addresses(2))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    subprocess.run(["bash", "-ec", f"{commands}wait $!"], cwd=tmp_path, check=True, timeout=300)

    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    first, second = (
        keras.models.load_model(tmp_path / f"trained_{number}.keras").predict_on_batch(images)
        for number in range(2)
    )
    assert (2, 3) == first.shape
    np.testing.assert_array_equal(first, second)
