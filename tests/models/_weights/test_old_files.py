"""Files of Keras 1 and 2, which name layers differently."""

from weight_sources import SHAPE, BUILD, RULE


from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from cnnkit.models import load_weights


def old_file(path: Path, groups: dict[str, dict[str, np.ndarray]]) -> Path:
    """Write weights under the names of their layers, without any configuration."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array(list(groups), dtype="S")
        for name, weights in groups.items():
            file.create_group(name).attrs["weight_names"] = np.array(list(weights), dtype="S")
            for weight, array in weights.items():
                file[name][weight] = array
    return path


@pytest.mark.parametrize("together", [True, False], ids=["in one group", "in two"])
def test_layers_of_a_model_inside_an_old_file(tmp_path, rng, together) -> None:
    """The group of a nested model holds several layers; the weight names tell them apart.

    Alone in a group, the second layer gets the name of the group, not that in its weight names.
    """
    kernels = [rng.random((3, 3, 3, 2)), rng.random((3, 3, 2, 2))]
    biases = [rng.random(2), rng.random(2)]
    inside = {
        f"{name}/{kind}:0": arrays[number]
        for number, name in enumerate(("first", "second"))
        for kind, arrays in (("kernel", kernels), ("bias", biases))
    }
    if together:
        groups = {"backbone": inside}
    else:
        alone = {f"other/{kind}:0": inside.pop(f"second/{kind}:0") for kind in ("kernel", "bias")}
        groups = {"first": inside, "second": alone}
    convolutions = [layers.Conv2D(2, 3, name=name) for name in ("first", "second")]
    model = keras.Sequential([keras.Input(SHAPE), *convolutions])

    loaded = load_weights(model, old_file(tmp_path / "weights.h5", groups)).loaded

    assert ["first", "second"] == loaded
    for layer, kernel, bias in zip(convolutions, kernels, biases, strict=True):
        np.testing.assert_allclose(layer.get_weights()[0], kernel, rtol=1e-6)
        np.testing.assert_allclose(layer.get_weights()[1], bias, rtol=1e-6)


def test_layers_that_keras_1_called_by_a_path_are_layers(tmp_path, network, assert_refused) -> None:
    """SqueezeNet's file has layers such as `fire2/squeeze1x1`, whose weights have various names."""
    zeros = np.zeros(3)
    path = old_file(
        tmp_path / "squeezenet.h5",
        {
            name: {f"uniform_{name[-9:-3]}": zeros, f"{name}_b": zeros}
            for name in ("fire2/squeeze1x1", "fire2/expand1x1")
        },
    )

    assert_refused(network(), path, rf"{RULE}, but no layer name matches\. Received: .* {BUILD}")
