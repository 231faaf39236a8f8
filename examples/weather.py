# %% [markdown]
# # A folder with a broken file, read into arrays
#
# This example is for data sets such as the weather photos (cloudy, rain, shine, sunrise), some of
# which can't be read. These are skipped and reported, and the network is trained on arrays of the
# others. Without a folder, tiles of a photo are used (sky, water, trees), with a truncated file.
#
#     python examples/weather.py [FOLDER]

# %%
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from sample_photos import REGIONS, parse_arguments, write_photos

from cnnkit.data import Split, list_images, load_images, split_arrays
from cnnkit.models import simple_cnn
from cnnkit.viz import plot_history, show_images

IMAGE_SIZE = (32, 32)  # for your own photos, better (150, 150)
EPOCHS = 30
SEED = 0


# %%
def write_samples(folder: Path) -> Path:
    """Write tiles of three classes, and a truncated file, as an interrupted download leaves it."""
    write_photos(folder, {name: REGIONS[name] for name in ("sky", "trees", "water")})
    whole = (folder / "sky" / "sky_0.png").read_bytes()
    (folder / "sky" / "half.png").write_bytes(whole[: len(whole) // 2])
    return folder


# %% [markdown]
# ## Train on arrays
#
# The targets are one-hot rows. The classes differ in size, so the loss weights each class by the
# inverse of its share; otherwise, a class with few images would count little.


# %%
def train(split: Split[Any]) -> tuple[keras.Model, keras.callbacks.History]:
    """Train a small network on arrays of images and one-hot targets."""
    counts = split.train[1].sum(axis=0)
    weights = {number: counts.sum() / (len(counts) * count) for number, count in enumerate(counts)}
    model = simple_cnn((*IMAGE_SIZE, 3), len(counts), batch_norm=True, mode="unit")
    model.compile("adam", loss="categorical_crossentropy", metrics=["accuracy"])
    # So few images make the curves jump: keep the weights of the best epoch, not of the last.
    callback = keras.callbacks.EarlyStopping(patience=10, restore_best_weights=True)
    history = model.fit(
        *split.train,
        validation_data=split.validation,
        batch_size=16,
        epochs=EPOCHS,
        class_weight=weights,
        callbacks=[callback],
        verbose=2,
    )
    return model, history


def recalls(model: keras.Model, images: np.ndarray, one_hot: np.ndarray) -> np.ndarray:
    """Return the share of each class that is recognized."""
    right = model.predict(images, verbose=0).argmax(axis=1) == one_hot.argmax(axis=1)
    return (right[:, None] * one_hot).sum(axis=0) / one_hot.sum(axis=0)


# %%
def main() -> None:
    """Run the example and print the results."""
    arguments = parse_arguments("Fit arrays of a folder with broken files.", "weather")
    output = arguments.output
    keras.utils.set_random_seed(SEED)
    table = list_images(arguments.folder or write_samples(output / "photos"))
    loaded = load_images(table, IMAGE_SIZE, on_error="skip")
    # Look at what was left out: a typing mistake in a path would look the same.
    for row in loaded.skipped.itertuples():
        print(f"left out: {Path(row.file_paths).name}: {row.reason}")
    loaded.skipped.to_csv(output / "skipped.csv", index=False)
    first = loaded.table["target_names"].groupby(loaded.targets).head(4).index
    places = loaded.table.index.get_indexer(first)
    titles = loaded.table["target_names"].iloc[places]
    axes = show_images(loaded.images[places], titles=titles, columns=4)
    axes[0].figure.savefig(output / "images.png")

    one_hot = keras.utils.to_categorical(loaded.targets, len(loaded.class_names))
    split = split_arrays(loaded.images, one_hot, random_state=SEED)
    model, history = train(split)
    plot_history(history)[0].figure.savefig(output / "history.png")
    loss, accuracy = model.evaluate(*split.test, verbose=0)
    shares = zip(loaded.class_names, recalls(model, *split.test), strict=True)
    rows = {
        "files listed": str(len(table)),
        "files left out": str(len(loaded.skipped)),
        "images to train, validate and test": ", ".join(str(len(images)) for images, _ in split),
        "loss on the test images": f"{loss:.3f}",
        # The weather of one day in one photo: see what sample_photos.py says of such a score.
        "accuracy on the test images": f"{accuracy:.3f}",
        **{f"recognized of {name}": f"{share:.3f}" for name, share in shares},
        "pictures and skipped.csv in": str(output),
    }
    print("\n" + pd.Series(rows).to_string())


if __name__ == "__main__":
    main()
