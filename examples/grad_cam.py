# %% [markdown]
# # See where a network looks
#
# A small network is trained on tiles of two photos. It averages over all positions, so it accepts
# images of any size. For a whole photo, Grad-CAM shows which regions support a class.
#
#     python examples/grad_cam.py

# %%
from pathlib import Path

import keras
import pandas as pd
from matplotlib import pyplot as plt
from sample_photos import parse_arguments, write_photos
from sklearn.datasets import load_sample_image, load_sample_images
from sklearn.metrics import accuracy_score

from cnnkit.data import Split, image_dataset, list_images, predict_images, split_table
from cnnkit.models import simple_cnn
from cnnkit.viz import plot_history, show_feature_maps, show_grad_cam

IMAGE_SIZE = (20, 20)  # the size of the tiles, which have the same scale as the whole photos
EPOCHS = 25
SEED = 0
# The classes to look for in each photo; the last one doesn't occur in it.
LOOKED_FOR = {
    "china.jpg": ["temple", "trees", "sky", "flower"],
    "flower.jpg": ["flower", "leaves", "temple"],
}


# %%
def train(split: Split[pd.DataFrame]) -> tuple[keras.Model, keras.callbacks.History]:
    """Train a network for images of any height and width."""
    dataset = image_dataset(
        split.train,
        IMAGE_SIZE,
        transform=keras.layers.RandomFlip("horizontal", seed=SEED),
        shuffle=True,
        seed=SEED,
        cache="memory",
    )
    validation = image_dataset(split.validation, IMAGE_SIZE, cache="memory")
    model = simple_cnn(
        (None, None, 3),
        len(dataset.class_names),
        filters=(16, 32, 64),
        batch_norm=True,
        pooling="avg",  # the mean over all positions, however many there are
        dense_units=0,
        mode="unit",
    )
    model.compile(
        keras.optimizers.Adam(3e-3), loss="categorical_crossentropy", metrics=["accuracy"]
    )
    history = model.fit(
        dataset, validation_data=validation, epochs=EPOCHS, shuffle=False, verbose=2
    )
    return model, history


# %% [markdown]
# ## Heat maps of whole photos
#
# The network was trained on tiles of these photos, so this doesn't show how well it would do on
# another temple. A class that doesn't occur gets a heat map too, on what is most similar: for the
# flower, the orange of the roofs. The title gives the probability; all classes in the photo share
# a total of 1.


# %%
def show_heat(model: keras.Model, class_names: list[str], output: Path) -> None:
    """Save a picture for each photo, with a row for each class to look for."""
    for photo, names in LOOKED_FOR.items():
        figure, axes = plt.subplots(
            len(names), 2, figsize=(8, 3 * len(names)), layout="constrained"
        )
        for row, name in zip(axes, names, strict=True):
            target = class_names.index(name)
            show_grad_cam(model, load_sample_image(photo), target=target, axes=row)
            row[0].set_title(f"looked for: {name}")
        figure.savefig(output / f"grad_cam_{Path(photo).stem}.png")


# %%
def main() -> None:
    """Run the example and print the results."""
    output = parse_arguments("See where a network looks.", "grad_cam", folder=False).output
    keras.utils.set_random_seed(SEED)
    table = list_images(write_photos(output / "photos"))
    class_names = list(table["target_names"].cat.categories)
    split = split_table(table, random_state=SEED)
    model, history = train(split)
    plot_history(history)[0].figure.savefig(output / "history.png")
    predictions = predict_images(model, split.test, image_size=IMAGE_SIZE)
    hits = accuracy_score(predictions["target_names"], predictions["predicted_names"])

    show_heat(model, class_names, output)
    photos = load_sample_images()
    size = photos.images[0].shape[:2]
    whole = predict_images(model, photos.filenames, class_names=class_names, image_size=size)
    # The first layer sees edges and colors, the last one parts of things.
    for layer in ("block1_conv1", "block3_conv1"):
        axes = show_feature_maps(model, load_sample_image("china.jpg"), layer, count=8)
        axes[0].figure.savefig(output / f"{layer}.png")
    rows = {
        "images to train, validate and test": ", ".join(str(len(part)) for part in split),
        "accuracy on the test tiles": f"{hits:.3f}",
        **{
            Path(row.file_paths).name: f"{row.predicted_names} ({row.confidence:.2f})"
            for row in whole.itertuples()
        },
        "pictures in": str(output),
    }
    print("\n" + pd.Series(rows).to_string())


if __name__ == "__main__":
    main()
