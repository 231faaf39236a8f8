# %% [markdown]
# # Two classes, given by the file names
#
# All files are in one folder and have names such as `cat.12.png` and `dog.7.png`. Without a folder,
# tiles of two photos are used, such as `temple.12.png` and `flower.7.png`. The images are read as
# grayscale arrays.
#
#     python examples/cats_and_dogs.py [FOLDER]

# %%
import re
from typing import Any

import keras
import numpy as np
import pandas as pd
from sample_photos import REGIONS, parse_arguments, write_photos
from sklearn.metrics import accuracy_score

from cnnkit.data import Split, list_images, load_images, predict_images, split_arrays
from cnnkit.models import simple_cnn
from cnnkit.viz import plot_confusion_matrix, plot_history, show_predictions

IMAGE_SIZE = (32, 32)  # for your own photos, better (70, 70)
EPOCHS = 30
SEED = 0
# The text before the first dot. A name without a dot raises an error that names the file.
LABEL = re.compile(r"^([^.]+)\.\d+\.")


# %% [markdown]
# ## One sigmoid unit
#
# For two classes one number is enough: the probability of the second class. The loss is
# `binary_crossentropy`, and the targets are the class numbers 0 and 1.


# %%
def train(split: Split[Any]) -> tuple[keras.Model, keras.callbacks.History]:
    """Train a small network on arrays of grayscale images."""
    model = simple_cnn(
        (*IMAGE_SIZE, 1),
        1,
        dropout=0.5,
        classifier_activation="sigmoid",
        mode="unit",  # the model scales, so the arrays stay uint8, a quarter of float32
    )
    model.compile("adam", loss="binary_crossentropy", metrics=["accuracy"])
    callback = keras.callbacks.EarlyStopping(patience=8, restore_best_weights=True)
    # Arrays are shuffled by Keras.
    history = model.fit(
        *split.train,
        validation_data=split.validation,
        epochs=EPOCHS,
        callbacks=[callback],
        verbose=2,
    )
    return model, history


# %%
def main() -> None:
    """Run the example and print the results."""
    arguments = parse_arguments("Tell two classes apart, named by files.", "cats_and_dogs")
    output = arguments.output
    keras.utils.set_random_seed(SEED)
    regions = {name: REGIONS[name] for name in ("flower", "temple")}
    folder = arguments.folder or write_photos(output / "photos", regions, layout="{}.{}.png")
    table = list_images(folder, labels=LABEL)
    loaded = load_images(table, IMAGE_SIZE, color_mode="grayscale")

    split = split_arrays(loaded.images, loaded.targets, random_state=SEED)
    model, history = train(split)
    plot_history(history)[0].figure.savefig(output / "history.png")
    loss, accuracy = model.evaluate(*split.test, verbose=0)

    # The same seed and the same targets choose the same rows: these are the files of the test part.
    rows = split_arrays(np.arange(len(loaded.table)), loaded.targets, random_state=SEED).test[0]
    test = loaded.table.iloc[rows]
    predictions = predict_images(model, test)
    predictions.to_csv(output / "predictions.csv", index=False)
    plot_confusion_matrix(predictions)[0].figure.savefig(output / "confusion.png")
    show_predictions(predictions.head(24))[0].figure.savefig(output / "predictions.png")
    hits = accuracy_score(predictions["target_names"], predictions["predicted_names"])
    # Always the larger class: what a network must beat to have learned anything.
    chance = max(np.bincount(split.test[1])) / len(test)
    summary = {
        "images to train, validate and test": ", ".join(str(len(images)) for images, _ in split),
        "bytes of all images": f"{loaded.images.nbytes:,}",
        "loss on the test images": f"{loss:.3f}",
        "accuracy on the test images": f"{accuracy:.3f}",
        "the same from the files, by predict_images": f"{hits:.3f}",
        "the same if the larger class is always told": f"{chance:.3f}",
        "pictures and predictions.csv in": str(output),
    }
    print("\n" + pd.Series(summary).to_string())


if __name__ == "__main__":
    main()
