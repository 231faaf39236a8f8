# %% [markdown]
# # From a downloaded folder with foreign names to a trained network
#
# This example is for data sets such as the animals in Italian class folders. It renames the classes
# with a dictionary in a file, numbers the images, splits them into train, validation and test
# folders, lists these, and trains. Tiles of two photos, in Italian folders, replace the animals.
#
#     python examples/animals.py

# %%
import tempfile
from pathlib import Path

import keras
import pandas as pd
from sample_photos import REGIONS, parse_arguments, write_photos
from sklearn.metrics import accuracy_score

from cnnkit.data import (
    Split,
    image_dataset,
    list_splits,
    predict_images,
    rename_classes,
    renumber_files,
    split_folder,
)
from cnnkit.models import simple_cnn
from cnnkit.viz import plot_history, show_predictions

IMAGE_SIZE = (32, 32)
EPOCHS = 15
SEED = 0
# The file that comes with the folder. It is read as text and never executed.
DICTIONARY = """\
translate = {"fiore": "flower", "foglie": "leaves", "cielo": "sky", "tempio": "temple",
             "alberi": "trees", "acqua": "water"}
"""
ITALIAN = "fiore", "foglie", "cielo", "tempio", "alberi", "acqua"


# %% [markdown]
# ## Put the folder in order
#
# Both steps plan first, and reject the whole plan if it would overwrite a file. The original files
# stay. The parts contain hard links: additional names of the same files, which take no space.


# %%
def put_in_order(folder: Path, dictionary: Path, parted: Path) -> dict[str, str]:
    """Rename, number and split a folder; return a summary."""
    plan = rename_classes(folder, dictionary, dry_run=True)
    print(plan.map(lambda path: Path(path).name).to_string(index=False))
    renamed = rename_classes(folder, dictionary)
    numbered = renumber_files(folder)
    placed = split_folder(folder, parted, how="hardlink", random_state=SEED)
    again = split_folder(folder, parted, how="hardlink", random_state=SEED)
    return {
        "folders renamed": str(len(renamed)),
        "files numbered": str(len(numbered)),
        "the first of them": Path(numbered["new_paths"].iloc[0]).name,
        "files in three parts": str(len(placed)),
        "the same, called once more": str(len(again)),
    }


def train(split: Split[pd.DataFrame]) -> tuple[keras.Model, keras.callbacks.History]:
    """Train a small network, with random mirroring of the training images."""
    dataset = image_dataset(
        split.train,
        IMAGE_SIZE,
        transform=keras.layers.RandomFlip("horizontal", seed=SEED),
        shuffle=True,
        seed=SEED,
        cache="memory",
    )
    validation = image_dataset(split.validation, IMAGE_SIZE, cache="memory")
    model = simple_cnn((*IMAGE_SIZE, 3), len(dataset.class_names), dropout=0.3, mode="unit")
    model.compile("adam", loss="categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(
        dataset, validation_data=validation, epochs=EPOCHS, shuffle=False, verbose=2
    )
    return model, history


# %%
def main() -> None:
    """Run the example and print the results."""
    output = parse_arguments("Put a folder in order and train.", "animals", folder=False).output
    keras.utils.set_random_seed(SEED)
    with tempfile.TemporaryDirectory() as place:
        folder, dictionary = Path(place) / "animals", Path(place) / "translate.py"
        regions = dict(zip(ITALIAN, REGIONS.values(), strict=True))
        write_photos(folder, regions, layout="{}/img-{}.png")
        dictionary.write_text(DICTIONARY, encoding="utf-8")
        done = put_in_order(folder, dictionary, Path(place) / "parted")
        split = list_splits(Path(place) / "parted")
        model, history = train(split)
        predictions = predict_images(model, split.test)
        axes = show_predictions(predictions, worst=True)
        axes[0].figure.savefig(output / "predictions.png")
    plot_history(history)[0].figure.savefig(output / "history.png")
    hits = accuracy_score(predictions["target_names"], predictions["predicted_names"])
    rows = {
        **done,
        "images to train, validate and test": ", ".join(str(len(part)) for part in split),
        # Tiles of the same photo are easy to classify, see sample_photos.py.
        "accuracy on the test images": f"{hits:.3f}",
        "pictures in": str(output),
    }
    print("\n" + pd.Series(rows).to_string())


if __name__ == "__main__":
    main()
