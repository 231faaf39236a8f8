"""Small models with random parameters, and the comparison of a model with its fused copy."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
import numpy as np
import pytest
from keras import layers

from cnnkit._keras.graph import leaf_layers


def give_random_parameters(model: keras.Model, generator: np.random.Generator) -> keras.Model:
    """Randomize the parameters that start at 0 or 1: biases and those of BatchNorm."""
    for layer in leaf_layers(model):
        for weight in layer.weights:
            if weight.name in ("gamma", "moving_variance"):
                weight.assign(generator.uniform(0.5, 1.5, weight.shape))
            elif len(weight.shape) == 1 and "float" in weight.dtype:
                weight.assign(generator.normal(0, 0.3, weight.shape))
    return model


def names_of_norms(model: keras.Model) -> list[str]:
    return [
        layer.name for layer in leaf_layers(model) if isinstance(layer, layers.BatchNormalization)
    ]


def ids_of(things) -> set[int]:
    return {id(thing) for thing in things}


@contextmanager
def collect_log() -> Iterator[list[str]]:
    """Collect what the library says, even if another package has turned its loggers off."""
    messages, handler = [], logging.Handler(logging.INFO)
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger("cnnkit.models._fusing")
    before = logger.level, logger.disabled  # `logging.config` disables what it isn't told of
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.disabled = False
    yield messages
    logger.removeHandler(handler)
    logger.setLevel(before[0])
    logger.disabled = before[1]


def make_toy(*steps: Callable, shape: tuple[int, ...] = (8, 8, 3), **options) -> keras.Model:
    """Put layers in a row, with random parameters."""
    inputs = x = keras.Input(shape)
    for step in steps:
        x = step(x)
    return with_random_parameters(keras.Model(inputs, x, **options))


def with_random_parameters(model: keras.Model) -> keras.Model:
    give_random_parameters(model, np.random.default_rng(1))
    return model


def outputs_of(model: keras.Model, inputs) -> list[np.ndarray]:
    """Return all outputs in one list."""
    outputs = keras.tree.flatten(model(inputs, training=False))
    return [np.asarray(keras.ops.convert_to_numpy(array), "float32") for array in outputs]


def check_outputs(model: keras.Model, fused: keras.Model, *, within: float = 1e-4) -> None:
    """Compare on random inputs, in units of each output's deviation."""
    generator = np.random.default_rng(2)
    inputs = keras.tree.map_structure(
        lambda x: generator.normal(0, 1, (4, *x.shape[1:])).astype("float32"), fused.input
    )
    if len(model.inputs) == 1:
        [inputs] = keras.tree.flatten(inputs)

    for expected, actual in zip(outputs_of(model, inputs), outputs_of(fused, inputs), strict=True):
        assert 0 < expected.std() < np.inf
        np.testing.assert_allclose(actual, expected, rtol=0, atol=within * expected.std())


@pytest.fixture(scope="session")
def randomize():
    return give_random_parameters


@pytest.fixture(scope="session")
def norms_in():
    return names_of_norms


@pytest.fixture(scope="session")
def ids():
    return ids_of


@pytest.fixture(scope="session")
def logged():
    return collect_log


@pytest.fixture(scope="session")
def toy():
    return make_toy


@pytest.fixture(scope="session")
def randomized():
    return with_random_parameters


@pytest.fixture(scope="session")
def arrays():
    return outputs_of


@pytest.fixture(scope="session")
def assert_same_outputs():
    return check_outputs
