"""Traps of feeding images to a network, in training and in prediction."""

import multiprocessing
import tempfile
import warnings
from pathlib import Path

import albumentations as A
import cv2
import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from cnnkit.data import (
    image_data_generator,
    image_dataset,
    list_images,
    list_splits,
    predict_images,
)
from cnnkit.models import simple_cnn

from digits import digits, write_digits
from trap import Trap

ImageDataGenerator = tf.keras.preprocessing.image.ImageDataGenerator


def scaled_twice() -> Trap:
    """`rescale` is applied after `preprocessing_function`, to pixels that are already scaled."""
    images, _ = digits(0, 1)
    scaling = keras.applications.mobilenet_v2.preprocess_input
    naive = ImageDataGenerator(preprocessing_function=scaling, rescale=1 / 255)
    batch = next(naive.flow(images[:32], batch_size=32))
    try:
        image_data_generator(mode="tf", rescale=1 / 255)
        ours = "scaled twice"
    except ValueError as error:
        ours = type(error).__name__
    return Trap(
        "`rescale` in addition to a scaling function",
        "range of the values; expected: -1 to 1",
        f"{batch.min():.3f} to {batch.max():.3f}",
        ours,
        np.abs(batch).max() < 0.1 and ours == "ValueError",
        "keras#10279",
    )


def statistics_of_raw_images() -> Trap:
    """`fit` computes the mean of raw images; `flow` subtracts it from scaled images."""
    images, _ = digits(0, 1)
    options = {"featurewise_center": True}
    scaling = keras.applications.mobilenet_v2.preprocess_input
    naive = ImageDataGenerator(preprocessing_function=scaling, **options)
    naive.fit(images[:32].astype("float32"))
    batch = next(naive.flow(images[:32], batch_size=32))
    try:
        image_data_generator(mode="tf", **options)
        ours = "centered wrongly"
    except ValueError as error:
        ours = type(error).__name__
    return Trap(
        "`featurewise_center` in addition to a scaling function",
        "mean of the batch it was fitted to; expected: 0",
        f"{batch.mean():.1f}",
        ours,
        abs(batch.mean()) > 10 and ours == "ValueError",
        "keras#9313",
    )


def children_in_step() -> Trap:
    """Albumentations gives every transform of a seeded Compose the same seed."""
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    image[0, 0] = 255
    children = [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)]
    compose = A.Compose(children, seed=0)
    naive = [compose(image=image)["image"] for _ in range(1000)]
    arrays = (np.stack([image] * 1000), np.zeros(1000, dtype=int))
    dataset = image_dataset(arrays, transform=A.Compose(children), label_mode=None, seed=0)
    ours = np.concatenate([batch.numpy() for batch in dataset])
    alone = [sum(_is_single_flip(flipped) for flipped in images) for images in (naive, ours)]
    return Trap(
        "seeded flips that always coincide",
        "images of 1000 that are flipped in one direction only",
        str(alone[0]),
        str(alone[1]),
        alone[0] == 0 and 400 < alone[1] < 600,
        "albumentations' seed",
    )


def _is_single_flip(image: np.ndarray) -> bool:
    return bool(image[0].any()) != bool(image[:, 0].any())


def shuffled_predictions() -> Trap:
    """By default, a flow shuffles the images, but not its list of file names."""
    with tempfile.TemporaryDirectory() as name:
        folder = write_digits(Path(name), 0, 1, count=100)
        table = list_images(folder)
        model = _trained(table)
        flow = ImageDataGenerator().flow_from_directory(folder, (16, 16), seed=0)
        naive = model.predict(flow, verbose=0).argmax(axis=1)
        ours = predict_images(model, table, progress=False)["predicted_names"]
    named = [int(Path(path).parent.name) for path in flow.filenames]
    accuracies = [np.mean(naive == named), (ours == table["target_names"]).mean()]
    return Trap(
        "predictions matched with the wrong files",
        "accuracy on digits 0 and 1",
        f"{accuracies[0]:.2f}",
        f"{accuracies[1]:.2f}",
        accuracies[0] < 0.7 and accuracies[1] > 0.95,
        "keras#3296, keras#6234",
    )


def _trained(table) -> keras.Model:
    keras.utils.set_random_seed(0)
    train = image_dataset(table, (16, 16), shuffle=True, seed=0)
    model = simple_cnn((16, 16, 3), 2, mode="unit")
    model.compile("adam", loss="categorical_crossentropy")
    model.fit(train, epochs=3, shuffle=False, verbose=0)
    return model


def drifting_classes() -> Trap:
    """Each folder numbers its classes; a class that is missing in test shifts the others."""
    with tempfile.TemporaryDirectory() as name:
        for folder in ("train/cat", "train/dog", "test/dog"):
            Path(name, folder).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(Path(name, folder, "1.png"))
        flows = [
            ImageDataGenerator().flow_from_directory(f"{name}/{part}", (8, 8))
            for part in ("train", "test")
        ]
        naive = [flow.class_indices["dog"] for flow in flows]
        split = list_splits(name)
        ours = [int(part["targets"].iloc[-1]) for part in (split.train, split.test)]
    return Trap(
        "inconsistent class numbers",
        "number of the class dog in train and in test",
        f"{naive[0]} and {naive[1]}",
        f"{ours[0]} and {ours[1]}",
        naive[0] != naive[1] and ours[0] == ours[1],
        "flow_from_directory",
    )


