"""How well wrong labels are found: labels are changed at random, and looked for.

    nox -s bench -- label_errors [FOLDER]

The data are scikit-learn's digits. With a FOLDER, which holds class folders or is split already,
its images are tried as well, by the features of a pretrained MobileNetV2; then its most suspicious
images are listed, labels as they are. As many rows as labels were changed are looked at, so that
precision and recall are one number.
"""

import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from cnnkit.data import find_label_errors, list_images, list_splits, load_images
from cnnkit.preprocess import scale

SHARES = (0.05, 0.1)
SEEDS = 3
SHOWN = 15
SIDE = 224


def with_labels(table: pd.DataFrame, targets: np.ndarray) -> pd.DataFrame:
    names = pd.Categorical.from_codes(targets, categories=table["target_names"].cat.categories)
    return table.assign(target_names=names, targets=targets)


def labelled_errors(table: pd.DataFrame, features: np.ndarray) -> pd.DataFrame:
    """Find the label errors of a table by predictions of models that have not seen the image."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    probabilities = cross_val_predict(
        model, features, table["targets"], cv=5, method="predict_proba"
    )
    return find_label_errors(table, probabilities)


def changed(targets: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Give a share of the rows another label, each of the others being as likely."""
    generator = np.random.default_rng(seed)
    rows = generator.choice(len(targets), round(share * len(targets)), replace=False)
    classes = targets.max() + 1
    results = targets.copy()
    results[rows] = (targets[rows] + generator.integers(1, classes, len(rows))) % classes
    return results, rows


def quality(data: str, table: pd.DataFrame, features: np.ndarray, share: float) -> dict[str, str]:
    """Plant errors and look for them; mean of a few seeds."""
    hits, flags = [], []
    for seed in range(SEEDS):
        targets, rows = changed(table["targets"].to_numpy(), share, seed)
        errors = labelled_errors(with_labels(table, targets), features)
        hits.append(np.isin(errors.index[: len(rows)], rows).mean())
        flags.append(len(errors))
    return {
        "data": data,
        "images": str(len(table)),
        "planted": f"{len(rows)} ({share:.0%})",
        "found in as many rows": f"{np.mean(hits):.3f}",
        "rows flagged": f"{np.mean(flags):.0f}",
    }


def digits() -> tuple[pd.DataFrame, np.ndarray]:
    features, targets = load_digits(return_X_y=True)
    names = pd.Categorical.from_codes(targets, categories=list("0123456789"))
    paths = [f"{row}.png" for row in range(len(targets))]
    table = pd.DataFrame({"file_paths": paths, "target_names": names, "targets": targets})
    return table, features


def folder_table(folder: str) -> pd.DataFrame:
    """List class folders, or all parts of a split."""
    if not (Path(folder) / "train").is_dir():
        return list_images(folder)
    return pd.concat(list_splits(folder), ignore_index=True)


def image_features(table: pd.DataFrame) -> np.ndarray:
    images = load_images(table, (SIDE, SIDE)).images
    base = keras.applications.MobileNetV2(
        input_shape=(SIDE, SIDE, 3),
        alpha=0.35,
        include_top=False,
        weights="imagenet",
        pooling="avg",
    )
    batches = np.array_split(images, max(1, len(images) // 32))
    return np.concatenate(
        [
            base.predict_on_batch(scale(batch, "tf"))
            for batch in tqdm(batches, "features", unit="batch")
        ]
    )


def main() -> None:
    """Print the table, and with a folder the most suspicious of its images."""
    data = {"digits": digits()}
    for folder in sys.argv[1:]:
        table = folder_table(folder)
        data[Path(folder).name] = (table, image_features(table))
    trials = [(name, *pair, share) for name, pair in data.items() for share in SHARES]
    results = [quality(*trial) for trial in tqdm(trials, "trials", unit="trial")]
    print(pd.DataFrame(results).to_string(index=False))
    for folder in sys.argv[1:]:
        errors = labelled_errors(*data[Path(folder).name])
        columns = ["target_names", "label_probability", "suggested_names", "suggested_probability"]
        shown = errors.head(SHOWN)[["file_paths", *columns]].round(4)
        shown["file_paths"] = [str(Path(path).relative_to(folder)) for path in shown["file_paths"]]
        print(f"\n{len(errors)} rows of {folder} were flagged. The first:")
        print(shown.to_string(index=False))


if __name__ == "__main__":
    main()
