"""Fixtures of the tests of image files."""

import pytest
from PIL import Image
from sklearn.datasets import load_sample_images


@pytest.fixture(scope="module")
def photo():
    """One of the sample photos of scikit-learn, made small, with odd sides."""
    return Image.fromarray(load_sample_images().images[1]).resize((161, 107))
