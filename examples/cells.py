# %% [markdown]
# # Two folders of cells, fed by iterators like ImageDataGenerator's
#
# This example is for data sets such as the malaria images, `parasitized/` and `uninfected/`. It has
# three iterators like ImageDataGenerator's, albumentations on the training images only, and one
# sigmoid unit. Without a folder, tiles of a photo replace the cells: pale sky, and fewer tiles of
# pale water.
#
#     python examples/cells.py [FOLDER]

# %%
import albumentations as A
import keras
import numpy as np
import pandas as pd
from sample_photos import REGIONS, parse_arguments, write_photos
from sklearn.metrics import balanced_accuracy_score

from cnnkit.data import Split, flow_from_tables, list_images, predict_images, split_table
from cnnkit.models import simple_cnn
from cnnkit.viz import plot_confusion_matrix, plot_history, show_augmentations

IMAGE_SIZE = (32, 32)  # for cells, better (64, 64)
EPOCHS = 30
SEED = 0
# A cell has no top or bottom. Its color shows its class, so colors change only a little.
AUGMENTATION = A.Compose(
    [
        A.HorizontalFlip(p=0.5),
        A.VerticalFlip(p=0.5),
        A.RandomRotate90(p=0.5),
        A.RandomBrightnessContrast(brightness_limit=0.1, contrast_limit=0.1, p=0.5),
    ]
)


# %% [markdown]
# ## Train on iterators
#
# `mode="unit"` scales to 0..1 after the augmentation, which therefore receives uint8 pixels. The
# network must not scale again, and predictions must use the same mode.


# %%
def train(flows: Split) -> tuple[keras.Model, keras.callbacks.History]:
    """Train a small network on the first two iterators."""
    model = simple_cnn(
        (*IMAGE_SIZE, 3), 1, filters=(16, 32), batch_norm=True, classifier_activation="sigmoid"
    )
    model.compile(
        keras.optimizers.Adam(1e-3),
        loss="binary_crossentropy",
        metrics=["accuracy", keras.metrics.AUC(name="auc")],
    )
    callback = keras.callbacks.ReduceLROnPlateau(factor=0.3, patience=6)
    # Each class counts the same in the loss, however few images it has.
    counts = np.bincount(flows.train.classes)
    history = model.fit(
        flows.train,
        validation_data=flows.validation,
        epochs=EPOCHS,
        callbacks=[callback],
        class_weight=dict(enumerate(counts.sum() / (2 * counts))),
        shuffle=False,  # the iterator already shuffles in each epoch, by its seed
        verbose=2,
    )
    return model, history


# %%
def main() -> None:
    """Run the example and print the results."""
    arguments = parse_arguments("Tell cells of two kinds apart.", "cells")
    output = arguments.output
    keras.utils.set_random_seed(SEED)
    regions = {name: REGIONS[name] for name in ("sky", "water")}
    table = list_images(arguments.folder or write_photos(output / "photos", regions))
    # With real cells, those of one patient belong into one part: groups="patient".
    split = split_table(table, random_state=SEED)
    axes = show_augmentations(split.train["file_paths"].iloc[0], AUGMENTATION, seed=SEED)
    axes[0].figure.savefig(output / "augmentations.png")

    flows = flow_from_tables(
        split,
        IMAGE_SIZE,
        transform=AUGMENTATION,
        mode="unit",
        batch_size=8,
        class_mode="binary",
        seed=SEED,
    )
    model, history = train(flows)
    plot_history(history)[0].figure.savefig(output / "history.png")
    loss, accuracy, auc = model.evaluate(flows.test, verbose=0)

    predictions = predict_images(model, split.test, mode="unit")
    predictions.to_csv(output / "predictions.csv", index=False)
    plot_confusion_matrix(predictions)[0].figure.savefig(output / "confusion.png")
    balanced = balanced_accuracy_score(predictions["target_names"], predictions["predicted_names"])
    rows = {
        "numbers of the classes": str(flows.train.class_indices),
        "images to train, validate and test": ", ".join(str(flow.samples) for flow in flows),
        "loss on the test images": f"{loss:.3f}",
        # All sky would be right in four of five: the mean of both classes says more.
        "accuracy on the test images": f"{accuracy:.3f}",
        "mean of the accuracies of both classes": f"{balanced:.3f}",
        "area under the ROC curve": f"{auc:.3f}",
        "pictures and predictions.csv in": str(output),
    }
    print("\n" + pd.Series(rows).to_string())


if __name__ == "__main__":
    main()
