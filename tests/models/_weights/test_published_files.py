"""Published files of keras.applications, in the folder that CNNKIT_DATA names."""

from weight_sources import BUILD, RULE


import os
from pathlib import Path

import keras
import numpy as np
import pytest

from cnnkit.models import load_weights

WEIGHTS = Path(os.environ.get("CNNKIT_DATA", "no such folder")) / "weights"


MOBILENET = WEIGHTS / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
SQUEEZENET = WEIGHTS / "squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5"
MOBILENET_V2 = {"alpha": 0.35, "include_top": False, "input_shape": (96, 96, 3)}
needs_files = pytest.mark.skipif(
    not WEIGHTS.is_dir(), reason="CNNKIT_DATA names no folder that has weights/"
)


@needs_files
class TestPublishedFiles:
    """Files of keras.applications as they are published."""

    def test_mobilenet(self, bits, outputs) -> None:
        """The result is the same as with Keras's own loading."""
        expected = keras.applications.MobileNetV2(weights=MOBILENET, **MOBILENET_V2)
        model = keras.applications.MobileNetV2(weights=None, **MOBILENET_V2)

        report = load_weights(model, MOBILENET)

        assert (104, [], []) == (len(report.loaded), *report[1:])
        assert bits(expected) == bits(model)
        np.testing.assert_array_equal(outputs(expected), outputs(model))

    def test_mobilenet_under_a_head(self) -> None:
        """A file without a head serves a network with one."""
        model = keras.applications.MobileNetV2(
            weights=None, alpha=0.35, input_shape=(96, 96, 3), classes=3
        )

        report = load_weights(model, MOBILENET, skip_head=True)

        assert (104, ["predictions"], []) == (len(report.loaded), *report[1:])

    def test_mobilenet_of_another_width(self, assert_refused) -> None:
        """A file for alpha 0.35 doesn't fit alpha 0.5."""
        model = keras.applications.MobileNetV2(weights=None, **MOBILENET_V2 | {"alpha": 0.5})

        assert_refused(
            model, MOBILENET, r"^The weights of '\w+' must have the shapes .* Received: "
        )

    def test_another_network(self, assert_refused) -> None:
        """A file of SqueezeNet has no layer of MobileNet's."""
        model = keras.applications.MobileNetV2(weights=None, **MOBILENET_V2)

        assert_refused(
            model, SQUEEZENET, rf"{RULE}, but no layer name matches\. Received: .* {BUILD}"
        )
