"""Draw a picture with every function of `cnnkit.viz`, and a sheet of all pictures.

    nox -s gallery [-- PICTURES]

The images are scikit-learn's handwritten digits and its two photos. PICTURES is the output folder,
by default `docs/_gallery`, where the documentation finds the pictures.
"""

import sys
import tempfile
from pathlib import Path

import albumentations as A
import keras
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images
from tqdm import tqdm

from cnnkit import viz
from cnnkit.data import image_dataset, list_images, predict_images, read_image, split_table
from cnnkit.models import simple_cnn
from cnnkit.preprocess import scale
from cnnkit.transfer import find_learning_rate

PICTURES = Path(__file__).parent / "_gallery"
SIZE = (32, 32)
AUGMENTATION = A.Compose(
    [
        A.HorizontalFlip(p=0.5),
        A.Affine(rotate=(-20, 20), scale=(0.8, 1.2), p=0.9),
        A.RandomBrightnessContrast(p=0.9),
    ]
)


def write_digits(folder: Path) -> None:
    """Write 40 images of each digit into the folder of its class."""
    digits = load_digits()
    for target in range(10):
        (folder / str(target)).mkdir()
        for number, image in enumerate(digits.images[digits.target == target][:40]):
            pixels = Image.fromarray((image * (255 / 16)).round().astype(np.uint8))
            pixels.resize(SIZE, Image.Resampling.BICUBIC).save(
                folder / str(target) / f"{number}.png"
            )


def draw_all(folder: Path) -> dict[str, NDArray]:
    """Train a network on digits for a few epochs, and return what each function draws."""
    split = split_table(list_images(folder), random_state=0)
    train, validation = (
        image_dataset(table, SIZE, shuffle=table is split.train, seed=0, progress=False)
        for table in (split.train, split.validation)
    )
    keras.utils.set_random_seed(0)
    model = simple_cnn((*SIZE, 3), 10, filters=(8, 16), batch_norm=True, mode="unit")
    model.compile("adam", loss="categorical_crossentropy", metrics=["accuracy"])
    scan = find_learning_rate(model, train, progress=False)
    parts = []
    for rate in (1e-3, 1e-4):
        model.optimizer.learning_rate = rate
        options = {"epochs": 6, "shuffle": False, "verbose": 0}
        parts.append(model.fit(train, validation_data=validation, **options))
    table = predict_images(model, split.test, class_names=train.class_names, progress=False)
    path = table["file_paths"].iloc[-1]
    photos = load_sample_images().filenames
    china, flower = (read_image(photo, (240, 320)) for photo in photos)
    return {
        "show_images": viz.show_images(photos, ["a temple in China", "a flower"]),
        "show_augmentations": viz.show_augmentations(flower, AUGMENTATION, seed=0),
        "plot_pixel_histogram": viz.plot_pixel_histogram(
            [china, flower], titles=["china", "flower"]
        ),
        "plot_pixel_histogram_torch": viz.plot_pixel_histogram(scale(china, "torch"), mode="torch"),
        "plot_learning_rate": viz.plot_learning_rate(scan),
        "plot_history": viz.plot_history(parts),
        "show_predictions": viz.show_predictions(table[::5].reset_index(), columns=8),
        "show_predictions_worst": viz.show_predictions(table, worst=True, columns=8),
        "plot_confusion_matrix": viz.plot_confusion_matrix(table),
        "plot_confusion_matrix_of_100": viz.plot_confusion_matrix(hundred_classes()),
        "plot_reliability": viz.plot_reliability(table),
        "show_feature_maps": viz.show_feature_maps(model, path, "block1_conv1", count=8),
        "show_grad_cam": viz.show_grad_cam(model, path),
    }


def hundred_classes() -> pd.DataFrame:
    """Return predictions of a hundred classes, of which about four in five are right."""
    rng = np.random.default_rng(0)
    names = [f"class {number}" for number in range(100)]
    true, other = rng.integers(0, 100, (2, 4000))
    told = np.where(rng.random(4000) < 0.8, true, other)
    columns = {"target_names": true, "predicted_names": told}
    table = {name: pd.Categorical.from_codes(codes, names) for name, codes in columns.items()}
    return pd.DataFrame(table).assign(confidence=0.8)


def save(axes: NDArray, path: Path) -> None:
    ax: Axes = axes[0]
    ax.figure.savefig(path, dpi=100)


def main() -> None:
    """Write a PNG file for each picture, and one with all of them."""
    pictures = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES
    pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        write_digits(Path(folder))
        drawn = draw_all(Path(folder))
    for name, axes in tqdm(drawn.items(), "pictures"):
        save(axes, pictures / f"{name}.png")
    paths = [pictures / f"{name}.png" for name in drawn]
    save(
        viz.show_images(paths, [name.replace("_", " ") for name in drawn], columns=4),
        pictures / "all.png",
    )


if __name__ == "__main__":
    main()
