"""The inception module: its names, and what it refuses; test_arithmetic.py has its values."""

import keras
import pytest

from cnnkit.models import googlenet, inception_module

FILTERS = {
    "filters_1x1": 2,
    "filters_3x3_reduce": 3,
    "filters_3x3": 4,
    "filters_5x5_reduce": 5,
    "filters_5x5": 6,
    "filters_pool_reduce": 7,
}
NAMES = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj")


class TestModule:
    """`inception_module` is the paper's figure 2b."""

    @pytest.fixture
    def model(self):
        inputs = keras.Input((7, 9, 4))
        return keras.Model(inputs, inception_module(inputs, **FILTERS, name="mixed"))

    def test_layers_have_the_names_of_the_module(self, model) -> None:
        """The concatenation has the given name, and all other names begin with it."""
        expected = {"mixed", "mixed_pool", *(f"mixed_{name}" for name in NAMES)}

        assert expected == {layer.name for layer in model.layers[1:]}

    def test_its_names_are_those_of_the_network(self, model, symbolic) -> None:
        """A module with a name from the network has the network's layer names."""
        network = symbolic(googlenet, (32, 32, 3))
        inputs = keras.Input((4, 4, 192))
        x = inception_module(inputs, 64, 96, 128, 16, 32, 32, name="inception_3a")
        module = keras.Model(inputs, x)

        names = [layer.name for layer in module.layers[1:]]
        ours = [x.name for x in network.layers if x.name.startswith("inception_3a")]
        assert sorted(ours) == sorted(names)

    @pytest.mark.parametrize("name", ["mixed", "mixed_3x3"])
    def test_a_name_that_is_taken_is_refused(self, name) -> None:
        """Two modules with the same name would give layers with the same name."""
        x = inception_module(keras.Input((8, 8, 4)), **FILTERS, name="mixed")
        x = keras.layers.ReLU()(x)
        text = (
            r"^`name` must be unique in the network, because the layers are named after it\. "
            rf"Received: '{name}', which is already in use\. Choose another name\.$"
        )

        with pytest.raises(ValueError, match=text):
            inception_module(x, **FILTERS, name=name)

    def test_modules_of_several_names_follow_each_other(self) -> None:
        """Names that share a prefix are different names."""
        inputs = keras.Input((8, 8, 4))
        x = inception_module(inputs, **FILTERS, name="mixed1")
        x = inception_module(x, **FILTERS, name="mixed")

        assert (None, 8, 8, 2 + 4 + 6 + 7) == keras.Model(inputs, x).output_shape

    def test_modules_without_a_name_follow_each_other(self) -> None:
        """Keras numbers the layers then."""
        inputs = keras.Input((8, 8, 4))
        x = inception_module(inception_module(inputs, **FILTERS), **FILTERS)

        assert 2 * 8 == len(keras.Model(inputs, x).layers[1:])

    @pytest.mark.parametrize("name", [None, "mixed"])
    @pytest.mark.parametrize("shape", [(16,), (8, 16), (4, 8, 8, 16)])
    def test_other_ranks_are_refused(self, name, shape) -> None:
        """A module needs feature maps."""
        received = ", ".join(map(str, (None, *shape)))
        text = (
            r"^`x` must hold feature maps \(batch, height, width, channels\)\. "
            rf"Received: a tensor of shape \({received}\)\.$"
        )

        with pytest.raises(ValueError, match=text):
            inception_module(keras.Input(shape), **FILTERS, name=name)
