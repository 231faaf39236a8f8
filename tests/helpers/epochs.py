"""What tests of image_dataset look at."""

import albumentations as A
import numpy as np
from cnnkit.data import image_dataset


LEVELS = list(range(0, 240, 10))


def images_of(dataset):
    """Return all images of one epoch."""
    return np.concatenate([batch[0].numpy() for batch in dataset])


def levels_of(dataset):
    return images_of(dataset)[:, 0, 0, 0].tolist()


class Draws(A.ImageOnlyTransform):
    """Writes what it draws over the image: 16 numbers of 8 bytes.

    The last but one is drawn as a number of 4 bytes, of which a generator makes two at once; the
    last is Python's.
    """

    SHAPE = (16, 8, 1)

    def apply(self, img, **_):
        half = self.random_generator.random(dtype=np.float32)
        draws = [*self.random_generator.random(14), half, self.py_random.random()]
        return np.array(draws, np.float64).view(np.uint8).reshape(self.SHAPE)


def draws_of(count, epochs, **options):
    """Return the numbers that are drawn `(epochs, count, 16)`."""
    images = np.zeros((count, *Draws.SHAPE), dtype=np.uint8), np.zeros(count, dtype=int)
    dataset = image_dataset(images, transform=Draws(p=1), batch_size=100, **options)
    drawn = np.stack([images_of(dataset) for _ in range(epochs)])
    return drawn.reshape(epochs, count, -1).view(np.float64)


def flips_of(images):
    """Return how each image with its one bright corner top left has been flipped."""
    return [(bool(image[-1].any()), bool(image[:, -1].any())) for image in images]
