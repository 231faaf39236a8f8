"""Traps of networks and their weights."""

import contextlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from keras import layers

from cnnkit.models import load_weights, resnet, vggnet

from trap import Trap

SIDE = 64


def weights_that_load_nothing() -> Trap:
    """When loading by name, Keras doesn't warn if no layer name matches."""
    source, model = resnet(depth=18, include_top=False), vggnet(depth=11, include_top=False)
    before = model.get_weights()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resnet18.h5"
        with contextlib.redirect_stderr(io.StringIO()):
            source.save(path)  # warns that the format is old
        model.load_weights(path, by_name=True)
        same = all(map(np.array_equal, before, model.get_weights()))
        refused = _refused(lambda: load_weights(model, path))
    return Trap(
        "weights that load nothing",
        "message when no layer has been loaded",
        "none" if same else "it loads",
        "an error" if refused else "none",
        same and refused,
        "keras#9683, keras#5397",
    )


def another_epsilon() -> Trap:
    """BatchNorm's epsilon is not a weight, so a file also loads into a network with another."""
    right = _trained_resnet()
    wrong = keras.models.clone_model(right, clone_function=_with_default_epsilon)
    wrong.set_weights(right.get_weights())
    return _features_of_wrong_network(
        "another epsilon", right, wrong, "course notes, keras-yolo3#451"
    )


def weights_of_version_1_in_version_1_5() -> Trap:
    """ResNet v1.5 has its stride in the 3x3 convolution: same weights, different network."""
    right = _trained_resnet()
    wrong = keras.models.clone_model(right, clone_function=_with_later_strides)
    wrong.set_weights(right.get_weights())
    return _features_of_wrong_network(
        "version 1 weights in version 1.5", right, wrong, "vision#191"
    )


def input_too_small() -> Trap:
    """An image of 8 pixels shrinks to one pixel in the first half of the network."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(64, 7, 2, "same")(inputs)
    for filters in (64, 128, 256, 512):
        x = layers.Conv2D(filters, 3, 2, "same")(x)
    refused = _refused(lambda: resnet((8, 8, 3)))
    return Trap(
        "input too small",
        "8 x 8 images in a ResNet for ImageNet",
        f"{x.shape[1]} x {x.shape[2]} maps, no warning",
        "an error" if refused else "no warning",
        x.shape[1:3] == (1, 1) and refused,
        "soft-filter-pruning#17",
    )


def pool_with_stride_1() -> Trap:
    """With stride 1 in the first pooling layer, every later layer has four times the work."""
    ours = vggnet(include_top=False)
    naive = keras.models.clone_model(ours, clone_function=_with_first_pool_of_stride_1)
    sizes = [model.output_shape[1] for model in (naive, ours)]
    return Trap(
        "pool with stride 1",
        "height of VGG16's last maps; paper: 7",
        str(sizes[0]),
        str(sizes[1]),
        sizes[0] > sizes[1] == 7 and naive.count_params() == ours.count_params(),
        "course notes",
    )


def _features_of_wrong_network(
    title: str, right: keras.Model, wrong: keras.Model, met: str
) -> Trap:
    images = np.random.default_rng(1).random((8, SIDE, SIDE, 3), dtype=np.float32)
    features = [model.predict_on_batch(images).ravel() for model in (right, wrong)]
    correlation = np.corrcoef(*features)[0, 1]
    refused = _refused(lambda: load_weights(wrong, right))
    return Trap(
        title,
        "correlation with the right network's features",
        f"{correlation:.2f}",
        "an error" if refused else f"{correlation:.2f}",
        correlation < 0.9 and refused,
        met,
    )


def _refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except ValueError:
        return True
    return False


def _trained_resnet() -> keras.Model:
    """Return a ResNet-50 in which each BatchNorm has the statistics of its own input.

    Training would give similar statistics. With gammas as small as those in late layers of trained
    networks, the variances are about a thousandth.
    """
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    model = resnet((SIDE, SIDE, 3), include_top=False, pooling="avg")
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
            layer.gamma.assign(generator.uniform(0.01, 0.1, layer.gamma.shape))
            layer.beta.assign(generator.normal(0, 0.05, layer.beta.shape))
    images = generator.random((16, SIDE, SIDE, 3), dtype=np.float32)
    model(images, training=True)
    return model


def _with_default_epsilon(layer: keras.Layer) -> keras.Layer:
    config = layer.get_config()
    if isinstance(layer, layers.BatchNormalization):
        del config["epsilon"]
    return type(layer).from_config(config)


def _with_later_strides(layer: keras.Layer) -> keras.Layer:
    config = layer.get_config()
    if layer.name in {
        f"conv{stage}_block1_{place}_conv" for stage in (3, 4, 5) for place in (1, 2)
    }:
        config["strides"] = 2 if layer.name.endswith("_2_conv") else 1
    return type(layer).from_config(config)


def _with_first_pool_of_stride_1(layer: keras.Layer) -> keras.Layer:
    config = layer.get_config()
    if layer.name == "block1_pool":
        config["strides"] = 1
    return type(layer).from_config(config)


TRAPS = (
    weights_that_load_nothing,
    another_epsilon,
    weights_of_version_1_in_version_1_5,
    input_too_small,
    pool_with_stride_1,
)
