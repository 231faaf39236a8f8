# %% [markdown]
# # From a folder of images to a classifier
#
# Real handwritten digits (scikit-learn's `load_digits`) are written as files into class folders.
# Then, as with any folder: list, split, look; train a small network on the digits 0 to 4; make it
# the backbone of a classifier of 5 to 9 with few images; fine-tune, evaluate, predict.

# %%
import argparse
import tempfile
import time
from pathlib import Path

import albumentations as A
import keras
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score
from tqdm.auto import tqdm

from cnnkit.data import (
    Split,
    image_data_generator,
    image_dataset,
    list_images,
    load_images,
    predict_images,
    read_image,
    split_table,
)
from cnnkit.models import simple_cnn
from cnnkit.preprocess import scale
from cnnkit.transfer import build_classifier, fine_tune, trainable_summary
from cnnkit.viz import plot_history, plot_pixel_histogram, show_augmentations, show_images

IMAGE_SIZE = (16, 16)
SHOTS = 10  # images of each of the digits 5 to 9 to learn from
HEAD_EPOCHS, EPOCHS = 10, 20
HEAD_RATES = 1e-2, 1e-1  # the head alone is given the better of two
SEED = 0

# A shift and a turn leave a digit what it is; a flip would not, nor half a turn a 6.
AUGMENTATION = A.Affine(translate_percent=(-0.08, 0.08), rotate=(-10, 10), p=0.8)


# %%
def write_digits(folder: Path) -> None:
    """Write each digit as a PNG file into the folder of its class."""
    digits = load_digits()
    for number, (image, target) in enumerate(
        tqdm(zip(digits.images, digits.target, strict=True), "writing files", len(digits.images))
    ):
        path = folder / str(target) / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = (image * (255 / 16)).round().astype(np.uint8)
        Image.fromarray(pixels).save(path)


def look(table: pd.DataFrame, pictures: Path) -> None:
    """Save a grid of images, one of augmentations, and histograms of two scalings."""
    sample = table.groupby("target_names", observed=True).head(3)
    axes = show_images(sample["file_paths"], titles=sample["target_names"], columns=6)
    axes[0].figure.savefig(pictures / "images.png")
    image = read_image(sample["file_paths"].iloc[0], IMAGE_SIZE)
    axes = show_augmentations(image, AUGMENTATION, seed=SEED)
    axes[0].figure.savefig(pictures / "augmentations.png")
    for mode in ("tf", "torch"):
        axes = plot_pixel_histogram(scale(image, mode))
        axes[0].figure.savefig(pictures / f"histogram_{mode}.png")


def of_classes(table: pd.DataFrame, names: str) -> pd.DataFrame:
    """Choose some classes and number them anew."""
    chosen = table[table["target_names"].isin(list(names))]
    categories = chosen["target_names"].cat.remove_unused_categories()
    return chosen.assign(target_names=categories, targets=categories.cat.codes)


# %% [markdown]
# ## A backbone from the digits 0 to 4
#
# Scaling is inside the network (`mode="unit"`), so that every pipeline gives raw pixels.


# %%
def train_backbone(split: Split[pd.DataFrame]) -> tuple[keras.Model, float]:
    """Train a small network; return it without its head, and the images read a second."""
    model = simple_cnn(
        (*IMAGE_SIZE, 3), 5, filters=(16, 32, 64), batch_norm=True, mode="unit", pooling="avg"
    )
    model.compile(
        keras.optimizers.Adam(3e-3), loss="categorical_crossentropy", metrics=["accuracy"]
    )
    train = image_dataset(
        split.train, IMAGE_SIZE, transform=AUGMENTATION, shuffle=True, seed=SEED, cache="memory"
    )
    validation = image_dataset(split.validation, IMAGE_SIZE, cache="memory")
    start = time.perf_counter()
    epochs = 12
    # The dataset has its own order; Keras warns where it is to shuffle and can't.
    model.fit(train, validation_data=validation, epochs=epochs, shuffle=False, verbose=2)
    rate = epochs * len(split.train) / (time.perf_counter() - start)
    return keras.Model(model.input, model.get_layer("block3_pool").output, name="digits"), rate


