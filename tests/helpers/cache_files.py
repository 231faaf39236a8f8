"""What tests of cache files look at."""

import numpy as np
from cnnkit.data import image_dataset


LEVELS = list(range(0, 240, 20))
SIZE = (4, 6)


# What a process of its own runs: it waits for a line, makes the cache and saves the images. It
# does without TensorFlow, which takes longer to load than all the rest.
MAKER = '''
"""maker.py FILES CACHE IMAGES STOP_AT: after so many images it stops for good."""
import itertools, sys, time
from types import SimpleNamespace
import numpy as np
import pandas as pd
from cnnkit.data import image_dataset, read_image
from cnnkit.data._feeding import datasets, sources

files, cache, images, stop_at = sys.argv[1:]
counter = itertools.count()

def read_slowly(*args, **options):
    if next(counter) == int(stop_at):
        print("stopped", flush=True)
        time.sleep(600)
    time.sleep(0.02)
    return read_image(*args, **options)

def first_epoch(batches, passes, *, cached):
    return SimpleNamespace(images=batches(0, np.arange(batches.length)))

sources.read_image = read_slowly
datasets.batch_dataset = first_epoch
table = pd.read_csv(files)
print("ready", flush=True)
sys.stdin.readline()
dataset = image_dataset(
    table, (4, 6), label_mode=None, cache=cache, workers=1, progress=False
)
np.save(images, dataset.images)
'''


def images_of(dataset):
    """Return all images of one epoch of a dataset without targets."""
    return np.concatenate([batch.numpy() for batch in dataset])


def levels_of(dataset):
    return images_of(dataset)[:, 0, 0, 0].tolist()


def opened(table, cache, size=SIZE, **options):
    """Return a dataset of images alone."""
    options = {"label_mode": None, "progress": False, "batch_size": 5, **options}
    return image_dataset(table, size, cache=cache, **options)


def assert_right(table, cache, size=SIZE, **options):
    """Compare an epoch with that of a dataset without a cache."""
    expected = images_of(opened(table, None, size, **options))
    np.testing.assert_array_equal(expected, images_of(opened(table, cache, size, **options)))


def beside(cache):
    """Return the names of whatever stands in the folder of the cache."""
    return sorted(path.name for path in cache.parent.iterdir())
