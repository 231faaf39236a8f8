"""Long runs, other processes, and an end in the middle: nothing piles up, nothing stays behind."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import albumentations as A
import numpy as np
import pytest

from cnnkit.data import image_dataset, list_images

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc"),
]
AUGMENTED = {"transform": A.HorizontalFlip(), "shuffle": True, "seed": 0}
FIT = """
import json, os, sys
import albumentations as A
import keras
from cnnkit.data import image_dataset, list_images
from cnnkit.models import simple_cnn

def megabytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

cache = None if sys.argv[2] == "none" else sys.argv[2]
data = image_dataset(
    list_images(sys.argv[1]), (16, 16), transform=A.HorizontalFlip(), shuffle=True, seed=0,
    cache=cache, workers=2, progress=False,
)
model = simple_cnn((16, 16, 3), 2, filters=(4,), mode="unit")
model.compile("adam", "categorical_crossentropy")
sizes = []
note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: sizes.append(megabytes()))
print("fitting", flush=True)
model.fit(data, epochs=int(sys.argv[3]), shuffle=False, verbose=0, callbacks=[note])
print(json.dumps(sizes))
"""


@pytest.fixture
def photos(make_folder):
    return make_folder({"photos/a": 40, "photos/b": 40}) / "photos"


@pytest.fixture
def dataset(photos):
    return lambda **options: image_dataset(list_images(photos), (16, 16), **AUGMENTED | options)


def fitting(photos, cache, epochs):
    """Start to train in a process of its own; return it when it has begun."""
    command = [sys.executable, "-c", FIT, str(photos), cache, str(epochs)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "fitting\n"
    return process


@pytest.mark.parametrize("cache", ["none", "memory", "file"])
def test_memory_is_flat(photos, tmp_path, cache):
    """Two hundred epochs take hardly more memory than ten."""
    cache = str(tmp_path / "photos.cache") if cache == "file" else cache
    told, errors = fitting(photos, cache, 200).communicate()
    assert told, errors
    sizes = json.loads(told)

    assert len(sizes) == 200
    assert sizes[-1] <= 1.05 * sizes[9]


def threads():
    return len(list(Path("/proc/self/task").iterdir()))


def test_no_thread_stays(dataset):
    """The workers of a dataset end with its iterator."""
    list(dataset())  # TensorFlow starts some for good
    before, seen = threads(), 0
    for _ in range(5):
        batches = iter(dataset(workers=4, batch_size=8))
        next(batches)
        seen = max(seen, threads())
        del batches
    deadline = time.monotonic() + 30
    while threads() > before and time.monotonic() < deadline:
        time.sleep(0.1)

    assert seen > before  # or there was nothing to count
    assert threads() <= before


def count(folder, queue):
    data = image_dataset(list_images(folder), (16, 16), workers=2, **AUGMENTED)
    queue.put([int(np.asarray(images).sum()) for images, _ in data])


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # 3.12
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_in_another_process(photos, dataset, method):
    """A process that was begun either way reads the same, after this one has read."""
    expected = [int(np.asarray(images).sum()) for images, _ in dataset()]
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=count, args=(photos, queue))
    process.start()
    actual = queue.get(timeout=120)
    process.join(30)

    assert actual == expected
    assert process.exitcode == 0


def children(process):
    """Return the processes below one, with their commands."""
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=False
    ).stdout
    return [int(number) for number in found.split()]


def test_interrupt_leaves_nothing(photos):
    """Ctrl-C in the middle of an epoch ends the process, and there are no others."""
    process = fitting(photos, "none", 100_000)
    time.sleep(5)
    below = children(process.pid)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)

    assert "KeyboardInterrupt" in errors
    assert below == []
