"""Accuracy of `fine_tune` beside the recipes that people paste: same images, same passes over them.

    nox -s bench -- recipes FOLDER WEIGHTS [--side 96] [--count 20] --tune
    nox -s bench -- recipes FOLDER WEIGHTS [--side 96] [--count 20] --chosen "a 0.003" ...
    nox -s bench -- recipes digits ...

FOLDER holds `train`, `test` and perhaps `validation`, each with class folders; WEIGHTS is the file
of a MobileNetV2 of width 0.35 without its top. `digits` are scikit-learn's: a small network that
was trained on 0 to 4 learns 5 to 9. Each recipe sees every training image 16 times, photos mirrored
at random, and keeps the epoch that is best on a fifth of `train`, which none trains on: by its
accuracy, of equal ones the last, as `fine_tune` does. `fine_tune` spends one pass on the features
that its head learns from, and 15 on everything. `validation` and `test` together tell the accuracy.

    a  the head alone: Adam
    b  course notes: head with RMSprop 2e-5, then all but `layers[:150]` with RMSprop 1e-6
    c  the Keras guide: head with Adam 1e-3, then everything with Adam 1e-5, BatchNorm frozen
    d  logistic regression on the features
    e  fastai: one epoch of the head, then all by one cycle, at a hundredth of the rate in front

`--tune` compares the settings of a, d, e and ours by cross-validation inside `train`: each learns
from images of two thirds and is judged on the last; it ends with the best of each, as `--chosen`
takes them, and compares only those that `--chosen` names beside it. b and c are taken as they are
written. `--count` draws so many images of each class.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
import pandas as pd
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from cnnkit.data import list_splits, load_images, split_arrays
from cnnkit.models import simple_cnn
from cnnkit.transfer import (
    build_classifier,
    fine_tune,
    freeze,
    layerwise_learning_rates,
    list_blocks,
    unfreeze,
)
from cnnkit.transfer._stages import BestWeights

PASSES = 16
Arrays = tuple[np.ndarray, np.ndarray]


class Work(NamedTuple):
    """What a recipe gets.

    Attributes:
        build: Makes a fresh classifier.
        train: Images and one-hot targets.
        validation: The same, to choose the epoch.
        seed: For the order.
        mirror: Whether images may be mirrored.
    """

    build: Callable[[], keras.Model]
    train: Arrays
    validation: Arrays
    seed: int
    mirror: bool


class Flips(keras.utils.PyDataset):
    """Batches in random order, each image mirrored or not."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self.images, self.targets = work.train
        self.share = 0.5 if work.mirror else 0.0
        self.generator = np.random.default_rng(work.seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return math.ceil(len(self.images) / 32)

    def on_epoch_end(self) -> None:
        self.order = self.generator.permutation(len(self.images))

    def __getitem__(self, place: int) -> Arrays:
        some = self.order[32 * place : 32 * (place + 1)]
        images = self.images[some].copy()
        flipped = self.generator.random(len(some)) < self.share
        images[flipped] = images[flipped, :, ::-1]
        return images, self.targets[some]


def fit(model: keras.Model, work: Work, epochs: int, optimizer: Any) -> None:
    """Train, and return to the best epoch."""
    model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
    best = BestWeights("val_accuracy")
    model.fit(
        Flips(work), validation_data=work.validation, epochs=epochs, callbacks=[best], verbose=0
    )
    best.restore(model)


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
    if model.trainable_weights:  # none in a network of fewer layers
        fit(model, work, PASSES // 2, keras.optimizers.RMSprop(1e-6))
    return model


def guide(work: Work) -> keras.Model:
    model = head_only(work, epochs=PASSES // 2)
    unfreeze(model)
    fit(model, work, PASSES // 2, keras.optimizers.Adam(1e-5))
    return model


def regression(work: Work, penalty: float = 100.0) -> Callable[..., np.ndarray]:
    model = work.build()
    features = keras.Model(model.input, model.get_layer("head_pool").output)
    fitted = make_pipeline(StandardScaler(), LogisticRegression(C=1 / penalty, max_iter=2000))
    fitted.fit(features.predict(work.train[0], verbose=0), work.train[1].argmax(axis=1))
    return lambda images, verbose: fitted.predict_proba(features.predict(images, verbose=verbose))


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
    chosen = {"head_epochs": 20, "epochs": PASSES - 1, "cache": True} | settings
    fine_tune(model, Flips(work), work.validation, **chosen, verbose=0)
    return model


AS_WRITTEN: dict[str, Callable[[Work], Any]] = {"b course notes": notes, "c Keras guide": guide}
SETTINGS: dict[str, Callable[[Work], Any]] = {
    **{
        f"fine_tune {epochs} {rate}": partial(ours, head_epochs=epochs, learning_rate=rate)
        for epochs, rate in [(2, 3e-3), (5, 3e-3), (20, 1e-3), (20, 3e-3), (60, 3e-3), (60, 1e-2)]
    },
    **{f"a {rate}": partial(head_only, rate=rate) for rate in (1e-3, 3e-3, 1e-2, 3e-2)},
    **{f"d {penalty}": partial(regression, penalty=penalty) for penalty in (1.0, 10.0, 1e2, 1e3)},
    **{f"e {peak}": partial(fastai, peak=peak) for peak in (1e-3, 2e-3, 5e-3, 1e-2, 2e-2)},
}


class Images(NamedTuple):
    """What is to be learned.

    Attributes:
        train: Images and one-hot targets.
        test: The same, to tell the accuracy.
        build: Makes a fresh classifier.
        mirror: Whether images may be mirrored.
    """

    train: Arrays
    test: Arrays
    build: Callable[[], keras.Model]
    mirror: bool


def photos(folder: str, weights: str, side: int) -> Images:
    """Return photos of a folder, and classifiers on the pretrained backbone."""
    parts = [
        load_images(table, (side, side), progress=False)
        for table in list_splits(folder)
        if table is not None
    ]
    classes = len(parts[0].class_names)
    pairs = [(part.images, np.eye(classes, dtype="float32")[part.targets]) for part in parts]
    images, targets = zip(*pairs[1:], strict=True)

    def build() -> keras.Model:
        backbone = keras.applications.MobileNetV2(
            (side, side, 3), alpha=0.35, include_top=False, weights=None
        )
        backbone.load_weights(weights)
        return build_classifier(backbone, classes, mode="tf", dropout=0.5)

    return Images(pairs[0], (np.concatenate(images), np.concatenate(targets)), build, mirror=True)


def digits() -> Images:
    """Return the digits 5 to 9, and classifiers on a network that knows 0 to 4."""
    loaded = load_digits()
    images = (loaded.images[..., None] * (255 / 16)).round().astype(np.uint8)
    low = loaded.target < 5
    trained = simple_cnn((8, 8, 1), 5, filters=(32, 64), batch_norm=True, mode="unit")
    trained.compile("adam", "sparse_categorical_crossentropy")
    trained.fit(images[low], loaded.target[low], epochs=20, verbose=0)

    def build() -> keras.Model:
        copy = keras.models.clone_model(trained)
        copy.set_weights(trained.get_weights())
        backbone = keras.Model(copy.input, copy.get_layer("block2_pool").output)
        return build_classifier(backbone, 5, mode="none", dropout=0.5)

    parts = split_arrays(
        images[~low],
        np.eye(5, dtype="float32")[loaded.target[~low] - 5],
        validation_size=0,
        test_size=0.5,
        random_state=0,
    )
    return Images(parts.train, parts.test, build, mirror=False)


def drawn(train: Arrays, seed: int, count: int | None) -> Arrays:
    """Return some images of each class, or all."""
    generator = np.random.default_rng(seed)
    numbers = train[1].argmax(axis=1)
    rows = [generator.permutation(np.flatnonzero(numbers == n))[:count] for n in np.unique(numbers)]
    chosen = np.concatenate(rows)
    return train[0][chosen], train[1][chosen]


def folds(images: Images) -> Iterator[Images]:
    """Yield what cross-validation inside `train` learns from and is judged on."""
    folding = StratifiedKFold(3, shuffle=True, random_state=0)
    arrays = images.train
    for rows, judged in folding.split(arrays[0], arrays[1].argmax(axis=1)):
        train = arrays[0][rows], arrays[1][rows]
        yield images._replace(train=train, test=(arrays[0][judged], arrays[1][judged]))


def accuracies(
    images: Images, recipes: dict[str, Callable[[Work], Any]], count: int | None, seed: int
) -> Iterator[dict[str, Any]]:
    """Yield the accuracy and the seconds of each recipe."""
    given = drawn(images.train, seed, count)
    inner = split_arrays(*given, validation_size=0.2, test_size=0, random_state=seed)
    work = Work(images.build, inner.train, inner.validation, seed, images.mirror)
    for name, recipe in recipes.items():
        keras.utils.set_random_seed(seed)
        start = time.perf_counter()
        made = recipe(work)
        seconds = time.perf_counter() - start
        predict = made.predict if isinstance(made, keras.Model) else made
        right = predict(images.test[0], verbose=0).argmax(axis=1) == images.test[1].argmax(axis=1)
        yield {"recipe": name, "seed": seed, "accuracy": right.mean(), "seconds": seconds}
        keras.backend.clear_session()


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return mean and spread, and the lead of the first recipe with its 95 % interval."""
    table = rows.pivot(index="seed", columns="recipe", values="accuracy")
    table = table[rows["recipe"].unique()]
    lead = (-table).add(table.iloc[:, 0], axis=0)
    error = lead.sem() * stats.t.ppf(0.975, len(table) - 1)
    return pd.DataFrame(
        {
            "mean": table.mean(),
            "deviation": table.std(),
            "lead of the first": lead.mean(),
            "low": lead.mean() - error,
            "high": lead.mean() + error,
            "seconds": rows.groupby("recipe")["seconds"].mean(),
        }
    ).loc[table.columns]


def best(table: pd.DataFrame) -> str:
    """Return the best setting of each recipe, as `--chosen` takes them."""
    recipes = table.index.str.split(" ").str[0]
    return " ".join(f'"{name}"' for name in table.groupby(recipes, sort=False)["mean"].idxmax())


def main() -> None:
    """Print the table of recipes, or of settings."""
    parser = argparse.ArgumentParser()
    parser.add_argument("images")
    parser.add_argument("weights", nargs="?")
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--count", type=int, help="images of each class; by default all")
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--chosen", nargs="+", choices=SETTINGS, metavar="SETTING", default=[])
    options = parser.parse_args()
    keras.utils.set_random_seed(0)  # for the network that knows 0 to 4
    if options.images == "digits":
        images = digits()
    else:
        images = photos(options.images, options.weights, options.side)
    chosen = {name: SETTINGS[name] for name in options.chosen}
    if options.tune:
        runs = list(enumerate(folds(images)))
    else:
        runs = [(seed, images) for seed in options.seeds]
    recipes = (chosen or SETTINGS) if options.tune else chosen | AS_WRITTEN
    rows = [
        row for seed, some in tqdm(runs) for row in accuracies(some, recipes, options.count, seed)
    ]
    table = summary(pd.DataFrame(rows))
    print(f"\n{options.images}, {options.count or 'all'} images of a class")
    print(table.to_string(float_format="{:.3f}".format))
    if options.tune:
        print(f"--chosen {best(table)}")


if __name__ == "__main__":
    main()
