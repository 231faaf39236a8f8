"""Accuracy of `fine_tune` beside the recipes that people paste: same images, same passes over them.

    nox -s bench -- recipes FOLDER WEIGHTS [SIDE]

FOLDER holds `train`, `validation` and `test`, each with class folders; WEIGHTS is the file of a
MobileNetV2 of width 0.35 without its top. Each recipe sees every training image 16 times, flipped
at random or not, and keeps the epoch that is best on a fifth of `train`, which none trains on.
`validation` and `test` together tell the accuracy.

    a  the head alone: Adam 1e-3
    b  course notes: head with RMSprop 2e-5, then all but `layers[:150]` with RMSprop 1e-6
    c  the Keras guide: head with Adam 1e-3, then everything with Adam 1e-5, BatchNorm frozen
    d  logistic regression on the features
    e  fastai: one epoch of the head, then all by one cycle, at a hundredth of the rate in front
"""

import math
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from cnnkit.data import list_splits, load_images, split_arrays
from cnnkit.transfer import (
    build_classifier,
    fine_tune,
    freeze,
    layerwise_learning_rates,
    list_blocks,
    unfreeze,
)

SEEDS = range(5)
PASSES = 16
FEW = 20
Arrays = tuple[np.ndarray, np.ndarray]


class Work(NamedTuple):
    """What a recipe gets.

    Attributes:
        build: Makes a fresh classifier.
        train: Images and one-hot targets.
        validation: The same, to choose the epoch.
        seed: For the order.
    """

    build: Callable[[], keras.Model]
    train: Arrays
    validation: Arrays
    seed: int


class Flips(keras.utils.PyDataset):
    """Batches in random order, each image mirrored or not."""

    def __init__(self, arrays: Arrays, seed: int) -> None:
        super().__init__()
        self.images, self.targets = arrays
        self.generator = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return math.ceil(len(self.images) / 32)

    def on_epoch_end(self) -> None:
        self.order = self.generator.permutation(len(self.images))

    def __getitem__(self, place: int) -> Arrays:
        some = self.order[32 * place : 32 * (place + 1)]
        images = self.images[some].copy()
        flipped = self.generator.random(len(some)) < 0.5
        images[flipped] = images[flipped, :, ::-1]
        return images, self.targets[some]


def fit(model: keras.Model, work: Work, epochs: int, optimizer: Any = None) -> None:
    """Train, and return to the best epoch."""
    if optimizer is not None:
        model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
    best = keras.callbacks.EarlyStopping(
        "val_loss", patience=epochs, restore_best_weights=True, start_from_epoch=0
    )
    model.fit(
        Flips(work.train, work.seed),
        validation_data=work.validation,
        epochs=epochs,
        callbacks=[best],
        verbose=0,
    )


def head_of(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers if layer.name.startswith("head_")]


def head_only(work: Work, rate: float = 1e-3, epochs: int = PASSES) -> keras.Model:
    model = work.build()
    unfreeze(freeze(model), names=head_of(model))
    fit(model, work, epochs, keras.optimizers.Adam(rate))
    return model


