"""Small models with the parts that cause mistakes in fine-tuning."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers

from cnnkit.transfer import build_classifier, freeze


def make_backbone(rng: np.random.Generator) -> keras.Model:
    """Two blocks with BatchNorm whose statistics look trained; scaling is inside."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Rescaling(1 / 127.5, -1, name="scale")(inputs)
    for number in (1, 2):
        x = layers.Conv2D(4, 3, padding="same", name=f"conv{number}")(x)
        x = layers.BatchNormalization(name=f"bn{number}")(x)
        x = layers.Activation("relu", name=f"relu{number}")(x)
    model = keras.Model(inputs, x, name="backbone")
    for number in (1, 2):
        model.get_layer(f"bn{number}").moving_mean.assign(0.1 * rng.random(4))
    return model


@contextmanager
def eager_steps() -> Iterator[None]:
    """Run every model without compiled steps: tracing takes longer than a few small steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "run_eagerly", property(lambda _: True, lambda *_: None))
        yield


@pytest.fixture
def eagerly() -> Iterator[None]:
    """Do without compiled steps in one test."""
    with eager_steps():
        yield


@pytest.fixture(scope="module")
def eagerly_all() -> Iterator[None]:
    """Do without compiled steps in a whole module, in its shared fixtures too."""
    with eager_steps():
        yield


@pytest.fixture
def backbone(rng) -> keras.Model:
    return make_backbone(rng)


@pytest.fixture(scope="session")
def new_backbone() -> Callable[[], keras.Model]:
    """Return a function that makes the same backbone again."""
    return lambda: make_backbone(np.random.default_rng(0))


@pytest.fixture
def classifier(backbone) -> keras.Model:
    return build_classifier(backbone, 3)


@pytest.fixture(scope="module")
def shared_classifier(new_backbone) -> keras.Model:
    """A classifier for tests that leave it as it is."""
    keras.utils.set_random_seed(0)
    return build_classifier(new_backbone(), 3)


@pytest.fixture
def nested(rng) -> keras.Model:
    """A backbone inside a Sequential model, as courses build it."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            make_backbone(rng),
            layers.Flatten(name="flat"),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", loss="sparse_categorical_crossentropy")
    return model


@pytest.fixture
def frozen(backbone) -> keras.Model:
    """A classifier whose backbone is frozen and which has no dropout."""
    freeze(backbone)
    return build_classifier(backbone, 3, dropout=0)


@pytest.fixture
def tables(make_folder) -> pd.DataFrame:
    """Eleven files of three classes: no whole number of batches."""
    folder = make_folder({"a": 4, "b": 4, "c": 3}, size=(8, 8))
    paths = sorted(str(path) for path in folder.glob("*/*.png"))
    names = pd.Categorical([path.split("/")[-2] for path in paths])
    targets = names.codes.astype("int64")
    return pd.DataFrame({"file_paths": paths, "target_names": names, "targets": targets})


@pytest.fixture
def data(rng) -> tuple[np.ndarray, np.ndarray]:
    """Twelve raw images and one-hot labels of three classes."""
    images = rng.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    return images, np.eye(3, dtype="float32")[np.arange(12) % 3]


def layers_that_change(model: keras.Model, images: np.ndarray, targets: np.ndarray) -> set[str]:
    """Train two steps and return the names of the layers of which any weight has changed."""
    leaves = [layer for layer in model._flatten_layers(include_self=False) if layer.weights]
    leaves = [layer for layer in leaves if not isinstance(layer, keras.Model)]
    before = {layer.name: layer.get_weights() for layer in leaves}
    model.fit(images, targets, epochs=2, batch_size=len(images), verbose=0)
    return {
        layer.name
        for layer in leaves
        if not all(map(np.array_equal, before[layer.name], layer.get_weights()))
    }


@pytest.fixture
def changes():
    return layers_that_change


class Rows(keras.utils.PyDataset):
    """Twelve images in batches of five."""

    def __init__(self, data) -> None:
        super().__init__()
        self.data = data

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int):
        return tuple(part[5 * index : 5 * index + 5] for part in self.data)


@pytest.fixture
def rows(data) -> keras.utils.PyDataset:
    """The images and labels as a PyDataset."""
    return Rows(data)
