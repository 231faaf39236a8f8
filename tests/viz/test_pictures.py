"""Whole pictures, compared pixel by pixel with the same drawn by matplotlib's own calls."""

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from keras import layers
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from cnnkit.preprocess import scale
from cnnkit.transfer import LearningRateScan
from cnnkit.viz import (
    plot_learning_rate,
    plot_pixel_histogram,
    show_feature_maps,
    show_grad_cam,
    show_images,
    show_predictions,
)


def rendered(figure: Figure) -> np.ndarray:
    figure.set_size_inches(6, 4)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())


def assert_same_picture(drawn: np.ndarray, expected: Figure) -> None:
    actual = rendered(drawn[0].figure).astype(int)

    assert np.ptp(actual) > 0
    assert np.abs(rendered(expected) - actual).max() <= 1  # of 255: rounding of a color map


def grid(rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    figure, axes = plt.subplots(rows, columns, layout="constrained", squeeze=False)
    return figure, axes.ravel()


@pytest.fixture
def image(rng) -> np.ndarray:
    return rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize("mode", [None, "unit", "tf", "torch", "caffe"])
def test_images_look_the_same_in_any_scaling(mode, image) -> None:
    """Scaled images look like the raw pixels."""
    shown = image if mode is None else scale(image, mode)
    drawn = show_images([shown, shown[::-1]], ["one", "other"], columns=2, mode=mode)
    figure, axes = grid(1, 2)
    for ax, picture, title in zip(axes, (image, image[::-1]), ("one", "other"), strict=True):
        ax.imshow(picture)
        ax.set_title(title, fontsize="medium")
        ax.axis("off")

    assert_same_picture(drawn, figure)


def test_a_gray_image_is_gray(image) -> None:
    """It goes from black to white, not through matplotlib's default colors."""
    drawn = show_images([image[..., 0]])
    figure, (ax,) = grid(1, 1)
    ax.imshow(np.repeat(image[..., :1], 3, axis=-1))
    ax.axis("off")

    assert_same_picture(drawn, figure)


def test_a_histogram() -> None:
    """Whole numbers have one bar each, in the color of the channel."""
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8, 1) // 7
    drawn = plot_pixel_histogram(pixels)
    figure, (ax,) = grid(1, 1)
    ax.hist(pixels.ravel(), bins=np.arange(11) - 0.5, color="0.4")
    ax.set(title="gray: 0 to 9", xlabel="pixel value", ylabel="pixels")
    ax.locator_params(axis="x", nbins=5)

    assert_same_picture(drawn, figure)


def test_a_range_test() -> None:
    """The loss is a blue line, and the suggestion an orange, dashed line."""
    rates, losses = np.array([1e-3, 1e-2, 1e-1]), np.array([2.0, 1.0, 3.0])
    drawn = plot_learning_rate(LearningRateScan(rates, losses, 1e-2))
    figure, (ax,) = grid(1, 1)
    ax.plot(rates, losses, color="#0072B2", label="loss of a batch")
    ax.axvline(1e-2, color="#E69F00", linestyle="--", label="suggestion: 0.01")
    ax.set(xscale="log", xlabel="learning rate", ylabel="loss")
    ax.legend()

    assert_same_picture(drawn, figure)


def mean_of_maps() -> keras.Model:
    """Return a model of channel means, with a class that only the first channel supports."""
    inputs = keras.Input((8, 8, 3))
    maps = layers.Conv2D(2, 1, use_bias=False, name="maps")(inputs)
    outputs = layers.Dense(2, name="scores")(layers.GlobalAveragePooling2D()(maps))
    model = keras.Model(inputs, layers.Softmax()(outputs))
    model.get_layer("maps").set_weights([np.array([[[[1, 0], [0, 0.001], [0, 0]]]])])
    model.get_layer("scores").set_weights([np.array([[0, 1], [0, 0]]), np.zeros(2)])
    return model


def test_feature_maps(image) -> None:
    """The red channel is far more active than the dimmed green one."""
    drawn = show_feature_maps(mean_of_maps(), image, "maps")
    figure, axes = grid(1, 2)
    for number, ax in enumerate(axes):
        ax.imshow(image[..., number], cmap="viridis")
        ax.set_title(f"channel {number}", fontsize="medium")
        ax.axis("off")

    assert_same_picture(drawn, figure)


def test_grad_cam(image) -> None:
    """The heat map of the second class is the red channel, over the image."""
    red = image[..., 0].astype("float64")
    drawn = show_grad_cam(mean_of_maps(), image, target=1)
    score = 1 / (1 + np.exp(-red.mean()))
    figure, axes = grid(1, 2)
    for ax in axes:
        ax.imshow(image)
        ax.axis("off")
    options = {"alpha": 0.55, "extent": (-0.5, 7.5, 7.5, -0.5), "interpolation": "bilinear"}
    axes[1].imshow((red / red.max()).astype("float32"), cmap="inferno", **options)
    axes[1].set_title(f"class 1: {score:.2f}", fontsize="medium")

    assert_same_picture(drawn, figure)


def test_a_wrong_prediction(image, tmp_path) -> None:
    """It has a thick, dashed frame in vermilion."""
    import pandas as pd

    Image.fromarray(image).save(tmp_path / "cat.png")
    columns = {"target_names": ["cat"], "predicted_names": ["dog"], "confidence": [0.7]}
    drawn = show_predictions(pd.DataFrame({"file_paths": [str(tmp_path / "cat.png")], **columns}))
    figure, (ax,) = grid(1, 1)
    ax.imshow(image)
    ax.set_title("\u2717 dog 70 %\nis cat", fontsize="medium")
    ax.axis("off")
    frame = {"edgecolor": "#D55E00", "linewidth": 5, "linestyle": "--", "fill": False}
    ax.add_patch(Rectangle((0, 0), 1, 1, transform=ax.transAxes, **frame))

    assert_same_picture(drawn, figure)
