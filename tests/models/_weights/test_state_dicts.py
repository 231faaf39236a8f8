"""torchvision's googlenet in every kind of file, and no other network of PyTorch."""

from weight_sources import BUILD


import re

import numpy as np
import pytest

from cnnkit.models import LoadedWeights, googlenet, load_weights


KINDS = [".pth", ".pt", ".safetensors", ".npz"]
TAKEN = {  # layer of ours: name of theirs
    "conv1_7x7_s2": "conv1",
    "conv2_3x3_reduce": "conv2",
    "conv2_3x3": "conv3",
    "inception_3a_1x1": "inception3a.branch1",
    "inception_4c_3x3_reduce": "inception4c.branch2.0",
    "inception_4c_3x3": "inception4c.branch2.1",
    "inception_4e_5x5_reduce": "inception4e.branch3.0",
    "inception_4e_5x5": "inception4e.branch3.1",
    "inception_5b_pool_proj": "inception5b.branch4.1",
}


@pytest.fixture(scope="module")
def torchvision():
    """Return the network that torchvision's weights belong to; every test may change them."""
    return googlenet((64, 64, 3), variant="torchvision")


class TestStateDicts:
    """torchvision's googlenet in every kind of file, and no other network of PyTorch."""

    @pytest.mark.parametrize("ending", KINDS)
    def test_every_kind_of_file(
        self, tmp_path, torchvision, torchvision_state, ending, filled, write_state
    ) -> None:
        """Kernels and the vectors of BatchNorm are put into Keras's order."""
        model = filled(torchvision)
        path = write_state(torchvision_state, tmp_path / f"googlenet{ending}")

        report = load_weights(model, path)

        names = [layer.name for layer in model.layers if layer.weights]
        assert LoadedWeights(loaded=names, skipped=[], unused=[]) == report
        kernels = {
            ours: torchvision_state[f"{theirs}.conv.weight"].transpose(2, 3, 1, 0)
            for ours, theirs in TAKEN.items()
        }
        parts = ("weight", "bias", "running_mean", "running_var")
        norms = {
            ours: [torchvision_state[f"{theirs}.bn.{part}"] for part in parts]
            for ours, theirs in TAKEN.items()
        }
        np.testing.assert_equal(
            kernels, {name: model.get_layer(name).get_weights()[0] for name in kernels}
        )
        np.testing.assert_equal(
            norms, {name: model.get_layer(f"{name}_bn").get_weights() for name in norms}
        )
        kernel, bias = model.get_layer("predictions").get_weights()
        np.testing.assert_array_equal(torchvision_state["fc.weight"].T, kernel)
        np.testing.assert_array_equal(torchvision_state["fc.bias"], bias)

    @pytest.mark.parametrize("dtype", ["float16", "float64"])
    def test_another_precision(
        self, tmp_path, torchvision, torchvision_state, dtype, write_state
    ) -> None:
        """Weights in float16 or float64 are converted."""
        state = {name: array.astype(dtype) for name, array in torchvision_state.items()}

        load_weights(torchvision, write_state(state, tmp_path / "state.npz"))

        expected = state["fc.weight"].T.astype("float32")
        kernel, _ = torchvision.get_layer("predictions").get_weights()
        np.testing.assert_array_equal(expected, kernel)

    def test_another_number_of_classes(
        self, tmp_path, torchvision_state, assert_refused, write_state
    ) -> None:
        """`skip_head` works for state dicts too."""
        path = write_state(torchvision_state, tmp_path / "state.npz")
        model = googlenet((64, 64, 3), 3, variant="torchvision")
        text = (
            r"^The weights of 'predictions' must have the shapes \[\(1024, 3\), \(3,\)\]\. "
            r"Received: \[\(1024, 10\), \(10,\)\]\. `load_weights"
        )

        assert_refused(model, path, text)
        report = load_weights(model, path, skip_head=True)
        assert (114, ["predictions"], ["predictions"]) == (len(report.loaded), *report[1:])

    def test_without_a_head(self, tmp_path, torchvision_state, write_state) -> None:
        """A state dict without `fc` fits a model without a head."""
        state = {name: array for name, array in torchvision_state.items() if "fc" not in name}
        model = googlenet((64, 64, 3), variant="torchvision", include_top=False)

        report = load_weights(model, write_state(state, tmp_path / "state.npz"))

        assert (114, [], []) == (len(report.loaded), *report[1:])

    @pytest.mark.parametrize("variant", ["paper", "batch_norm"])
    def test_other_variants_are_refused(
        self, tmp_path, torchvision_state, variant, assert_refused, write_state
    ) -> None:
        """Its weights don't fit the paper's 5x5 kernels."""
        path = write_state(torchvision_state, tmp_path / "state.npz")
        texts = {
            "paper": r"conv1_7x7_s2_bn.* without a layer\. Build the model that",
            "batch_norm": r"^The weights of 'inception_3a_5x5' must have the shapes "
            r"\[\(5, 5, 16, 32\)\]\. Received: \[\(3, 3, 16, 32\)\]",
        }

        assert_refused(googlenet((64, 64, 3), variant=variant), path, texts[variant])

    def test_another_epsilon(
        self, tmp_path, monkeypatch, torchvision, torchvision_state, assert_refused, write_state
    ) -> None:
        """The epsilon of torchvision's network is checked, although no file contains it."""
        path = write_state(torchvision_state, tmp_path / "state.npz")
        text = (
            r"^The weights of 'inception_5b_5x5_bn' must come from a layer with epsilon=1e-05, "
            rf"because with another .*Received: 0\.001\. {BUILD}"
        )

        monkeypatch.setattr(torchvision.get_layer("inception_5b_5x5_bn"), "epsilon", 1e-5)
        assert_refused(torchvision, path, text)

    @pytest.mark.parametrize("ending", KINDS)
    def test_a_resnet(self, tmp_path, rng, ending, network, assert_refused, write_state) -> None:
        """The state dict of torchvision's ResNet is refused, with the weights to take instead."""
        shapes = {
            "conv1.weight": (64, 3, 7, 7),
            "bn1.weight": (64,),
            "layer1.0.conv1.weight": (64, 64, 1, 1),
            "fc.weight": (10, 2048),
            "fc.bias": (10,),
        }
        state = {name: rng.random(shape, dtype="float32") for name, shape in shapes.items()}
        path = write_state(state, tmp_path / f"resnet50{ending}")
        text = (
            rf"^Could not read weights from '.*resnet50{ending}': only the state dict of "
            r"torchvision's googlenet can be converted\. Received: a state dict with "
            r"\['bn1.weight', 'conv1.weight', 'layer1.0.conv1.weight'\]\. torchvision's ResNets "
            r"differ in strides and padding\. Use `weights='imagenet'`, which loads the weights "
            r"of keras\.applications\.$"
        )

        assert_refused(network(), path, text)

    def test_another_network(self, tmp_path, network, assert_refused, write_state) -> None:
        """For other networks the error lists some names and does not mention ResNet."""
        state = {f"features.{number}.weight": np.zeros(3) for number in range(5)}
        text = (
            r"can be converted\. Received: a state dict with \['features\.0\.weight', "
            r"'features\.1\.weight', 'features\.2\.weight'\]\.$"
        )

        assert_refused(network(), write_state(state, tmp_path / "state.npz"), text)

    def test_more_than_googlenet(
        self, tmp_path, torchvision, torchvision_state, assert_refused, write_state
    ) -> None:
        """A network with an extra part is another network."""
        state = torchvision_state | {"attention.weight": np.zeros(3)}
        path = write_state(state, tmp_path / "state.npz")

        assert_refused(torchvision, path, r"Received: a state dict with \['attention\.weight'\]\.$")

    @pytest.mark.parametrize(
        "missing",
        [
            "inception5b.branch4.1.conv.weight",
            "inception5b.branch4.1.bn.running_var",
            "conv1.bn.weight",
            "fc.bias",
        ],
    )
    def test_an_incomplete_state_dict(
        self, tmp_path, torchvision, torchvision_state, missing, assert_refused, write_state
    ) -> None:
        """A googlenet with a tensor missing is refused, and the tensor is named."""
        state = {name: array for name, array in torchvision_state.items() if name != missing}
        path = write_state(state, tmp_path / "state.npz")

        assert_refused(
            torchvision, path, rf"^Could not read weights from '.*'.*{re.escape(missing)}"
        )
