"""The ways from files to batches that `pipelines.py` compares: every peer does its best.

All give float32 images in -1..1 and one-hot targets, shuffled.
"""

import multiprocessing
import os
import resource
import threading
import time
from collections.abc import Callable
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, NamedTuple

import albumentations as A
import cv2
import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from torch_photos import TorchPhotos, loader

from cnnkit.data import Split, flow_from_tables, image_dataset, list_images

BATCH = 32
ImageDataGenerator = tf.keras.preprocessing.image.ImageDataGenerator


class Photos(NamedTuple):
    """Photos in class folders, and the side of the square they are reduced to."""

    folder: str
    side: int

    @property
    def table(self) -> pd.DataFrame:
        return list_images(self.folder)


def augmentation() -> A.Compose:
    """Return the transforms that the course notes give ImageDataGenerator."""
    colors = [
        A.ColorJitter(p=0.5),
        A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.5),
    ]
    flips = [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)]
    return A.Compose([*flips, A.OneOf(colors, p=1)], p=0.5)


def scaled(images: Any) -> Any:
    return images / 127.5 - 1


def ours(photos: Photos, *, augmented: bool, shuffle: bool = True, cache: Any = None) -> Any:
    return image_dataset(
        photos.table,
        (photos.side, photos.side),
        batch_size=BATCH,
        transform=augmentation() if augmented else None,
        mode="tf",
        shuffle=shuffle,
        seed=0,
        cache=cache,
        progress=False,
    )


def generator(photos: Photos, *, augmented: bool, interpolation: str = "nearest") -> Any:
    """ImageDataGenerator with albumentations in its function, as in the notes.

    The image is made uint8 first: as in the notes, in floats, albumentations would spoil it, and
    take nine times as long.
    """
    transform = augmentation()

    def preprocess(image: np.ndarray) -> np.ndarray:
        if augmented:
            image = transform(image=image.astype(np.uint8))["image"].astype(np.float32)
        return scaled(image)

    flow = ImageDataGenerator(preprocessing_function=preprocess)
    return flow.flow_from_directory(
        photos.folder, (photos.side, photos.side), batch_size=BATCH, interpolation=interpolation
    )


def keras_dataset(photos: Photos, *, cached: bool = False) -> Any:
    dataset = keras.utils.image_dataset_from_directory(
        photos.folder,
        image_size=(photos.side, photos.side),
        batch_size=BATCH,
        label_mode="categorical",
        verbose=False,
    )
    return dataset.cache() if cached else dataset


def keras_scaled(photos: Photos, *, cached: bool = False) -> Any:
    dataset = keras_dataset(photos).map(lambda x, y: (scaled(x), y), tf.data.AUTOTUNE)
    return (dataset.cache() if cached else dataset).prefetch(tf.data.AUTOTUNE)


def keras_and_layers(photos: Photos, *, cached: bool = False) -> Any:
    """Keras's own augmentation layers, in the graph."""
    layers = keras.Sequential(
        [
            keras.layers.RandomFlip(),
            keras.layers.RandomBrightness(0.2),
            keras.layers.RandomContrast(0.2),
        ]
    )
    dataset = keras_dataset(photos, cached=cached)
    dataset = dataset.map(lambda x, y: (scaled(layers(x, training=True)), y), tf.data.AUTOTUNE)
    return dataset.prefetch(tf.data.AUTOTUNE)


def with_albumentations(dataset: Any, side: int) -> Any:
    """Transform whole batches of a tf.data pipeline in NumPy, several at a time."""
    transform = augmentation()

    def augment(images: np.ndarray) -> np.ndarray:
        pixels = images.astype(np.uint8)
        return np.stack([transform(image=image)["image"] for image in pixels]).astype(np.float32)

    def graph(images: Any, targets: Any) -> Any:
        changed = tf.numpy_function(augment, [images], tf.float32)
        return scaled(tf.ensure_shape(changed, (None, side, side, 3))), targets

    return dataset.map(graph, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def keras_and_albumentations(photos: Photos, *, cached: bool = False) -> Any:
    return with_albumentations(keras_dataset(photos, cached=cached), photos.side)


def hand_written(photos: Photos, *, augmented: bool) -> Any:
    """tf.data from the ground up, with the fastest JPEG decoder of TensorFlow."""
    table = photos.table
    classes = table["targets"].max() + 1

    def load(path: Any, target: Any) -> Any:
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3, dct_method="INTEGER_FAST")
        return tf.image.resize(image, (photos.side, photos.side)), tf.one_hot(target, classes)

    paths = tf.data.Dataset.from_tensor_slices((list(table["file_paths"]), table["targets"]))
    dataset = paths.shuffle(len(table)).map(load, tf.data.AUTOTUNE).batch(BATCH)
    if augmented:
        return with_albumentations(dataset, photos.side)
    return dataset.map(lambda x, y: (scaled(x), y)).prefetch(tf.data.AUTOTUNE)


