"""What tests of records share."""

from pathlib import Path
import tensorflow as tf
from cnnkit.data import record_dataset


SIZE = (6, 5)


def read(folder, **options):
    return record_dataset(folder, progress=False, **options)


def arrays(dataset):
    """Return the batches as lists of arrays."""
    return [[part.numpy() for part in tf.nest.flatten(batch)] for batch in dataset]


def shards_of(folder):
    return sorted(Path(folder).glob("*.tfrecord"))


def damage(path):
    """Change one byte in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
