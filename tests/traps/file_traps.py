"""Traps of reading and renaming files."""

import tempfile
from pathlib import Path

import cv2
import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_images

from cnnkit.data import list_images, read_image, renumber_files
from cnnkit.exceptions import ImageReadError

from trap import Trap


def ignored_orientation() -> Trap:
    """A phone stores a photo as its sensor recorded it, and in EXIF how to rotate it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    with tempfile.TemporaryDirectory() as name:
        path = f"{name}/photo.jpg"
        upright = Image.fromarray(load_sample_images().images[0])
        upright.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
        naive = keras.utils.img_to_array(keras.utils.load_img(path))
        ours = read_image(path)
    wanted = (upright.height, upright.width, 3)
    return Trap(
        "EXIF orientation",
        f"shape of an upright {upright.height}x{upright.width} photo",
        "x".join(map(str, naive.shape[:2])),
        "x".join(map(str, ours.shape[:2])),
        naive.shape != wanted == ours.shape,
        "keras.utils.load_img, Pillow, tf.image",
    )


def nearest_neighbor() -> Trap:
    """Keras's older loaders keep every second or third pixel and drop the others."""
    with tempfile.TemporaryDirectory() as name:
        path = f"{name}/photo.png"
        photo = Image.fromarray(load_sample_images().images[1]).resize((500, 375))
        photo.save(path)
        best = np.asarray(photo.resize((224, 224), Image.Resampling.BILINEAR), dtype=float)
        naive = keras.utils.img_to_array(keras.utils.load_img(path, target_size=(224, 224)))
        ours = read_image(path, (224, 224))
    decibels = [10 * np.log10(255**2 / np.square(image - best).mean()) for image in (naive, ours)]
    return Trap(
        "nearest-neighbor resizing",
        "PSNR in dB against Pillow's antialiasing, 500x375 to 224x224",
        f"{decibels[0]:.0f}",
        f"{decibels[1]:.0f}",
        decibels[0] < 43 <= decibels[1],
        "flow_from_directory, load_img",
    )


def clipped_depth() -> Trap:
    """Pillow's conversion to 8 bits clips 16-bit values at 255."""
    ramp = np.linspace(0, 65535, 256 * 16, dtype=np.uint16).reshape(64, 64)
    with tempfile.TemporaryDirectory() as name:
        path = f"{name}/scan.png"
        Image.fromarray(ramp).save(path)
        with Image.open(path) as file:
            naive = np.asarray(file.convert("RGB"))
        ours = read_image(path)
    white = [(image == 255).mean() for image in (naive, ours)]
    return Trap(
        "clipped 16-bit images",
        "share of white pixels in a 16-bit gradient",
        f"{white[0]:.3f}",
        f"{white[1]:.3f}",
        white[0] > 0.9 and white[1] < 0.01,
        "Pillow's convert",
    )


def half_read_jpeg() -> Trap:
    """OpenCV fills the missing part of a file with gray and returns an image."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "photo.jpg")
        Image.fromarray(load_sample_images().images[0]).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        naive = cv2.imread(str(path))
        try:
            ours = f"{read_image(path).shape[0]} rows"
        except ImageReadError as error:
            ours = type(error).__name__
    read = 0 if naive is None else len(naive)
    filled = read and np.mean(naive.std(axis=(1, 2)) < 1)
    return Trap(
        "half-read JPEG",
        "result for half a file",
        f"{read} rows, {filled:.0%} of them gray",
        ours,
        filled > 0.1 and ours == "ImageReadError",
        "cv2.imread",
    )


def lost_in_renaming() -> Trap:
    """Renaming in listing order overwrites files that have not been renamed yet."""
    left = []
    for renumber in (_renumber_as_in_notes, renumber_files):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name, "cat")
            folder.mkdir()
            for number in range(1, 21):
                image = np.full((8, 8, 3), number, dtype=np.uint8)
                Image.fromarray(image).save(folder / f"cat{number}.png")
            renumber(Path(name))
            left.append(len({path.read_bytes() for path in folder.iterdir()}))
    return Trap(
        "renumbering files",
        "images left, of 20",
        str(left[0]),
        str(left[1]),
        left[0] < 20 == left[1],
        "course notes",
    )


def _renumber_as_in_notes(root: Path) -> None:
    for folder in root.iterdir():
        for number, path in enumerate(sorted(folder.iterdir()), start=1):
            path.rename(folder / f"{folder.name}{number}.png")


def hidden_classes() -> Trap:
    """Programs create hidden folders with copies of images among the class folders."""
    with tempfile.TemporaryDirectory() as name:
        for folder in ("cat", "dog", ".ipynb_checkpoints"):
            Path(name, folder).mkdir()
            Image.new("RGB", (8, 8)).save(Path(name, folder, "1.png"))
        naive = tf.keras.preprocessing.image.ImageDataGenerator().flow_from_directory(name)
        ours = list_images(name)
    counts = [naive.num_classes, ours["target_names"].nunique()]
    return Trap(
        "hidden folders as classes",
        "classes in a folder of cat and dog",
        str(counts[0]),
        str(counts[1]),
        counts[0] > 2 == counts[1],
        "flow_from_directory",
    )


TRAPS = (
    ignored_orientation,
    nearest_neighbor,
    clipped_depth,
    half_read_jpeg,
    lost_in_renaming,
    hidden_classes,
)
