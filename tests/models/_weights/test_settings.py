"""Settings that change what the same weights compute must match, if the source contains them."""

from weight_sources import HEAD, BUILD, WHOLE, every_file_of_weights


import re

import keras
import pytest
from keras import layers

from cnnkit.models import conv_block, load_weights

every_whole_source = pytest.mark.parametrize("write", WHOLE, indirect=True)


def later_strides(layer: keras.Layer) -> keras.Layer:
    """Copy a layer for the later version of ResNet, which has the stride in the 3x3 convolution."""
    config = layer.get_config()
    if re.search(r"_[12]_conv$", layer.name):
        config["strides"] = 2 if layer.name.endswith("_2_conv") else 1
    return type(layer).from_config(config)


def block() -> keras.Model:
    inputs = keras.Input((16, 16, 8))
    return keras.Model(inputs, conv_block(inputs, 3, [4, 4, 16], stage=3, block="a"))


def one_layer(layer: keras.Layer, channels: int = 4) -> keras.Model:
    return keras.Sequential([keras.Input((16, 16, channels)), layer])


class TestSettings:
    """Settings that change the outputs must match, if the source contains them."""

    @every_whole_source
    def test_the_strides_of_another_resnet(self, write, filled, assert_refused) -> None:
        """Weights of ResNet's first version are refused by the later one."""
        source = filled(block())
        model = keras.models.clone_model(block(), clone_function=later_strides)
        text = (
            r"^The weights of 'conv3_block1_1_conv' must come from a layer with strides=\(1, 1\), "
            r"because with another value they compute something else\. "
            rf"Received: [\[(]2, 2[\])]\. {BUILD}"
        )

        assert_refused(model, write(source), text)

    @every_file_of_weights
    def test_a_file_of_weights_tells_no_strides(self, write, filled, bits) -> None:
        """A file without configuration gives nothing to compare."""
        source = filled(block())
        model = keras.models.clone_model(block(), clone_function=later_strides)

        load_weights(model, write(source))

        assert bits(source) == bits(model)

    @every_whole_source
    @pytest.mark.parametrize(
        ("setting", "ours", "theirs", "received"),
        [
            ("strides", 1, (1, 2), r"[\[(]1, 2[\])]"),
            ("dilation_rate", 1, 2, r"[\[(]2, 2[\])]"),
            ("padding", "same", "valid", "'valid'"),
        ],
    )
    def test_settings_of_a_convolution(
        self, write, setting, ours, theirs, received, filled, assert_refused
    ) -> None:
        """Strides, dilation and padding are compared, and named with both values."""
        model, source = (
            filled(one_layer(layers.Conv2D(2, 3, name="conv", **{setting: value})), seed)
            for seed, value in enumerate((ours, theirs))
        )
        value = model.get_layer("conv").get_config()[setting]
        text = (
            rf"^The weights of 'conv' must come from a layer with {setting}="
            rf"{re.escape(repr(value))}, because with another .*Received: {received}\. {BUILD}"
        )

        assert_refused(model, write(source), text)

    @every_whole_source
    def test_groups(self, write, filled, assert_refused) -> None:
        """Two groups of two channels have kernels of the shape of one group of two."""
        source = filled(one_layer(layers.Conv2D(2, 3, name="conv"), channels=2))
        model = one_layer(layers.Conv2D(2, 3, groups=2, name="conv"))

        assert_refused(model, write(source), r"^The weights of 'conv' .*groups=2, .*Received: 1\.")

    @every_whole_source
    @pytest.mark.parametrize(
        ("ours", "theirs"), [(1e-3, 1.001e-5), (1.001e-5, 1e-3), (1e-5, 2e-5), (2e-5, 1e-5)]
    )
    def test_another_epsilon(self, write, ours, theirs, filled, assert_refused) -> None:
        """BatchNorm's epsilon is compared, and named with both values."""
        model, source = (
            filled(one_layer(layers.BatchNormalization(epsilon=epsilon, name="bn")), seed)
            for seed, epsilon in enumerate((ours, theirs))
        )
        text = (
            rf"^The weights of 'bn' must come from a layer with epsilon={ours}, because with "
            rf"another value they compute something else\. Received: {theirs}\. {BUILD}"
        )

        assert_refused(model, write(source), text)

    @every_whole_source
    @pytest.mark.parametrize(("ours", "theirs"), [(1e-5, 1.001e-5), (1.001e-5, 1e-5)])
    def test_an_epsilon_as_good_as_the_same(self, write, ours, theirs, filled, bits) -> None:
        """The 1e-5 of torchvision and the 1.001e-5 of keras.applications count as the same."""
        model, source = (
            filled(one_layer(layers.BatchNormalization(epsilon=epsilon, name="bn")), seed)
            for seed, epsilon in enumerate((ours, theirs))
        )

        load_weights(model, write(source))

        assert bits(source) == bits(model)

    def test_settings_of_a_skipped_head_do_not_matter(self, network, filled) -> None:
        """Layers that are not loaded are not compared."""
        source, model = filled(network()), network(classifier_activation=None)

        assert HEAD == load_weights(model, source, skip_head=True).skipped

    def test_logits_take_the_weights_of_a_softmax(self, network, filled, bits) -> None:
        """The last activation and dropout are not compared."""
        source, model = filled(network()), network(classifier_activation=None, dropout=0)

        load_weights(model, source)

        assert bits(source) == bits(model)
