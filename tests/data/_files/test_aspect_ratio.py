"""Cropping and padding: the same pixels wherever images are read."""

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from cnnkit.data import (
    Split,
    flow_from_tables,
    image_dataset,
    list_images,
    load_images,
    predict_images,
    read_image,
)

SIZE = (24, 40)
CHOICES = [{}, {"crop_to_aspect_ratio": True}, {"pad_to_aspect_ratio": True}]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A wide and a tall photo, of a class each."""
    folder = tmp_path_factory.mktemp("photos")
    wide = load_sample_images().images[0][::2, ::2]
    for name, photo in {"wide": wide, "tall": wide.swapaxes(0, 1)}.items():
        (folder / name).mkdir()
        Image.fromarray(np.ascontiguousarray(photo)).save(folder / name / "1.png")
    return list_images(folder)


def from_dataset(table, **options):
    (batch,) = image_dataset(table, SIZE, **options)
    return batch[0].numpy()


def from_flow(table, **options):
    flows = flow_from_tables(Split(table, table, table), SIZE, **options)
    return flows.validation[0][0]


def from_array(table, **options):
    return load_images(table, SIZE, progress=False, **options).images


@pytest.mark.parametrize("read", [from_dataset, from_flow, from_array])
@pytest.mark.parametrize("options", CHOICES, ids=["stretch", "crop", "pad"])
def test_pixels_are_those_of_read_image(table, read, options):
    """All readers give the same pixels as `read_image` with the same options."""
    expected = [read_image(path, SIZE, **options) for path in table["file_paths"]]

    np.testing.assert_array_equal(expected, read(table, **options))


@pytest.mark.parametrize("options", CHOICES, ids=["stretch", "crop", "pad"])
def test_prediction_sees_them_too(table, options):
    """A model is given the same pixels in prediction as in training."""
    inputs = keras.Input((*SIZE, 3))
    mean = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, mean[:, :1])
    expected = [read_image(path, SIZE, **options)[..., 0].mean() for path in table["file_paths"]]

    result = predict_images(model, table, progress=False, **options)

    np.testing.assert_allclose(np.array(expected) / 255, result["probability_wide"], rtol=1e-5)


@pytest.mark.parametrize("read", [from_dataset, from_flow, from_array])
def test_not_both(table, read):
    """Cropping and padding at once is refused before anything is read."""
    with pytest.raises(ValueError, match="Only one of `crop_to_aspect_ratio` and"):
        read(table, crop_to_aspect_ratio=True, pad_to_aspect_ratio=True)
