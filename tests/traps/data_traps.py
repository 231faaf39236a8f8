"""Traps between the files and the network."""

import tempfile
from pathlib import Path

import albumentations as A
import keras
import numpy as np
import tensorflow as tf

from cnnkit.data import (
    flow_from_tables,
    image_dataset,
    list_images,
    predict_images,
    preprocessing_function,
    read_image,
    split_table,
)
from cnnkit.models import simple_cnn

from digits import digits, write_digits
from trap import Trap


def augmented_validation() -> Trap:
    """With `validation_split`, an augmentation also changes the validation images."""
    flip = A.HorizontalFlip(p=0.5)
    flip.set_random_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = write_digits(Path(name), 2, 5, count=25)
        generator = tf.keras.preprocessing.image.ImageDataGenerator(
            preprocessing_function=lambda image: flip(image=image)["image"], validation_split=0.2
        )
        naive = generator.flow_from_directory(
            folder, target_size=(16, 16), subset="validation", shuffle=False, batch_size=1
        )
        split = split_table(list_images(folder), test_size=0, random_state=0)
        flows = flow_from_tables(split._replace(test=split.validation), (16, 16), transform=flip)
        ours = flows.validation
        shares = [
            np.mean(
                [
                    not np.array_equal(np.asarray(images)[0], read_image(path))
                    for path, (images, _) in zip(flow.filepaths, _one_by_one(flow), strict=True)
                ]
            )
            for flow in (naive, ours)
        ]
    return Trap(
        "augmented validation",
        "share of augmented validation images",
        f"{shares[0]:.2f}",
        f"{shares[1]:.2f}",
        shares[0] > 0 == shares[1],
        "keras#10458",
    )


def _one_by_one(flow):
    for index in range(len(flow)):
        images, targets = flow[index]
        yield from ((images[row : row + 1], targets[row]) for row in range(len(images)))


def float_images_in_albumentations() -> Trap:
    """ImageDataGenerator passes float32 in 0..255, but albumentations clips floats at 1."""
    brighter = A.RandomBrightnessContrast((0.1, 0.1), (0, 0), p=1)
    image = digits(3, 3)[0][0].astype("float32")
    naive = brighter(image=image)["image"]
    ours = preprocessing_function(brighter, mode="none")(image)
    levels = [len(np.unique(result)) for result in (naive, ours)]
    return Trap(
        "albumentations on float32 0..255",
        f"gray levels left, of {len(np.unique(image))}",
        str(levels[0]),
        str(levels[1]),
        levels[0] <= 2 < levels[1],
        "albumentations#1156",
    )


def truncated_sigmoid() -> Trap:
    """`int(probability)` is 0 for every probability below 1."""
    keras.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory() as name:
        table = list_images(write_digits(Path(name), 0, 1, count=100))
        train = image_dataset(table, (16, 16), label_mode="binary", shuffle=True, seed=0)
        model = simple_cnn((16, 16, 3), 1, mode="unit", classifier_activation="sigmoid")
        model.compile("adam", loss="binary_crossentropy")
        model.fit(train, epochs=3, shuffle=False, verbose=0)
        outputs = model.predict(image_dataset(table, (16, 16), label_mode=None), verbose=0)
        result = predict_images(model, table, progress=False)
    naive = np.mean([int(output) for output in outputs.ravel()] == table["targets"])
    ours = (result["predicted_names"] == result["target_names"]).mean()
    return Trap(
        "int(sigmoid) as the class",
        "accuracy on digits 0 and 1",
        f"{naive:.2f}",
        f"{ours:.2f}",
        naive < 0.8 < ours,
        "course notes",
    )


TRAPS = (augmented_validation, float_images_in_albumentations, truncated_sigmoid)
