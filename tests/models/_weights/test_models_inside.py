"""The layers of nested models are found."""

from weight_sources import SHAPE, BODY, every_source, files_of_keras, files_that_tell_depth


import keras
import numpy as np
import pytest
from keras import layers

from cnnkit.models import LoadedWeights, load_weights


@pytest.fixture
def nested(network):
    """Return a function that puts a head on a backbone, or on several that are built alike."""

    def build(n_classes: int = 3, times: int = 1) -> keras.Model:
        inputs = keras.Input(SHAPE)
        maps = [
            network(include_top=False, name=f"backbone{number}")(inputs) for number in range(times)
        ]
        x = layers.GlobalAveragePooling2D()(maps[0] if times == 1 else layers.Add()(maps))
        return keras.Model(inputs, layers.Dense(n_classes, name="predictions")(x))

    return build


class TestModelsInside:
    """The layers of nested models are found."""

    @every_source
    def test_a_backbone_inside(self, write, network, filled, bits, nested) -> None:
        """The weights of a backbone go into a model that has it inside."""
        source, model = filled(network(include_top=False)), nested()

        report = load_weights(model, write(source), skip_head=True)

        assert LoadedWeights(BODY, ["predictions"], []) == report
        assert bits(source) == bits(model.layers[1])

    @files_of_keras
    def test_a_source_with_a_backbone_inside(self, write, filled, outputs, nested) -> None:
        """A model of the same form takes its own file."""
        source, model = filled(nested()), nested()

        load_weights(model, write(source))

        np.testing.assert_array_equal(outputs(source), outputs(model))

    @files_of_keras
    def test_one_layer_inside(self, write, filled, bits) -> None:
        """A nested model with a single weighted layer is no exception."""

        def with_one_layer():
            inputs = keras.Input(SHAPE)
            inner = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(2, 3, name="conv")])
            return keras.Model(inputs, inner(inputs))

        source, model = filled(with_one_layer()), with_one_layer()

        assert ["conv"] == load_weights(model, write(source)).loaded
        assert bits(source) == bits(model)

    @files_that_tell_depth
    def test_from_inside_into_a_flat_model(self, write, network, filled, bits, nested) -> None:
        """How deep a layer stands makes no difference."""
        source, model = filled(nested(4)), network(include_top=False)

        report = load_weights(model, write(source), skip_head=True)

        assert LoadedWeights(BODY, [], ["predictions"]) == report
        assert bits(source.layers[1]) == bits(model)

    @files_that_tell_depth
    def test_a_wrapped_model(self, write, network, filled, bits) -> None:
        """A model that TimeDistributed wraps is a model inside."""

        def video():
            inputs = keras.Input((2, *SHAPE))
            backbone = network(include_top=False, name="backbone")
            return keras.Model(inputs, layers.TimeDistributed(backbone)(inputs))

        source, model = filled(video()), video()

        assert BODY == load_weights(model, write(source)).loaded
        assert bits(source) == bits(model)

    def test_two_layers_of_one_name(self, network, filled, assert_refused, nested) -> None:
        """If two layers of the model have the same name, the weights could belong to either."""
        text = (
            r"^Layers must have names of their own for their weights to be found\. Received: two "
            r"layers named 'block1_conv1'\. Take one of the models inside after the other\.$"
        )

        assert_refused(nested(times=2), filled(network(include_top=False)), text, skip_head=True)

    @files_that_tell_depth
    def test_two_layers_of_one_name_in_the_source(
        self, write, network, filled, assert_refused, nested
    ) -> None:
        """Two layers of the source with the same name are an error too."""
        source = filled(nested(times=2))

        text = r"Received: two layers named 'block1_conv1(_bn)?'\."
        assert_refused(network(include_top=False), write(source), text, skip_head=True)

    def test_one_after_the_other(self, network, filled, bits, nested) -> None:
        """As the error says, the models inside can be taken one by one."""
        source, model = filled(network(include_top=False)), nested(times=2)

        load_weights(model.get_layer("backbone1"), source)

        assert bits(source) == bits(model.get_layer("backbone1"))
