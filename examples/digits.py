# %% [markdown]
# # From a folder of images to a classifier
#
# Real handwritten digits (scikit-learn's `load_digits`) are written as files into class folders.
# The next steps are the same for any folder: list, split, and look at the images. A small network
# is trained on the digits 0 to 4. It becomes the backbone of a classifier of 5 to 9, which is
# fine-tuned with few images, evaluated, and used for predictions.

# %%
import tempfile
from pathlib import Path

import albumentations as A
import keras
import numpy as np
import pandas as pd
from PIL import Image
from sample_photos import parse_arguments
from sklearn.datasets import load_digits
from tqdm.auto import tqdm

from cnnkit.data import Split, image_dataset, list_images, predict_images, split_table
from cnnkit.models import simple_cnn
from cnnkit.transfer import build_classifier, fine_tune
from cnnkit.viz import plot_history, show_augmentations, show_images

SIZE, SEED = (16, 16), 0
SHOTS = 10  # images of each of the digits 5 to 9 to learn from
HEAD_EPOCHS, EPOCHS = 10, 20
output = parse_arguments("Learn digits from few images.", "digits", folder=False).output
keras.utils.set_random_seed(SEED)

# A small shift or rotation doesn't change a digit; a flip, or half a turn of a 6, does.
AUGMENTATION = A.Affine(translate_percent=(-0.08, 0.08), rotate=(-10, 10), p=0.8)

# %%
folder = tempfile.TemporaryDirectory()
digits = load_digits()
pairs = zip(digits.images, digits.target, strict=True)
for number, (image, target) in enumerate(tqdm(pairs, "writing files", len(digits.images))):
    path = Path(folder.name, str(target), f"{number:04}.png")
    path.parent.mkdir(exist_ok=True)
    Image.fromarray((image * (255 / 16)).round().astype(np.uint8)).save(path)

table = list_images(folder.name)
sample = table.groupby("target_names", observed=True).head(3)
axes = show_images(sample["file_paths"], titles=sample["target_names"], columns=6)
axes[0].figure.savefig(output / "images.png")
axes = show_augmentations(sample["file_paths"].iloc[0], AUGMENTATION, seed=SEED)
axes[0].figure.savefig(output / "augmentations.png")


def of_classes(names: str) -> pd.DataFrame:
    """Select some classes and renumber them."""
    chosen = table[table["target_names"].isin(list(names))]
    categories = chosen["target_names"].cat.remove_unused_categories()
    return chosen.assign(target_names=categories, targets=categories.cat.codes)


def datasets(split: Split[pd.DataFrame], batch_size: int) -> list:
    """Return augmented training images, and validation and test images without augmentation."""
    drawn = {"transform": AUGMENTATION, "shuffle": True, "seed": SEED, "batch_size": batch_size}
    options = [drawn, {}, {}]
    parts = zip(split, options, strict=True)
    return [image_dataset(part, SIZE, cache="memory", **one) for part, one in parts]


# %% [markdown]
# ## A backbone from the digits 0 to 4
#
# The network scales its own input (`mode="unit"`), so every pipeline returns raw pixels.

# %%
train, validation, _ = datasets(split_table(of_classes("01234"), random_state=SEED), 32)
model = simple_cnn((*SIZE, 3), 5, batch_norm=True, mode="unit", pooling="avg")
model.compile(keras.optimizers.Adam(3e-3), "categorical_crossentropy", metrics=["accuracy"])
# The dataset shuffles by itself; Keras would warn that it can't shuffle it.
model.fit(train, validation_data=validation, epochs=12, shuffle=False, verbose=2)
backbone = keras.Model(model.input, model.get_layer("block3_pool").output, name="digits")

# %% [markdown]
# ## A classifier of 5 to 9 from a few images
#
# First only the head is trained, at the better of two rates; then all layers. All runs see every
# image equally often.

# %%
new = split_table(of_classes("56789"), test_size=0.5, random_state=SEED)
shots = new.train.groupby("targets").sample(SHOTS, random_state=SEED)
new = Split(shots, new.validation.sample(40, random_state=SEED), new.test)


def trained(head_epochs: int, epochs: int, rate: float = 1e-2) -> tuple[keras.Model, dict]:
    """Put a head on a copy of the backbone and train it on few images."""
    copy = keras.models.clone_model(backbone)
    copy.set_weights(backbone.get_weights())
    classifier = build_classifier(copy, list("56789"), dropout=0.2)
    few, chosen_on, _ = datasets(new, 10)
    stages = {"head_epochs": head_epochs, "epochs": epochs, "head_learning_rate": rate}
    history = fine_tune(classifier, few, chosen_on, **stages, verbose=0)
    return classifier, history.history


runs = [trained(HEAD_EPOCHS + EPOCHS, 0, rate) for rate in tqdm((1e-2, 1e-1), "head only")]
head_only, _ = min(runs, key=lambda run: min(run[1]["val_loss"]))
tuned, history = trained(HEAD_EPOCHS, EPOCHS)
plot_history(history)[0].figure.savefig(output / "history.png")

# %%
predictions = predict_images(tuned, new.test)
predictions.to_csv(output / "predictions.csv", index=False)
test = datasets(new, 10)[2]
rows = {
    f"accuracy on {len(new.test)} test digits, head only": head_only.evaluate(test, verbose=0)[1],
    "the same, fine-tuned (equal image passes)": tuned.evaluate(test, verbose=0)[1],
}
print("\n" + pd.Series(rows).to_string(float_format="{:.3f}".format))
print(f"pictures and predictions.csv are in {output}")
folder.cleanup()
