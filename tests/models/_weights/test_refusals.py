"""Weights that do not fit raise an error that names them, and the model is unchanged."""

from weight_sources import SHAPE, BUILD, SKIP, RULE, every_source


import h5py
import keras
import pytest
from keras import layers


class TestUnchanged:
    """Weights that do not fit raise an error that names them, and the model is unchanged."""

    def test_no_name_fits(self, network, filled, assert_refused) -> None:
        """The error says that nothing at all would have been loaded."""
        source = filled(keras.Sequential([keras.Input(SHAPE), layers.Conv2D(4, 3, name="conv2d")]))
        text = (
            rf"{RULE}, but no layer name matches\. Received: block1_conv1, block1_conv1_bn, "
            rf"block2_conv1 and 3 more without weights; conv2d without a layer\. {BUILD}"
        )

        assert_refused(network(), source, text)

    def test_a_model_that_is_a_class(self, network, filled, assert_refused, own) -> None:
        """What doesn't fit a model without a graph is the same error."""
        received = rf"conv, dense without weights; .* {BUILD}"
        text = rf"{RULE}, but no layer name matches\. Received: {received}"

        assert_refused(own(), filled(network()), text)

    @every_source
    def test_layers_without_weights(self, write, network, filled, assert_refused) -> None:
        """A source of fewer layers is refused, and the layers are named."""
        source, model = filled(network(batch_norm=False)), filled(network(), seed=2)

        text = rf"{RULE}\. Received: block1_conv1_bn, block2_conv1_bn without weights\. {BUILD}"
        assert_refused(model, write(source), text)

    @every_source
    def test_weights_without_a_layer(self, write, network, filled, assert_refused) -> None:
        """A source of more layers is refused, and the layers are named."""
        source, model = filled(network(filters=(4, 8, 16))), filled(network(), seed=2)

        text = (
            rf"{RULE}\. Received: block3_conv1(_bn)?, block3_conv1(_bn)? without a layer\. {BUILD}"
        )
        assert_refused(model, write(source), text)

    @every_source
    def test_another_shape_in_the_last_layer(self, write, network, filled, assert_refused) -> None:
        """Where only the head differs, no other layer is loaded either."""
        source, model = filled(network(4)), filled(network(3), seed=2)
        text = (
            r"^The weights of 'predictions' must have the shapes \[\(5, 3\), \(3,\)\]\. "
            r"Received: \[\(5, 4\), \(4,\)\]\. "
            rf"{SKIP}"
        )

        assert_refused(model, write(source), text)

    @every_source
    def test_another_number_of_weights(self, write, filled, assert_refused) -> None:
        """A layer with a bias is no layer without."""

        def conv(use_bias):
            return keras.Sequential(
                [keras.Input(SHAPE), layers.Conv2D(2, 3, use_bias=use_bias, name="conv")]
            )

        text = (
            r"^The weights of 'conv' must have the shapes \[\(3, 3, 3, 2\)\]\. "
            rf"Received: \[\(3, 3, 3, 2\), \(2,\)\]\. {BUILD}"
        )
        assert_refused(conv(use_bias=False), write(filled(conv(use_bias=True))), text)

    @pytest.mark.parametrize("write", ["published, bytes"], indirect=True)
    def test_transposed_kernels_are_refused(self, write, network, filled, assert_refused) -> None:
        """Keras 1 could write kernels in Theano's order, which gives other shapes."""
        source = filled(network(include_top=False, batch_norm=False))
        path = write(source)
        with h5py.File(path, "r+") as file:
            group = file["block1_conv1"]
            name = group.attrs["weight_names"][0].decode()
            kernel = group[name][()]
            del group[name]
            group[name] = kernel.transpose(3, 2, 0, 1)

        text = r"^The weights of 'block1_conv1' must have .*Received: \[\(4, 3, 3, 3\), \(4,\)\]"
        assert_refused(network(include_top=False, batch_norm=False), path, text)
