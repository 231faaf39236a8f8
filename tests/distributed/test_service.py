"""Records are read by workers that know nothing of cnnkit."""

import resource
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from cnnkit.data import image_dataset, list_images, record_dataset, write_records

WORKER = """
import sys
import tensorflow as tf
service = tf.data.experimental.service
config = service.WorkerConfig(dispatcher_address=sys.argv[1])
worker = service.WorkerServer(config)
assert not any(name.startswith("cnnkit") for name in sys.modules)
print("ready", flush=True)
worker.join()
"""


@pytest.fixture
def dispatcher():
    """A dispatcher here, and two workers in processes of their own."""
    server = tf.data.experimental.service.DispatchServer()
    address = server.target.split("://")[1]
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, address], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    yield server.target
    for worker in workers:
        worker.kill()
        worker.communicate()


def test_every_image_once(make_folder, tmp_path_factory, dispatcher, monkeypatch):
    """Two workers share out the shards; together they give every image once, with its target."""
    table = list_images(make_folder({"a": 21, "b": 20}))
    folder = tmp_path_factory.mktemp("records")
    write_records(table, folder, (8, 8), shards=6, progress=False)
    options = {"batch_size": 4, "service": dispatcher, "progress": False}

    def rows(dataset):
        batches = [(images.numpy(), targets.numpy()) for images, targets in dataset]
        images, targets = map(np.concatenate, zip(*batches, strict=True))
        return sorted(zip([image.tobytes() for image in images], targets.tolist(), strict=True))

    expected = rows(image_dataset(table, (8, 8)))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (69, 69))  # the workers open the shards
    for shuffle in (False, True):
        records = record_dataset(folder, shuffle=shuffle, **options)
        assert len(records) == 11
        assert rows(records) == rows(records) == expected
    records = record_dataset(folder, drop_remainder=True, **options)
    for _ in range(5):  # what each worker is left with depends on which was the faster
        assert [len(images) for images, _ in records] == 10 * [4]