def notes(work: Work) -> keras.Model:
    model = work.build()
    unfreeze(freeze(model), names=head_of(model))
    fit(model, work, PASSES // 2, keras.optimizers.RMSprop(2e-5))
    for place, layer in enumerate(model.layers):
        layer.trainable = place >= 150
    fit(model, work, PASSES // 2, keras.optimizers.RMSprop(1e-6))
    return model


def guide(work: Work) -> keras.Model:
    model = head_only(work, epochs=PASSES // 2)
    unfreeze(model)
    fit(model, work, PASSES // 2, keras.optimizers.Adam(1e-5))
    return model


def regression(work: Work) -> Any:
    model = work.build()
    features = keras.Model(model.input, model.get_layer("head_pool").output)
    fitted = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
    fitted.fit(features.predict(work.train[0], verbose=0), work.train[1].argmax(axis=1))
    return lambda images: fitted.predict_proba(features.predict(images, verbose=0))


def one_cycle(peak: float, steps: int) -> Any:
    """Return fastai's schedule: a quarter of the steps up from a 25th, then down."""
    return keras.optimizers.schedules.CosineDecay(
        peak / 25, steps - steps // 4, 1e-5, warmup_target=peak, warmup_steps=steps // 4
    )


def fastai(work: Work, peak: float = 2e-3) -> keras.Model:
    model = work.build()
    unfreeze(freeze(model), names=head_of(model))
    steps = -(-len(work.train[0]) // 32)
    fit(model, work, 1, keras.optimizers.Adam(one_cycle(peak, steps)))
    unfreeze(model)
    names = list_blocks(model)["layers"].tolist()[:-1]
    rates = np.geomspace(0.01, 1 / 3, len(names))
    trainable = {layer.name for layer in model.layers if layer.trainable_weights}
    multipliers = {
        name: rate
        for rate, layers in zip(rates, names, strict=True)
        for name in layers
        if name in trainable
    }
    optimizer = keras.optimizers.Adam(one_cycle(peak / 2, steps * (PASSES - 1)), beta_2=0.99)
    fit(model, work, PASSES - 1, layerwise_learning_rates(optimizer, multipliers))
    return model


def ours(work: Work, **settings: Any) -> keras.Model:
    model = work.build()
    halves = {"head_epochs": PASSES // 2, "epochs": PASSES // 2}
    train = Flips(work.train, work.seed)
    fine_tune(model, train, work.validation, **halves | settings, verbose=0)
    return model


RECIPES: dict[str, Callable[[Work], Any]] = {
    "fine_tune": ours,
    "a head only": head_only,
    "b course notes": notes,
    "c Keras guide": guide,
    "d regression": regression,
    "e fastai": fastai,
}


def load(folder: str, side: int) -> tuple[Arrays, Arrays, int]:
    """Return training images, and those of validation and test together, with one-hot targets."""
    parts = [
        load_images(table, (side, side), progress=False)
        for table in list_splits(folder)
        if table is not None
    ]
    classes = len(parts[0].class_names)
    pairs = [(part.images, np.eye(classes, dtype="float32")[part.targets]) for part in parts]
    rest = tuple(np.concatenate(arrays) for arrays in zip(*pairs[1:], strict=True))
    return pairs[0], rest, classes


def classifier(weights: str, side: int, classes: int, dropout: float = 0.5) -> keras.Model:
    """Return a fresh classifier on the pretrained backbone."""
    backbone = keras.applications.MobileNetV2(
        (side, side, 3), alpha=0.35, include_top=False, weights=None
    )
    backbone.load_weights(weights)
    return build_classifier(backbone, classes, mode="tf", dropout=dropout)


def few(train: Arrays, seed: int) -> Arrays:
    """Return some images of each class."""
    generator = np.random.default_rng(seed)
    numbers = train[1].argmax(axis=1)
    rows = [generator.permutation(np.flatnonzero(numbers == n))[:FEW] for n in np.unique(numbers)]
    chosen = np.concatenate(rows)
    return train[0][chosen], train[1][chosen]


def accuracies(
    folder: str,
    weights: str,
    side: int,
    *,
    small: bool,
    recipes: dict[str, Callable[[Work], Any]] = RECIPES,
    seeds: Any = SEEDS,
) -> pd.DataFrame:
    """Return the accuracy of each recipe, a row for each seed."""
    train, rest, classes = load(folder, side)
    rows = []
    for seed in tqdm(seeds, f"{folder} {'few' if small else 'all'}"):
        part = few(train, seed) if small else train
        inner = split_arrays(*part, validation_size=0.2, test_size=0, random_state=seed)
        work = Work(
            partial(classifier, weights, side, classes), inner.train, inner.validation, seed
        )
        row = {}
        for name, recipe in recipes.items():
            keras.utils.set_random_seed(seed)
            made = recipe(work)
            predict = made if not isinstance(made, keras.Model) else made.predict
            options = {} if predict is made else {"verbose": 0}
            found = predict(rest[0], **options).argmax(axis=1)
            row[name] = float((found == rest[1].argmax(axis=1)).mean())
            keras.backend.clear_session()
        rows.append(row)
        tqdm.write(str(row))
    return pd.DataFrame(rows)


def main() -> None:
    """Print mean, spread and paired differences for all images and for a few."""
    folder, weights, side = sys.argv[1], sys.argv[2], int((sys.argv[3:] or ["128"])[0])
    for small in (False, True):
        table = accuracies(folder, weights, side, small=small)
        lead = table["fine_tune"].to_numpy()[:, None] - table
        error = 2.776 * lead.std(ddof=1) / np.sqrt(len(table))  # Student's t for five seeds
        summary = pd.DataFrame(
            {
                "mean": table.mean(),
                "deviation": table.std(),
                "lead of fine_tune": lead.mean(),
                "low": lead.mean() - error,
                "high": lead.mean() + error,
            }
        )
        title = f"{FEW} images a class" if small else "all images"
        print(f"\n{folder}, {title}\n{summary.to_string(float_format='{:.3f}'.format)}")


if __name__ == "__main__":
    main()