def blue_for_red() -> Trap:
    """OpenCV reads BGR, but networks are trained on RGB."""
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        for channel, color in ((2, "blue"), (0, "red")):
            Path(name, color).mkdir()
            for number in range(40):
                image = generator.integers(0, 120, (16, 16, 3), dtype=np.uint8)
                image[..., channel] += 120
                Image.fromarray(image).save(Path(name, color, f"{number}.png"))
        table = list_images(name)
        model = _trained(table)
        images = np.stack([cv2.imread(path) for path in table["file_paths"]])
        naive = model.predict_on_batch(images).argmax(axis=1) == table["targets"]
        result = predict_images(model, table, progress=False)
    ours = result["predicted_names"] == table["target_names"]
    return Trap(
        "BGR at prediction",
        "accuracy on red and blue images",
        f"{naive.mean():.2f}",
        f"{ours.mean():.2f}",
        naive.mean() < 0.5 and ours.mean() > 0.95,
        "cv2.imread",
    )


def dropped_arguments() -> Trap:
    """Albumentations 2 ignores the arguments of 1.x with a warning and uses its defaults."""
    image = np.full((256, 256, 3), 128, dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        naive = A.GaussNoise(var_limit=(400, 400), p=1)
    ours = A.GaussNoise(std_range=(20 / 255, 20 / 255), p=1)
    for transform in (naive, ours):
        transform.set_random_seed(0)
    deviations = [transform(image=image)["image"].std() for transform in (naive, ours)]
    return Trap(
        "arguments that albumentations 2 drops",
        "standard deviation of noise of variance 400; expected: 20",
        f"{deviations[0]:.0f}",
        f"{deviations[1]:.0f}",
        deviations[0] > 30 and abs(deviations[1] - 20) < 1,
        "albumentations 1 to 2",
    )


class _Augmented(keras.utils.PyDataset):
    """One image a hundred times, augmented in `__getitem__`, as in most examples."""

    def __init__(self, image: np.ndarray, transform: A.Compose, workers: int) -> None:
        super().__init__(workers=workers, use_multiprocessing=True)
        self.image, self.transform = image, transform
        self.all_workers = multiprocessing.Barrier(workers, timeout=60)

    def __len__(self) -> int:
        return 100

    def __getitem__(self, place: int) -> tuple[np.ndarray]:
        if multiprocessing.parent_process():  # Keras also draws in the main process, for shapes
            self.all_workers.wait()  # all workers draw equally often
        return (self.transform(image=self.image)["image"][None],)


def repeating_workers() -> Trap:
    """Worker processes start as copies of one process, with the same random state."""
    image = np.full((8, 8, 3), 128, dtype=np.uint8)
    # Each of the 192 values has its own noise, so two draws can't be equal by chance.
    transform = A.Compose([A.GaussNoise(p=1)])
    transform.set_random_seed(0)
    as_it_is = keras.Sequential([keras.Input(image.shape), keras.layers.Identity()])
    naive = as_it_is.predict(_Augmented(image, transform, workers=2), verbose=0)
    arrays = (np.stack([image] * 100), np.zeros(100, dtype=int))
    options = {"label_mode": None, "seed": 0, "workers": 2, "batch_size": 1}
    dataset = image_dataset(arrays, transform=transform, **options)
    ours = np.concatenate([batch.numpy() for batch in dataset])
    different = [len({draw.tobytes() for draw in draws}) for draws in (naive, ours)]
    return Trap(
        "workers that repeat each other's draws",
        "distinct images in 100 draws by two workers",
        str(different[0]),
        str(different[1]),
        different == [50, 100],
        "keras#11365",
    )


def lost_shapes() -> Trap:
    """TensorFlow doesn't know the shape of what a Python function returns."""
    images, targets = digits(0, 1)
    flip = A.HorizontalFlip()

    def augment(image):
        return tf.numpy_function(lambda pixels: flip(image=pixels)["image"], [image], tf.uint8)

    naive = tf.data.Dataset.from_tensor_slices(images).map(augment).batch(8).element_spec.shape
    ours = image_dataset((images, targets), transform=flip, batch_size=8).element_spec[0].shape
    return Trap(
        "shapes lost in a Python function",
        "shape of a batch",
        str(naive),
        str(ours),
        naive.rank is None and ours.as_list() == [None, 16, 16, 3],
        "albumentations#1464",
    )


def mixed_without_labels() -> Trap:
    """MixUp also accepts images without labels: it mixes the images, and the labels stay."""
    images, targets = digits(0, 1)
    layer = keras.layers.MixUp(seed=0)
    dataset = tf.data.Dataset.from_tensor_slices((images[:100], targets[:100])).batch(100)
    mixed, labels = next(iter(dataset.map(lambda x, y: (layer(x, training=True), y))))
    away = np.abs(mixed.numpy().astype(float) - images[:100]).max(axis=(1, 2, 3))
    naive = int((away > 25).sum())  # a tenth of the range
    try:
        image_dataset((images, targets), transform=layer)
        ours = "mixed"
    except ValueError:
        ours = "an error"
    return Trap(
        "MixUp over images alone",
        "images of 100 that are mixed but keep their label",
        str(naive),
        ours,
        naive > 10 and (labels.numpy() == targets[:100]).all() and ours == "an error",
        "keras#20590",
    )


TRAPS = (
    mixed_without_labels,
    scaled_twice,
    statistics_of_raw_images,
    children_in_step,
    shuffled_predictions,
    drifting_classes,
    blue_for_red,
    dropped_arguments,
    repeating_workers,
    lost_shapes,
)
