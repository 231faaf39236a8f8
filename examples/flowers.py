# %% [markdown]
# # Classify a folder of class folders
#
# The steps are those for the flowers of TensorFlow's tutorial: list, split, look, augment, train,
# predict. Without a folder, tiles of two photos are used (a flower, leaves, a temple, and so on).
#
#     python examples/flowers.py [FOLDER]

# %%
from pathlib import Path

import keras
import pandas as pd
from sample_photos import parse_arguments, write_photos
from sklearn.metrics import accuracy_score

from cnnkit.data import Split, image_dataset, list_images, predict_images, split_table
from cnnkit.models import simple_cnn
from cnnkit.viz import plot_history, show_augmentations, show_images

IMAGE_SIZE = (32, 32)  # for your own photos, better (180, 180)
EPOCHS = 15
SEED = 0


# %% [markdown]
# ## Augment
#
# Photos of flowers may be mirrored, rotated and zoomed. Keras's layers have their own seeds.


# %%
def build_augmentation() -> keras.Sequential:
    """Mirror, and rotate and zoom a little."""
    return keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal", seed=SEED),
            keras.layers.RandomRotation(0.1, seed=SEED + 1),
            keras.layers.RandomZoom(0.1, seed=SEED + 2),
        ]
    )


def look(table: pd.DataFrame, augmentation: keras.Sequential, output: Path) -> None:
    """Save some images of each class, and some draws of the augmentation."""
    sample = table.groupby("target_names", observed=True).head(4)
    axes = show_images(sample["file_paths"], titles=sample["target_names"], columns=8)
    axes[0].figure.savefig(output / "images.png")
    axes = show_augmentations(sample["file_paths"].iloc[0], augmentation)
    axes[0].figure.savefig(output / "augmentations.png")


# %% [markdown]
# ## Train
#
# The cache keeps the decoded images before they are augmented: files are read once, and each epoch
# still draws new augmentations. Validation images are neither shuffled nor augmented.


# %%
def train(
    split: Split[pd.DataFrame], augmentation: keras.Sequential
) -> tuple[keras.Model, keras.callbacks.History]:
    """Train a small network, with dropout against overfitting."""
    dataset = image_dataset(
        split.train, IMAGE_SIZE, transform=augmentation, shuffle=True, seed=SEED, cache="memory"
    )
    validation = image_dataset(split.validation, IMAGE_SIZE, cache="memory")
    classes = len(dataset.class_names)
    model = simple_cnn((*IMAGE_SIZE, 3), classes, dropout=0.3, mode="unit")
    model.compile("adam", loss="categorical_crossentropy", metrics=["accuracy"])
    # The dataset has its own order; Keras warns where it is to shuffle and can't.
    history = model.fit(
        dataset, validation_data=validation, epochs=EPOCHS, shuffle=False, verbose=2
    )
    return model, history


# %%
def main() -> None:
    """Run the example and print the results."""
    arguments = parse_arguments("Classify a folder of class folders.", "flowers")
    output = arguments.output
    keras.utils.set_random_seed(SEED)
    table = list_images(arguments.folder or write_photos(output / "photos"))
    split = split_table(table, random_state=SEED)
    augmentation = build_augmentation()
    look(split.train, augmentation, output)

    model, history = train(split, augmentation)
    plot_history(history)[0].figure.savefig(output / "history.png")
    model.save(output / "model.keras")

    predictions = predict_images(model, split.test)
    predictions.to_csv(output / "predictions.csv", index=False)
    hits = accuracy_score(predictions["target_names"], predictions["predicted_names"])
    # One file by itself has no table that knows the classes: name them, in the order of training.
    names = list(table["target_names"].cat.categories)
    path = split.test["file_paths"].iloc[0]
    single = predict_images(model, path, class_names=names, top=2, progress=False).iloc[0]
    rows = {
        "images to train, validate and test": ", ".join(str(len(part)) for part in split),
        # Tiles of the same photo are easy: see what sample_photos.py says of it.
        "accuracy on the test images": f"{hits:.3f}",
        "one file": Path(path).name,
        "most probable": f"{single.top_1_names} ({single.top_1_probability:.3f})",
        "second": f"{single.top_2_names} ({single.top_2_probability:.3f})",
        "pictures, predictions.csv and model.keras in": str(output),
    }
    print("\n" + pd.Series(rows).to_string())


if __name__ == "__main__":
    main()
