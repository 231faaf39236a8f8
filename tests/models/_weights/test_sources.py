"""After loading, a model computes exactly what the source computes."""

from weight_sources import SHAPE, BUILD, RULE, every_source, files_of_keras, files_that_tell_depth


import keras
import numpy as np
import pytest
from keras import layers

from cnnkit.models import LoadedWeights, load_weights, resnet

NAMES = ["block1_conv1", "block1_conv1_bn", "block2_conv1", "block2_conv1_bn", "fc1", "predictions"]


class TestSources:
    """After loading, the model computes exactly what the source computes."""

    @every_source
    def test_outputs_are_those_of_the_source(self, write, network, filled, outputs) -> None:
        """Every kind of source gives every layer its weights, and the report says so."""
        source, model = filled(network()), filled(network(), seed=2)
        assert not np.allclose(outputs(source), outputs(model))

        report = load_weights(model, write(source))

        assert LoadedWeights(loaded=NAMES, skipped=[], unused=[]) == report
        np.testing.assert_array_equal(outputs(source), outputs(model))

    @pytest.mark.parametrize("write", ["whole .hdf5", "published .hdf5"], indirect=True)
    def test_hdf5_is_another_ending_of_h5(self, write, network, filled, bits) -> None:
        """Both endings are in use."""
        source, model = filled(network()), network()

        load_weights(model, write(source))

        assert bits(source) == bits(model)

    @files_of_keras
    def test_a_compiled_and_trained_model_is_a_source(
        self, write, rng, network, filled, outputs
    ) -> None:
        """The state of the optimizer is ignored."""
        source, model = filled(network()), network()
        source.compile("adam", "categorical_crossentropy", run_eagerly=True)
        source.train_on_batch(rng.random((2, *SHAPE)), np.eye(3)[:2])

        load_weights(model, write(source))

        np.testing.assert_array_equal(outputs(source), outputs(model))

    def test_the_source_is_unchanged(self, network, filled, bits) -> None:
        """Loading reads, and later changes of the model don't reach the source."""
        source, model = filled(network()), network()
        before = bits(source)

        load_weights(model, source)
        filled(model, seed=5)

        assert before == bits(source)

    @pytest.mark.parametrize(
        "build",
        [
            lambda network: network(separable=True, mode="caffe"),
            lambda network: network(augmentation=layers.RandomFlip("horizontal"), mode="tf"),
        ],
        ids=["separable", "augmented"],
    )
    @files_of_keras
    def test_networks(self, build, write, network, filled, outputs) -> None:
        """Separable convolutions, operations and random layers are no obstacle."""
        source, model = filled(build(network)), build(network)

        load_weights(model, write(source))

        np.testing.assert_array_equal(outputs(source), outputs(model))

    @pytest.mark.parametrize("write", [".weights.h5"], indirect=True)
    def test_a_residual_network(self, write, filled, outputs) -> None:
        """Layers are matched by name, so shortcuts are no obstacle."""
        source, model = (resnet((32, 32, 3), 3, depth=18, stem="cifar") for _ in range(2))

        report = load_weights(model, write(filled(source)))

        assert (41, [], []) == (len(report.loaded), *report[1:])
        np.testing.assert_array_equal(outputs(source), outputs(model))

    @every_source
    def test_weights_go_by_name_and_not_by_order(self, write, filled, outputs) -> None:
        """Layers of the same shape in a different order get their own weights."""

        def branches(names):
            inputs = keras.Input(SHAPE)
            maps = {name: layers.Conv2D(2, 3, name=name)(inputs) for name in names}
            return keras.Model(inputs, layers.Concatenate()([maps["a"], maps["b"], maps["c"]]))

        source, model = filled(branches("abc")), branches("cab")

        report = load_weights(model, write(source))

        assert ["a", "b", "c"] == sorted(report.loaded)
        np.testing.assert_array_equal(outputs(source), outputs(model))

    @every_source
    def test_names_that_keras_numbers(self, write, filled) -> None:
        """Names such as conv2d_7 are names like all others, whatever their order in the file."""

        def numbered(first, second):
            x = inputs = keras.Input((8, 8, 3))
            x = layers.Conv2D(3, 3, name=first)(x)
            x = layers.BatchNormalization(name="batch_normalization_3")(x)
            return keras.Model(inputs, layers.Conv2D(3, 3, name=second)(x))

        source = filled(numbered("conv2d_1", "conv2d"))
        model = numbered("conv2d", "conv2d_1")

        load_weights(model, write(source))

        same = [
            np.array_equal(model.get_layer(name).kernel, source.get_layer(name).kernel)
            for name in ("conv2d", "conv2d_1")
        ]
        assert [True, True] == same

    @every_source
    def test_names_that_keras_has_numbered_on(self, write, filled, assert_refused) -> None:
        """If Keras numbered the second model differently, nothing is loaded."""

        def numbered(start):
            names = [f"conv2d_{number}" for number in range(start, start + 3)]
            convolutions = [layers.Conv2D(3, 3, name=name) for name in names]
            return keras.Sequential([keras.Input((8, 8, 3)), *convolutions])

        source, model = filled(numbered(7)), numbered(8)

        text = rf"{RULE}\. Received: conv2d_10 without weights; conv2d_7 without a layer\. {BUILD}"
        assert_refused(model, write(source), text)

    @every_source
    def test_half_precision_is_a_source(self, write, network, filled, bits) -> None:
        """Weights of 16 bits are converted."""
        keras.config.set_dtype_policy("float16")
        try:
            source = filled(network())
        finally:
            keras.config.set_dtype_policy("float32")
        model = network()

        load_weights(model, write(source))

        expected = [array.astype("float32") for array in source.get_weights()]
        assert [array.tobytes() for array in expected] == bits(model)

    @files_that_tell_depth
    def test_bfloat16_is_a_source(self, write, network, filled, bits) -> None:
        """Keras marks bfloat16 in its files, because HDF5 has no such numbers."""
        keras.config.set_dtype_policy("bfloat16")
        try:
            source = filled(network())
        finally:
            keras.config.set_dtype_policy("float32")
        model = network()

        load_weights(model, write(source))

        expected = [array.astype("float32") for array in source.get_weights()]
        assert [array.tobytes() for array in expected] == bits(model)

    @every_source
    def test_normalization_works_with_what_was_loaded(self, write, rng, outputs) -> None:
        """A Normalization layer, as in EfficientNet, computes with copies of its weights."""

        def scaled():
            x = inputs = keras.Input(SHAPE)
            x = layers.Conv2D(2, 3, name="conv")(layers.Normalization(name="normalization")(x))
            return keras.Model(inputs, x)

        source, model = scaled(), scaled()
        source.get_layer("normalization").adapt(100 * rng.random((20, *SHAPE)))

        load_weights(model, write(source))

        np.testing.assert_array_equal(outputs(source), outputs(model))

    @pytest.mark.parametrize("write", ["model", ".keras"], indirect=True)
    @pytest.mark.parametrize(
        "layer",
        [
            lambda: layers.MultiHeadAttention(2, 2, name="mixing"),
            lambda: layers.ConvLSTM1D(2, 3, name="mixing"),
            lambda: layers.TimeDistributed(layers.Dense(2), name="mixing"),
        ],
        ids=["MultiHeadAttention", "ConvLSTM1D", "TimeDistributed"],
    )
    def test_layers_made_of_layers(self, layer, write, filled, outputs) -> None:
        """A layer that contains other layers counts as one layer."""

        def mixed():
            x = inputs = keras.Input(SHAPE)
            x = layers.Conv2D(2, 3, name="conv")(x)
            mixing = layer()
            attends = isinstance(mixing, layers.MultiHeadAttention)
            return keras.Model(inputs, mixing(x, x) if attends else mixing(x))

        source, model = filled(mixed()), mixed()

        assert ["conv", "mixing"] == load_weights(model, write(source)).loaded
        np.testing.assert_array_equal(outputs(source), outputs(model))

    @pytest.mark.parametrize("write", ["model", ".weights.h5"], indirect=True)
    def test_a_model_that_is_a_class(self, write, filled, bits, own) -> None:
        """A model without a graph has layers and names too."""
        source, model = filled(own()), own()

        load_weights(model, write(source))

        assert bits(source) == bits(model)

    def test_a_path_may_be_text(self, tmp_path, network, filled, bits) -> None:
        """A path may be a str or a Path."""
        source, model = filled(network()), network()
        source.save(tmp_path / "model.keras")

        load_weights(model, str(tmp_path / "model.keras"))

        assert bits(source) == bits(model)

    @pytest.mark.parametrize("write", [".weights.h5"], indirect=True)
    def test_a_file_of_more_than_ten_weights_in_a_layer(self, write, filled, bits) -> None:
        """Numbered weights are sorted by number: 10 comes after 9, not after 1."""

        class Many(keras.Layer):
            def build(self, _):
                for number in range(12):
                    self.add_weight(shape=(1,), name=f"weight{number}")

            def call(self, x):
                return sum((n + 1) * weight for n, weight in enumerate(self.weights)) * x

        def many():
            inputs = keras.Input((3,))
            return keras.Model(inputs, Many(name="many")(inputs))

        source, model = filled(many()), many()

        load_weights(model, write(source))

        assert bits(source) == bits(model)


@pytest.mark.parametrize(
    "swap",
    [
        lambda model: (model, None),
        lambda model: ("model.keras", model),
        lambda model: (model, [1]),
    ],
)
def test_what_is_no_model_or_source_is_refused(swap, network) -> None:
    """Swapped arguments are refused too."""
    model, source = swap(network())
    told = rf"Received: model={type(model).__name__}, source={type(source).__name__}\.$"
    with pytest.raises(TypeError, match=rf"^`model` must be a Keras model, and `source` .* {told}"):
        load_weights(model, source)


def test_a_loss_of_somebody_does_not_matter(tmp_path, network, filled, bits) -> None:
    """A file is read without compiling, because its loss may be unknown here."""

    def own_loss(targets, predictions):
        return keras.ops.mean((targets - predictions) ** 2)

    source = filled(network())
    source.compile("adam", own_loss)
    source.save(tmp_path / "model.keras")

    model = network()
    load_weights(model, tmp_path / "model.keras")

    assert bits(source) == bits(model)
