"""Fixtures that several test modules share. All data is made here or ships with scikit-learn."""

import os
import sys

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # no look-up in a registry at import
os.environ.setdefault("MPLBACKEND", "agg")

import gc
import re
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeFolder = Callable[[dict[str, int]], Path]
# A package of its own, for `nox -s downstream`; what needs a process of its own, likewise.
collect_ignore = ["downstream", "distributed"]


def pytest_configure() -> None:
    """Draw the same examples in every run, and spare each mutant's process what takes long."""
    from hypothesis import Phase, settings

    settings.register_profile("repeatable", derandomize=True)
    settings.load_profile("repeatable")
    if "MUTANT_UNDER_TEST" in os.environ:
        gc.freeze()  # or each collection goes through all that was imported before the fork
        settings.register_profile("mutants", phases=[Phase.explicit, Phase.generate], database=None)
        settings.load_profile("mutants")  # no shrinking of what has failed


def pytest_report_header() -> str:
    """Say with which versions the tests run."""
    names = sorted(re.match(r"[\w-]+", name).group() for name in requires("cnnkit"))
    return "with " + ", ".join(f"{name} {_version(name)}" for name in names)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # as `nox -s nightly` has it
        return version(f"{name}-nightly")


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    """Close what a test has drawn, so that figures don't pile up."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(autouse=True)
def seed_keras() -> None:
    """Give every model the same first weights in every run, whatever the order of the tests."""
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="module")
def forget_graphs() -> Iterator[None]:
    """Free the graphs of a module's training steps.

    TensorFlow registers the gradient of each `all_reduce` for good, and with it the graph that
    Keras's optimizers call it in: 25,000 objects for each `fit` of a small model.
    """
    yield
    if "keras" in sys.modules:
        from tensorflow.python.framework import ops

        registry = ops.gradient_registry._registry
        graphs = [name for name in registry if name.startswith("CustomGradient-")]
        for name in graphs:
            del registry[name]
        if graphs:  # else nothing is large, and collecting garbage takes time
            sys.modules["keras"].backend.clear_session()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Return a function that writes PNG files of random pixels into class folders."""

    def make(counts: dict[str, int], size: tuple[int, int] = (16, 16)) -> Path:
        generator = np.random.default_rng(1)
        for name, count in counts.items():
            (tmp_path / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / name / f"{number:03}.png")
        return tmp_path

    return make
