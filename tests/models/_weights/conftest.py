"""Small networks, their weights and outputs, and every kind of source of weights."""

from weight_sources import SHAPE


import importlib
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from cnnkit.models import load_weights, simple_cnn


def build_network(n_classes: int = 3, **options) -> keras.Model:
    """Build a small network with what a larger one has: BatchNorm, dropout, a hidden layer."""
    settings = {"filters": (4, 8), "dense_units": 5, "batch_norm": True, "dropout": 0.5}
    return simple_cnn(SHAPE, n_classes, **settings | options)


def fill(model: keras.Model, seed: int = 1) -> keras.Model:
    """Fill a model with random weights that are valid statistics for BatchNorm."""
    generator = np.random.default_rng(seed)
    model.set_weights([generator.uniform(0.1, 1.0, x.shape) for x in model.get_weights()])
    return model


def bits_of(model: keras.Model) -> list[bytes]:
    return [array.tobytes() for array in model.get_weights()]


def predict(model: keras.Model) -> np.ndarray:
    images = np.random.default_rng(3).random((2, *model.input_shape[1:]), dtype="float32")
    return keras.ops.convert_to_numpy(model(images, training=False))


def check_refused(model: keras.Model, source: object, text: str, **options) -> None:
    """Check that a source is refused and that the model is unchanged, bit for bit."""
    before = bits_of(model)
    with pytest.raises(ValueError, match=text):
        load_weights(model, source, **options)
    assert before == bits_of(model)


class Own(keras.Model):
    """A model without a graph."""

    def __init__(self):
        super().__init__()
        self.conv = layers.Conv2D(2, 3, name="conv")
        self.pool = layers.GlobalMaxPooling2D()
        self.dense = layers.Dense(2, name="dense")

    def call(self, x):
        return self.dense(self.pool(self.conv(x)))


def build_own() -> keras.Model:
    model = Own()
    model(np.zeros((1, *SHAPE)))
    return model


def itself(model: keras.Model, _: Path) -> keras.Model:
    return model


def saved(ending: str):
    """Return a function that saves a whole model."""

    def write(model: keras.Model, folder: Path) -> Path:
        model.save(folder / f"model{ending}")
        return folder / f"model{ending}"

    return write


def weights_saved(model: keras.Model, folder: Path) -> str:
    model.save_weights(folder / "model.weights.h5")
    return str(folder / "model.weights.h5")


def published(text: type, ending: str = ".h5"):
    """Return a function that writes weights as keras.applications publishes them.

    The oldest files have names as bytes and weights side by side, later ones names as text and
    weights in a group of their own.
    """

    def write(model: keras.Model, folder: Path) -> Path:
        path = folder / f"model_weights_tf_dim_ordering_tf_kernels{ending}"
        dtype = "S" if text is bytes else h5py.string_dtype()
        with h5py.File(path, "w") as file:
            titles = [layer.name for layer in model.layers]
            file.attrs["layer_names"] = np.array(titles, dtype=dtype)
            for layer in model.layers:
                group = file.create_group(layer.name)
                within = f"{layer.name}_" if text is bytes else f"{layer.name}/"
                # In the alphabet's order they would be mixed up: the list counts.
                names = [f"{within}{9 - n}:0" for n in range(len(layer.weights))]
                group.attrs["weight_names"] = np.array(names, dtype=dtype)
                for name, array in zip(names, layer.get_weights(), strict=True):
                    group[name] = array
        return path

    return write


PACKAGES = {".pth": "torch", ".pt": "torch", ".safetensors": "safetensors", ".npz": "numpy"}


def write_state_dict(state: dict[str, np.ndarray], path: Path) -> Path:
    """Write a state dict as PyTorch, safetensors or NumPy does."""
    package = pytest.importorskip(PACKAGES[path.suffix])
    if package.__name__ == "torch":
        package.save({name: package.from_numpy(array) for name, array in state.items()}, path)
    elif package.__name__ == "safetensors":
        importlib.import_module("safetensors.numpy").save_file(state, path)
    else:
        np.savez(path, **state)
    return path


WRITERS = {
    "model": itself,
    ".keras": saved(".keras"),
    "whole .h5": saved(".h5"),
    "whole .hdf5": saved(".hdf5"),
    ".weights.h5": weights_saved,
    "published, bytes": published(bytes),
    "published, text": published(str),
    "published .hdf5": published(str, ".hdf5"),
}


@pytest.fixture
def write(request, tmp_path):
    """Return a function that makes a source of a model: the model itself, or a kind of file."""
    return lambda model: WRITERS[request.param](model, tmp_path)


@pytest.fixture(scope="session")
def network():
    return build_network


@pytest.fixture(scope="session")
def filled():
    return fill


@pytest.fixture(scope="session")
def bits():
    return bits_of


@pytest.fixture(scope="session")
def outputs():
    return predict


@pytest.fixture(scope="session")
def assert_refused():
    return check_refused


@pytest.fixture(scope="session")
def own():
    return build_own


@pytest.fixture(scope="session")
def write_state():
    return write_state_dict