def torch_loader(photos: Photos, *, augmented: bool) -> Any:
    """PyTorch's DataLoader: two processes, OpenCV, albumentations."""
    table = photos.table
    targets = np.eye(table["targets"].max() + 1, dtype=np.float32)[table["targets"]]
    transform = augmentation() if augmented else None
    dataset = TorchPhotos(list(table["file_paths"]), targets, photos.side, transform)
    return loader(dataset, BATCH)


def ours_alone(photos: Photos, *, augmented: bool, processes: bool) -> Callable[[], float]:
    """Return what tells the seconds of our batches alone, a worker for each core.

    Threads throw the batches away, and so do processes: none is handed over.
    """
    batches = -(-len(photos.table) // BATCH)
    return _side_by_side(_make_batch, batches, _prepare_flow, (photos, augmented), processes)


def bound(photos: Photos, *, augmented: bool, cached: bool = False) -> Callable[[], float]:
    """Return what tells the seconds of bare OpenCV and albumentations, over the number of cores."""
    _prepare_bare(photos, augmented, cached)

    def seconds() -> float:
        return sum(map(_bare_seconds, range(len(_kept["files"])))) / (os.cpu_count() or 1)

    return seconds


def bound_alone(
    photos: Photos, *, augmented: bool, processes: bool, cached: bool = False
) -> Callable[[], float]:
    """Return what tells the seconds of the same work, done on all cores in fact."""
    options = photos, augmented, cached
    return _side_by_side(_bare_seconds, len(photos.table), _prepare_bare, options, processes)


_kept: dict[str, Any] = {}  # what a process works with


def _side_by_side(
    work: Callable[[int], object],
    count: int,
    prepare: Callable[..., None],
    options: tuple[Any, ...],
    processes: bool,
) -> Callable[[], float]:
    """Return what tells the seconds of so many pieces of work, on a worker for each core."""
    cores = os.cpu_count() or 1
    if processes:
        pool = multiprocessing.get_context("spawn").Pool(cores, prepare, options)
    else:
        prepare(*options)
        pool = ThreadPool(cores)

    def seconds() -> float:
        start = time.perf_counter()
        pool.map(work, range(count), chunksize=max(1, count // 40))
        return time.perf_counter() - start

    return seconds


def _prepare_flow(photos: Photos, augmented: bool) -> None:
    cv2.setNumThreads(1)
    table = photos.table
    flows = flow_from_tables(
        Split(table, table, table),
        (photos.side, photos.side),
        batch_size=BATCH,
        transform=augmentation() if augmented else None,
        mode="tf",
        seed=0,
    )
    _kept["batches"] = flows.train


def _make_batch(place: int) -> None:
    _kept["batches"][place]


def _prepare_bare(photos: Photos, augmented: bool, cached: bool) -> None:
    cv2.setNumThreads(1)
    table = scaled(np.arange(256, dtype=np.float32))[:, None, None]
    files = [np.fromfile(path, dtype=np.uint8) for path in photos.table["file_paths"]]
    _kept.update(
        files=files,
        images=[_reduced(file, photos.side) for file in files] if cached else None,
        transforms=threading.local() if augmented else None,
        table=np.tile(table, (1, 1, 3)),
        side=photos.side,
    )


def _reduced(file: np.ndarray, side: int) -> np.ndarray:
    image = cv2.imdecode(file, cv2.IMREAD_COLOR)
    if image.shape[:2] == (side, side):
        return image
    image = cv2.resize(image, (2 * side,) * 2, interpolation=cv2.INTER_LINEAR)
    return cv2.resize(image, (side,) * 2, interpolation=cv2.INTER_AREA)


def _bare_seconds(place: int) -> float:
    """Do what no reader of this quality can do without, and tell how long it took."""
    start, images = time.perf_counter(), _kept["images"]
    image = images[place] if images else _reduced(_kept["files"][place], _kept["side"])
    own = _kept["transforms"]
    if own is not None:
        if not hasattr(own, "transform"):  # threads must not share one
            own.transform = augmentation()
        image = own.transform(image=image)["image"]
    cv2.LUT(image, _kept["table"])
    return time.perf_counter() - start


def trivial_model(classes: int) -> keras.Model:
    """Return a model that costs next to nothing."""
    layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(classes, "softmax")]
    model = keras.Sequential(layers)
    model.compile("sgd", loss="categorical_crossentropy")
    return model


def megabytes_after_epochs(folder: str, count: int, epochs: int) -> list[float]:
    """Return the resident memory after each epoch of training on so many images."""
    table = list_images(folder)
    table = pd.concat([table] * -(-count // len(table)))[:count]
    dataset = image_dataset(
        table, (224, 224), transform=augmentation(), mode="tf", shuffle=True, seed=0
    )
    model = trivial_model(len(table["target_names"].cat.categories))
    sizes = []
    for _ in range(epochs):
        model.fit(dataset, shuffle=False, verbose=0)
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        sizes.append(pages * resource.getpagesize() / 1e6)
    return sizes