def train_with_generator(split: Split[pd.DataFrame]) -> float:
    """Train for a few batches through Keras's ImageDataGenerator; return the last loss."""
    loaded = load_images(split.train.head(320), IMAGE_SIZE)
    model = simple_cnn((*IMAGE_SIZE, 3), 5, filters=(16, 32))
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    generator = image_data_generator(AUGMENTATION, mode="tf")
    flow = generator.flow(loaded.images, loaded.targets, batch_size=32, seed=SEED)
    return model.fit(flow, epochs=2, verbose=2).history["loss"][-1]


# %% [markdown]
# ## A classifier of 5 to 9 from a few images
#
# Once with the head alone, at the better of two rates, and once with everything. All runs see
# every image equally often.


# %%
def few_shots(split: Split[pd.DataFrame]) -> Split[pd.DataFrame]:
    """Keep a few training images of each class, and 40 for validation; test on the rest."""
    train = split.train.groupby("targets").sample(SHOTS, random_state=SEED)
    return Split(train, split.validation.sample(40, random_state=SEED), split.test)


def train_classifier(
    backbone: keras.Model,
    split: Split[pd.DataFrame],
    head_epochs: int,
    epochs: int,
    head_rate: float = HEAD_RATES[0],
) -> tuple[keras.Model, keras.callbacks.History]:
    """Put a head on a copy of the backbone and train it on few images."""
    copy = keras.models.clone_model(backbone)
    copy.set_weights(backbone.get_weights())
    names = list(split.train["target_names"].cat.categories)
    model = build_classifier(copy, names, dropout=0.2)
    train = image_dataset(
        split.train,
        IMAGE_SIZE,
        batch_size=10,
        transform=AUGMENTATION,
        shuffle=True,
        seed=SEED,
        cache="memory",
    )
    validation = image_dataset(split.validation, IMAGE_SIZE, cache="memory")
    history = fine_tune(
        model,
        train,
        validation,
        head_epochs=head_epochs,
        epochs=epochs,
        head_learning_rate=head_rate,
        callbacks=[EpochBar(head_epochs + epochs, "fine-tuning" if epochs else "head only")],
        verbose=0,
    )
    return model, history


class EpochBar(keras.callbacks.Callback):
    """A bar that counts epochs over both stages."""

    def __init__(self, total: int, title: str) -> None:
        super().__init__()
        self.bar = tqdm(desc=title, total=total, unit="epoch")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.bar.update()
        self.bar.set_postfix(val_accuracy=f"{logs['val_accuracy']:.2f}")
        if self.bar.n == self.bar.total:
            self.bar.close()


# %%
def main() -> None:
    """Run it all and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("output/digits"), help="for pictures")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(SEED)
    with tempfile.TemporaryDirectory() as folder:
        write_digits(Path(folder))
        table = list_images(folder)
        look(table, output)
        known = split_table(of_classes(table, "01234"), random_state=SEED)
        backbone, rate = train_backbone(known)
        loss = train_with_generator(known)
        new = few_shots(split_table(of_classes(table, "56789"), test_size=0.5, random_state=SEED))
        passes = HEAD_EPOCHS + EPOCHS
        runs = [train_classifier(backbone, new, passes, 0, rate) for rate in HEAD_RATES]
        head_only, _ = min(runs, key=lambda run: min(run[1].history["val_loss"]))
        tuned, history = train_classifier(backbone, new, HEAD_EPOCHS, EPOCHS)
        plot_history(history)[0].figure.savefig(output / "history.png")
        predictions = predict_images(tuned, new.test)
        test = image_dataset(new.test, IMAGE_SIZE)
        accuracies = [model.evaluate(test, verbose=0)[1] for model in (head_only, tuned)]
    predictions.to_csv(output / "predictions.csv", index=False)
    hits = accuracy_score(predictions["target_names"], predictions["predicted_names"])
    rows = {
        f"accuracy on {len(new.test)} test digits, head only": f"{accuracies[0]:.3f}",
        "the same, fine-tuned (equal image passes)": f"{accuracies[1]:.3f}",
        "accuracy from the table of predictions": f"{hits:.3f}",
        "layers that trained": str(trainable_summary(tuned)["trainable"].sum()),
        "loss after two epochs of ImageDataGenerator": f"{loss:.3f}",
        "images a second in training, image_dataset and fit": f"{rate:.0f}",
        "pictures and predictions.csv in": str(output),
    }
    print("\n" + pd.Series(rows).to_string())


if __name__ == "__main__":
    main()
