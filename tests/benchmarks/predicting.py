"""Time of predicting a folder, side by side with `model.predict` for each image.

    nox -s bench -- predicting [FOLDER]

FOLDER holds photos in class folders; without it they are made of scikit-learn's two sample photos.
The network is a MobileNetV2 of width 0.35 at 224 x 224 with random weights. Both ways read, scale
and predict the same files.
"""

import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_sample_images

from cnnkit.data import list_images, predict_images
from cnnkit.transfer import build_classifier

from pairs import ratio

SIZE, COUNT, PAIRS = (224, 224), 64, 11


def write_photos(folder: Path) -> str:
    """Write the two sample photos, each many times a little differently, into class folders."""
    for number in range(COUNT):
        photo = Image.fromarray(load_sample_images().images[number % 2])
        path = folder / f"class {number % 2}" / f"{number:03}.jpg"
        path.parent.mkdir(exist_ok=True)
        photo.resize((500, 375), box=(number, number, 560, 420)).save(path, quality=90)
    return str(folder)


def one_by_one(model: keras.Model, table: pd.DataFrame) -> list[int]:
    """Predict as in most notebooks."""
    classes = []
    for path in table["file_paths"]:
        image = keras.utils.load_img(path, target_size=SIZE)
        batch = np.expand_dims(keras.utils.img_to_array(image), axis=0)
        classes.append(int(np.argmax(model.predict(batch, verbose=0))))
    return classes


def main() -> None:
    """Print the ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = sys.argv[1] if len(sys.argv) > 1 else write_photos(Path(name))
        table = list_images(folder)[:COUNT]
        backbone = keras.applications.MobileNetV2((*SIZE, 3), 0.35, False, None)
        model = build_classifier(backbone, 2)
        median, low = ratio(
            lambda: predict_images(model, table, class_names=["a", "b"], progress=False),
            lambda: one_by_one(model, table),
            pairs=PAIRS,
        )
    print(f"model.predict for each of {len(table)} images takes {median:.1f} times as long as")
    print(f"predict_images; lower end of the 95 % interval {low:.1f}")


if __name__ == "__main__":
    main()
