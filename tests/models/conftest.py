"""Fixtures that several test modules of the networks share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import keras
import numpy as np
import pytest
from keras.src.backend.common import global_state

# Szegedy et al., table 1: input channels, then filters of #1x1, #3x3 reduce, #3x3,
# #5x5 reduce, #5x5 and pool proj.
_INCEPTION = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}


@contextmanager
def _no_values() -> Iterator[None]:
    """Build networks without values of their weights, which takes little memory and time."""
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:  # or Keras would give them values as soon as another network is built
        global_state.set_global_attribute("uninitialized_variables", [])


@pytest.fixture(scope="session")
def no_values() -> Callable:
    """Return a context manager in which networks are built without values of their weights."""
    return _no_values


@pytest.fixture(scope="module")
def symbolic() -> Callable[..., keras.Model]:
    """Return a function that builds networks without weight values, and caches them."""

    @lru_cache(maxsize=None, typed=True)
    def built(build: Callable, args: tuple, options: tuple, _policy: str) -> keras.Model:
        with _no_values():
            return build(*args, **dict(options))

    def network(build: Callable, *args, **options) -> keras.Model:
        return built(build, args, tuple(options.items()), keras.config.dtype_policy().name)

    return network


@pytest.fixture(scope="session")
def inception_table() -> dict[str, tuple[int, ...]]:
    """Return the inception modules of the paper's table 1: input channels and filters."""
    return _INCEPTION


@pytest.fixture(scope="session")
def torchvision_state() -> dict[str, np.ndarray]:
    """Return a random state dict of torchvision's googlenet, for 10 classes."""
    generator = np.random.default_rng(2)
    state = {}
    for name, (filters, channels, size) in _convolutions().items():
        deviation = np.sqrt(2 / (channels * size**2))
        kernel = deviation * generator.standard_normal((filters, channels, size, size))
        vectors = generator.uniform(0.5, 1.5, (4, filters)) - [[0], [1], [1], [0]]
        weight, bias, mean, variance = vectors.astype("float32")
        state |= {
            f"{name}.conv.weight": kernel.astype("float32"),
            f"{name}.bn.weight": weight,
            f"{name}.bn.bias": bias,
            f"{name}.bn.running_mean": mean,
            f"{name}.bn.running_var": variance,
            f"{name}.bn.num_batches_tracked": np.array(7),
        }
    dense = {"fc": (10, 1024)}
    dense |= {f"aux{number}.fc1": (1024, 2048) for number in (1, 2)}
    dense |= {f"aux{number}.fc2": (10, 1024) for number in (1, 2)}
    for name, shape in dense.items():
        state[f"{name}.weight"] = (generator.standard_normal(shape) / 30).astype("float32")
        state[f"{name}.bias"] = generator.standard_normal(shape[0]).astype("float32")
    return state


def _convolutions() -> dict[str, tuple[int, int, int]]:
    """Return the filters, input channels and kernel size of each convolution."""
    table = {
        "conv1": (64, 3, 7),
        "conv2": (64, 64, 1),
        "conv3": (192, 64, 3),
        "aux1.conv": (128, 512, 1),
        "aux2.conv": (128, 528, 1),
    }
    for title, (channels, ones, reduce3, threes, reduce5, fives, pool) in _INCEPTION.items():
        table |= {
            f"inception{title}.branch1": (ones, channels, 1),
            f"inception{title}.branch2.0": (reduce3, channels, 1),
            f"inception{title}.branch2.1": (threes, reduce3, 3),
            f"inception{title}.branch3.0": (reduce5, channels, 1),
            f"inception{title}.branch3.1": (fives, reduce5, 3),
            f"inception{title}.branch4.1": (pool, channels, 1),
        }
    return table
