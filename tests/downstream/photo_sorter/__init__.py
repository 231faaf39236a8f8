"""Sort photos by what a network has learned from a sorted folder."""

from pathlib import Path

import albumentations as A
import keras
import pandas as pd

from cnnkit.data import Split, image_dataset, list_images, predict_images, split_table
from cnnkit.exceptions import ImageReadError
from cnnkit.models import simple_cnn
from cnnkit.preprocess import scale
from cnnkit.transfer import build_classifier, fine_tune
from cnnkit.viz import show_predictions

SIZE = (16, 16)


def learn(folder: Path, epochs: int = 2) -> tuple[keras.Model, Split[pd.DataFrame]]:
    """Train a classifier on the class folders of a folder."""
    split = split_table(list_images(folder), random_state=0)
    train = image_dataset(
        split.train,
        SIZE,
        batch_size=8,
        transform=A.HorizontalFlip(),
        shuffle=True,
        seed=0,
        progress=False,
    )
    validation = image_dataset(split.validation, SIZE, progress=False)
    backbone = simple_cnn((*SIZE, 3), 2, filters=(4, 8), include_top=False)
    model = build_classifier(backbone, train.class_names, mode="unit", dropout=0)
    fine_tune(model, train, validation, head_epochs=5, epochs=epochs, learning_rate=1e-2, verbose=0)
    return model, split


def sort(model: keras.Model, photos: list[Path]) -> dict[str, list[Path]]:
    """Return the photos by class."""
    table = predict_images(model, photos, progress=False)
    groups = table.groupby("predicted_names", observed=True)["file_paths"]
    return {str(name): [Path(path) for path in paths] for name, paths in groups}


def draw(table: pd.DataFrame, path: Path) -> None:
    """Save a picture of predictions, the worst mistakes first."""
    axes = show_predictions(table, worst=True)
    axes[0].figure.savefig(path)


def brightness(path: Path) -> float | None:
    """Return the mean brightness of a photo, None if it can't be read."""
    from cnnkit.data import read_image

    try:
        return float(scale(read_image(path), mode="unit").mean())
    except ImageReadError:
        return None
