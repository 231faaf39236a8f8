"""Images a second from files to `fit`, side by side with other ways.

    nox -s bench -- pipelines [FOLDER [TINY_FOLDER]]

FOLDER and TINY_FOLDER hold class folders of JPEGs; without them such are made of scikit-learn's two
sample photos. Every way feeds the same trivial model, and is iterated without one, in turn. A ratio
is the time of a way over that of the first, by its median and the lower end of a 95 % interval.

"Our batches alone" are the same batches made by a thread or a process for each core and handed to
nobody: what Python's lock costs, and what `tf.data` and `fit` do. The bound is what `cv2.imdecode`,
`cv2.resize` (bilinear to twice the size, then 2 x 2 averages), the transforms and `cv2.LUT` take
alone on one thread, over the number of cores; without the first two where images are cached. Below
it stands what a thread or a process for each core makes of the same work.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images
from turns import compare, megabytes, way

ROUNDS = 11
COUNT = 608
EPOCHS, MEMORY_IMAGES = 5, 3000

AUGMENTED = {
    "image_dataset": way("ours", augmented=True),
    "ImageDataGenerator": way("generator", augmented=True),
    "  bilinear, antialiased": way("generator", augmented=True, interpolation="bilinear"),
    "Keras's dataset + layers": way("keras_and_layers"),
    "  + albumentations": way("keras_and_albumentations"),
    "tf.data by hand + albumentations": way("hand_written", augmented=True),
    "PyTorch's DataLoader, antialiased": way("torch_loader", augmented=True),
    "our batches alone, threads": way("ours_alone", augmented=True, processes=False),
    "our batches alone, processes": way("ours_alone", augmented=True, processes=True),
    "bound, antialiased": way("bound", augmented=True),
    "  on threads": way("bound_alone", augmented=True, processes=False),
    "  on processes": way("bound_alone", augmented=True, processes=True),
}
LATER = {
    "image_dataset, memory": way("ours", augmented=True, cache="memory"),
    "image_dataset, file": way("ours", augmented=True, cache="FILE"),
    "ImageDataGenerator": way("generator", augmented=True),
    "Keras's dataset, cached + layers": way("keras_and_layers", cached=True),
    "  + albumentations": way("keras_and_albumentations", cached=True),
    "bound": way("bound", augmented=True, cached=True),
    "  on threads": way("bound_alone", augmented=True, cached=True, processes=False),
    "  on processes": way("bound_alone", augmented=True, cached=True, processes=True),
}
PLAIN = {
    "image_dataset": way("ours", augmented=False),
    "ImageDataGenerator": way("generator", augmented=False),
    "  bilinear, antialiased": way("generator", augmented=False, interpolation="bilinear"),
    "Keras's dataset": way("keras_scaled"),
    "tf.data by hand": way("hand_written", augmented=False),
    "PyTorch's DataLoader, antialiased": way("torch_loader", augmented=False),
    "our batches alone, threads": way("ours_alone", augmented=False, processes=False),
    "our batches alone, processes": way("ours_alone", augmented=False, processes=True),
    "bound, antialiased": way("bound", augmented=False),
    "  on threads": way("bound_alone", augmented=False, processes=False),
    "  on processes": way("bound_alone", augmented=False, processes=True),
}
KEPT = {
    "image_dataset, memory": way("ours", augmented=False, shuffle=False, cache="memory"),
    "  shuffled": way("ours", augmented=False, cache="memory"),
    "Keras's dataset, cached": way("keras_scaled", cached=True),
}
TINY = {
    **{name: PLAIN[name] for name in ("image_dataset", "ImageDataGenerator", "Keras's dataset")},
    "bound": way("bound", augmented=False),
    "  on threads": way("bound_alone", augmented=False, processes=False),
}


def write_photos(folder: Path, count: int, size: tuple[int, int], taken: int) -> str:
    """Write JPEGs of a size, square parts of two photos, into two class folders."""
    generator = np.random.default_rng(0)
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    for number in range(count):
        left, top = generator.integers(0, (640 - taken, 427 - taken))
        path = folder / f"class {number % 2}" / f"{number:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        part = photos[number % 2].crop((left, top, left + taken, top + taken))
        part.resize(size).save(path, quality=90)
    return str(folder)


def main(photos: str, tiny: str, cache: str) -> None:
    """Print a table for each kind of work, then the memory."""
    LATER["image_dataset, file"].options["cache"] = cache
    compare("augmented, files read", AUGMENTED, photos, 224, ROUNDS)
    compare("augmented, later epochs", LATER, photos, 224, ROUNDS, epochs=4)
    compare("not augmented, files read", PLAIN, photos, 224, ROUNDS)
    compare("not augmented, later epochs", KEPT, photos, 224, ROUNDS, epochs=16)
    compare("tiny images, files read", TINY, tiny, 32, ROUNDS, epochs=4)
    sizes = megabytes(photos, MEMORY_IMAGES, EPOCHS)
    print(f"\nresident MB after each epoch of {MEMORY_IMAGES} images:", *map(round, sizes))
    print(f"growth from the second to the last: {sizes[-1] / sizes[1] - 1:.1%}")


if __name__ == "__main__":
    given = dict(enumerate(sys.argv[1:]))
    with tempfile.TemporaryDirectory() as name:
        made = Path(name)
        main(
            given.get(0) or write_photos(made / "photos", COUNT, (400, 533), 400),
            given.get(1) or write_photos(made / "tiny", 3000, (32, 32), 120),
            str(made / "photos.cache"),
        )
