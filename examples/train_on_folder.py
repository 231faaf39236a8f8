# %% [markdown]
# # A classifier for your own folder
#
# The folder contains one folder of images per class, or `train/`, `validation/` and `test/` folders
# with class folders. A network of keras.applications is fine-tuned on it and evaluated on the test
# part, and its predictions are written to a table.
#
#     python examples/train_on_folder.py FOLDER
#     python examples/train_on_folder.py FOLDER --backbone ResNet50 --image-size 128

# %%
import argparse
import sys
import time
from pathlib import Path
from typing import Any

import albumentations as A
import keras
import pandas as pd

from cnnkit.data import Split, image_dataset, list_images, list_splits, predict_images, split_table
from cnnkit.transfer import build_classifier, fine_tune
from cnnkit.viz import plot_history, show_augmentations, show_images, show_predictions


# %%
def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Fine-tune a network on a folder of images.")
    parser.add_argument("folder", type=Path, help="holds class folders, or train/ and so on")
    parser.add_argument("--backbone", default="MobileNetV2", help="a name in keras.applications")
    parser.add_argument("--weights", default="imagenet", help="imagenet, none or a file")
    parser.add_argument("--alpha", type=float, help="width, for the MobileNets")
    parser.add_argument("--image-size", type=int, default=224, help="height and width in pixels")
    parser.add_argument("--head-epochs", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("output/folder"))
    # A notebook has no command line; put the name of your folder here.
    return parser.parse_args(["photos"] if "ipykernel" in sys.modules else None)


def list_or_split(folder: Path, seed: int) -> Split[pd.DataFrame]:
    """Read an existing split, or create one."""
    if (folder / "train").is_dir():
        return list_splits(folder)
    return split_table(list_images(folder), random_state=seed)


def build_backbone(name: str, weights: str, alpha: float | None, image_size: int) -> keras.Model:
    """Build a network of keras.applications without its classification head."""
    options: dict[str, Any] = {} if alpha is None else {"alpha": alpha}
    return getattr(keras.applications, name)(
        input_shape=(image_size, image_size, 3),
        include_top=False,
        weights=None if weights == "none" else weights,
        **options,
    )


# %%
def main() -> None:
    """Train, evaluate, predict, and print where the pictures are."""
    arguments = parse_arguments()
    output, size = arguments.output, (arguments.image_size, arguments.image_size)
    output.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(arguments.seed)

    split = list_or_split(arguments.folder, arguments.seed)
    class_names = list(split.train["target_names"].cat.categories)
    sizes = ", ".join(f"{len(table)} to {part}" for part, table in split._asdict().items())
    print(f"{len(class_names)} classes ({', '.join(class_names)}); {sizes}")

    # Photos of most things may be mirrored; letters, digits and traffic signs may not.
    augmentation = A.HorizontalFlip(p=0.5)
    sample = split.train.groupby("target_names", observed=True).head(2)
    axes = show_images(sample["file_paths"], titles=sample["target_names"])
    axes[0].figure.savefig(output / "images.png")
    axes = show_augmentations(sample["file_paths"].iloc[0], augmentation, draws=3)
    axes[0].figure.savefig(output / "augmentations.png")

    train = image_dataset(
        split.train,
        size,
        batch_size=arguments.batch_size,
        transform=augmentation,
        shuffle=True,
        seed=arguments.seed,
        cache="memory",
    )
    validation = image_dataset(split.validation, size, cache="memory")
    backbone = build_backbone(
        arguments.backbone, arguments.weights, arguments.alpha, arguments.image_size
    )
    model = build_classifier(backbone, class_names)
    start = time.perf_counter()
    stages = {"head_epochs": arguments.head_epochs, "epochs": arguments.epochs}
    history = fine_tune(model, train, validation, **stages, verbose=2)
    seconds = time.perf_counter() - start
    plot_history(history)[0].figure.savefig(output / "history.png")
    model.save(output / "model.keras")

    predictions = predict_images(model, split.test)
    predictions.to_csv(output / "predictions.csv", index=False)
    right = predictions["predicted_names"] == predictions["target_names"]
    show_predictions(predictions, worst=True)[0].figure.savefig(output / "mistakes.png")
    rows = {
        "accuracy on the test part": right.mean(),
        "accuracy on the validation part": model.evaluate(validation, verbose=0)[1],
        "seconds of training": round(seconds),
    }
    print("\n" + pd.Series(rows).to_string())
    print(f"model.keras, predictions.csv and pictures are in {output}")


if __name__ == "__main__":
    main()
