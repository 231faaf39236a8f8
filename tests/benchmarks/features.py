"""Training on cached features beside training the whole model: the same losses, sooner.

    nox -s bench -- features
    nox -s bench -- features FOLDER WEIGHTS

A MobileNetV2 of width 0.35 gets a head for five classes. First 20 epochs of the head alone are
trained, then some of the head and the last third of the network: through `fit`, and on what the
frozen part makes of all images once. What it takes to build the parts and to run the frozen one
belongs to the time; for small images that of building counts most, so they get more epochs. FOLDER
holds class folders of images, WEIGHTS is the file of the weights of the network without its top;
without them, random weights look at cuttings of scikit-learn's photos, which takes the same time.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import pandas as pd
from pairs import ratio
from sklearn.datasets import load_sample_images
from tqdm import tqdm

from cnnkit.data import list_images, load_images
from cnnkit.transfer import build_classifier, cache_features, freeze, split_model, unfreeze

PAIRS = 9
IMAGES = 480
CUT = "block_11_add"
# Side of the images, epochs, where the model is cut.
WORK = ((96, 20, "head_pool"), (96, 10, CUT), (224, 20, "head_pool"), (224, 5, CUT))
Data = tuple[np.ndarray, np.ndarray]


def images_of(side: int, folder: str | None) -> Data:
    """Return images and one-hot targets."""
    if folder is None:
        photos = load_sample_images().images
        generator = np.random.default_rng(0)
        tops = generator.integers(0, 427 - side, IMAGES), generator.integers(0, 640 - side, IMAGES)
        images = np.stack(
            [
                photos[n % 2][y : y + side, x : x + side]
                for n, (y, x) in enumerate(zip(*tops, strict=True))
            ]
        )
        return images, np.eye(5)[np.arange(IMAGES) % 5]
    loaded = load_images(list_images(folder), (side, side), progress=False)
    chosen = np.random.default_rng(0).permutation(len(loaded.images))[:IMAGES]
    targets = np.eye(len(loaded.class_names))[loaded.targets[chosen]]
    return loaded.images[chosen], targets


def classifier(data: Data, weights: str | None) -> keras.Model:
    """Return a classifier whose backbone is frozen."""
    backbone = keras.applications.MobileNetV2(
        data[0].shape[1:], alpha=0.35, include_top=False, weights=None
    )
    if weights is not None:
        backbone.load_weights(weights)
    model = build_classifier(backbone, data[1].shape[1], mode="tf", dropout=0)
    return unfreeze(freeze(model), from_layer="head_pool")


def whole(model: keras.Model, data: Data, epochs: int) -> Any:
    """Train through `fit`."""
    return fit(model, data, epochs)


def on_features(model: keras.Model, data: Data, epochs: int, at: str) -> Any:
    """Run what is in front of the cut once, and train the rest."""
    features = cache_features(model, data, at=at, progress=False)
    return fit(split_model(model, at)[1], features, epochs)


def fit(model: keras.Model, data: Data, epochs: int) -> list[float]:
    model.compile(keras.optimizers.Adam(1e-3), loss="categorical_crossentropy")
    return model.fit(*data, epochs=epochs, shuffle=False, verbose=0).history["loss"]


def same_losses(model: keras.Model, ways: tuple[Callable[[], Any], ...]) -> bool:
    """Tell whether both ways log the same losses from the same start, bit by bit."""
    start, losses = model.get_weights(), []
    for way in ways:
        model.set_weights(start)
        losses.append(way())
    return losses[0] == losses[1]


def main() -> None:
    """Print how many times as fast training on features is."""
    folder, weights = (*sys.argv[1:3], None, None)[:2]
    rows = []
    for side, epochs, at in tqdm(WORK, "features"):
        data = images_of(side, folder)
        model = classifier(data, weights)
        if at == CUT:
            unfreeze(model, from_layer="block_12_expand")
        ways = (
            partial(on_features, model, data, epochs, at),
            partial(whole, model, data, epochs),
        )
        title = "head" if at != CUT else "head and last third"
        rows.append((side, title, epochs, *ratio(*ways, pairs=PAIRS), same_losses(model, ways)))
        keras.backend.clear_session()
    columns = ["side", "trained", "epochs", "times as fast", "low", "same losses"]
    print(pd.DataFrame(rows, columns=columns).to_string(index=False, float_format="{:.2f}".format))


if __name__ == "__main__":
    main()
