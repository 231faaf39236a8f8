"""Fixtures of the tests of plots."""

import matplotlib.pyplot as plt
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def never_shown(monkeypatch) -> None:
    """Fail wherever a plot is shown."""
    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("plt.show was called"))


@pytest.fixture
def batch(rng) -> np.ndarray:
    """Five images with a different size in each direction."""
    return rng.integers(0, 256, (5, 6, 8, 3), dtype=np.uint8)
