"""Fixtures of the tests of checks: pictures that differ."""

from checks import TILE


import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images


@pytest.fixture(scope="session")
def all_tiles():
    """All pictures that can be cut side by side from two photos, plain sky among them."""
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    corners = [(x, y) for y in range(0, 4 * TILE, TILE) for x in range(0, 6 * TILE, TILE)]
    return [photo.crop((x, y, x + TILE, y + TILE)) for photo in photos for x, y in corners]


@pytest.fixture(scope="session")
def tiles(all_tiles):
    """The sixteen pictures of most contrast."""
    return sorted(all_tiles, key=lambda tile: -np.std(tile.convert("L")))[:16]
