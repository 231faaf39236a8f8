"""load_weights: all weights into the right layers, or an error and a model as it was."""

import gc
import importlib
import itertools
import os
import re
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from cnnkit.models import LoadedWeights, conv_block, googlenet, load_weights, resnet, simple_cnn

SHAPE = (16, 16, 3)
WEIGHTS = Path(os.environ.get("CNNKIT_DATA", "no such folder")) / "weights"
NAMES = ["block1_conv1", "block1_conv1_bn", "block2_conv1", "block2_conv1_bn", "fc1", "predictions"]
BODY, HEAD = NAMES[:4], NAMES[4:]
BUILD = r"Build the model that the weights belong to\.$"
SKIP = r"`load_weights\(\.\.\., skip_head=True\)` leaves the head out\.$"
RULE = r"^Every layer must find its weights, and all weights their layer"


def network(n_classes: int = 3, **options) -> keras.Model:
    """Build a small network with what a larger one has: BatchNorm, dropout, a hidden layer."""
    settings = {"filters": (4, 8), "dense_units": 5, "batch_norm": True, "dropout": 0.5}
    return simple_cnn(SHAPE, n_classes, **settings | options)


def filled(model: keras.Model, seed: int = 1) -> keras.Model:
    """Give a model weights of its own, with statistics that BatchNorm can have."""
    generator = np.random.default_rng(seed)
    model.set_weights([generator.uniform(0.1, 1.0, x.shape) for x in model.get_weights()])
    return model


def bits(model: keras.Model) -> list[bytes]:
    return [array.tobytes() for array in model.get_weights()]


def outputs(model: keras.Model) -> np.ndarray:
    images = np.random.default_rng(3).random((2, *model.input_shape[1:]), dtype="float32")
    return model.predict_on_batch(images)


def assert_refused(model: keras.Model, source: object, text: str, **options) -> None:
    """Check that a source is refused, and that the model is bit by bit what it was."""
    before = bits(model)
    with pytest.raises(ValueError, match=text):
        load_weights(model, source, **options)
    assert before == bits(model)


def itself(model: keras.Model, _: Path) -> keras.Model:
    return model


def saved(ending: str):
    """Return a function that saves a whole model."""

    def write(model: keras.Model, folder: Path) -> Path:
        model.save(folder / f"model{ending}")
        return folder / f"model{ending}"

    return write


def weights_saved(model: keras.Model, folder: Path) -> str:
    model.save_weights(folder / "model.weights.h5")
    return str(folder / "model.weights.h5")


def published(text: type, ending: str = ".h5"):
    """Return a function that writes weights as keras.applications publishes them.

    The oldest files have names as bytes and weights side by side, later ones names as text and
    weights in a group of their own.
    """

    def write(model: keras.Model, folder: Path) -> Path:
        path = folder / f"model_weights_tf_dim_ordering_tf_kernels{ending}"
        dtype = "S" if text is bytes else h5py.string_dtype()
        with h5py.File(path, "w") as file:
            titles = [layer.name for layer in model.layers]
            file.attrs["layer_names"] = np.array(titles, dtype=dtype)
            for layer in model.layers:
                group = file.create_group(layer.name)
                within = f"{layer.name}_" if text is bytes else f"{layer.name}/"
                # In the alphabet's order they would be mixed up: the list counts.
                names = [f"{within}{9 - n}:0" for n in range(len(layer.weights))]
                group.attrs["weight_names"] = np.array(names, dtype=dtype)
                for name, array in zip(names, layer.get_weights(), strict=True):
                    group[name] = array
        return path

    return write


# Sources that tell how their layers work, and those that hold weights alone.
WHOLE = {
    "model": itself,
    ".keras": saved(".keras"),
    "whole .h5": saved(".h5"),
}
ALONE = {
    ".weights.h5": weights_saved,
    "published, bytes": published(bytes),
    "published, text": published(str),
}
SOURCES = WHOLE | ALONE
every_source = pytest.mark.parametrize("write", SOURCES.values(), ids=SOURCES)
every_whole_source = pytest.mark.parametrize("write", WHOLE.values(), ids=WHOLE)
files_of_keras = pytest.mark.parametrize(
    "write",
    [itself, saved(".keras"), weights_saved, saved(".h5")],
    ids=["model", ".keras", ".weights.h5", "whole .h5"],
)
files_that_tell_depth = pytest.mark.parametrize(
    "write", [itself, saved(".keras"), weights_saved], ids=["model", ".keras", ".weights.h5"]
)
every_file_of_weights = pytest.mark.parametrize("write", ALONE.values(), ids=ALONE)


class TestSources:
    """After loading, the model computes exactly what the source computes."""

    @every_source
    def test_outputs_are_those_of_the_source(self, write, tmp_path) -> None:
        """Every kind of source gives every layer its weights, and the report says so."""
        source, model = filled(network()), filled(network(), seed=2)
        assert not np.allclose(outputs(source), outputs(model))

        report = load_weights(model, write(source, tmp_path))

        assert LoadedWeights(loaded=NAMES, skipped=[], unused=[]) == report
        np.testing.assert_array_equal(outputs(source), outputs(model))

    @pytest.mark.parametrize("write", [saved(".hdf5"), published(str, ".hdf5")])
    def test_hdf5_is_another_ending_of_h5(self, write, tmp_path) -> None:
        """Both endings are in use."""
        source, model = filled(network()), network()

        load_weights(model, write(source, tmp_path))

        assert bits(source) == bits(model)

    @files_of_keras
    def test_a_compiled_and_trained_model_is_a_source(self, write, tmp_path, rng) -> None:
        """What the optimizer keeps is no weight of a layer."""
        source, model = filled(network()), network()
        source.compile("adam", "categorical_crossentropy")
        source.train_on_batch(rng.random((2, *SHAPE)), np.eye(3)[:2])

        load_weights(model, write(source, tmp_path))

        np.testing.assert_array_equal(outputs(source), outputs(model))

    def test_the_source_is_unchanged(self) -> None:
        """Loading reads, and later changes of the model don't reach the source."""
        source, model = filled(network()), network()
        before = bits(source)

        load_weights(model, source)
        filled(model, seed=5)

        assert before == bits(source)

    @pytest.mark.parametrize(
        "build",
        [
            lambda: network(separable=True, mode="caffe"),
            lambda: network(augmentation=layers.RandomFlip("horizontal"), mode="tf"),
        ],
        ids=["separable", "augmented"],
    )
    @files_of_keras
    def test_networks(self, build, write, tmp_path) -> None:
        """Separable convolutions, operations and random layers are no obstacle."""
        source, model = filled(build()), build()

        load_weights(model, write(source, tmp_path))

        np.testing.assert_array_equal(outputs(source), outputs(model))

    def test_a_residual_network(self, tmp_path) -> None:
        """Shortcuts are no obstacle: layers go by name."""
        source, model = (resnet((32, 32, 3), 3, depth=18, stem="cifar") for _ in range(2))

        report = load_weights(model, weights_saved(filled(source), tmp_path))

        assert (41, [], []) == (len(report.loaded), *report[1:])
        np.testing.assert_array_equal(outputs(source), outputs(model))

    @every_source
    def test_weights_go_by_name_and_not_by_order(self, write, tmp_path) -> None:
        """Layers of one shape that stand in another order get their own weights."""

        def branches(names):
            inputs = keras.Input(SHAPE)
            maps = {name: layers.Conv2D(2, 3, name=name)(inputs) for name in names}
            return keras.Model(inputs, layers.Concatenate()([maps["a"], maps["b"], maps["c"]]))

        source, model = filled(branches("abc")), branches("cab")

        report = load_weights(model, write(source, tmp_path))

        assert ["a", "b", "c"] == sorted(report.loaded)
        np.testing.assert_array_equal(outputs(source), outputs(model))

    @every_source
    def test_names_that_keras_numbers(self, write, tmp_path) -> None:
        """Names such as conv2d_7 are names as all others, whatever their place in the file."""

        def numbered(first, second):
            x = inputs = keras.Input((8, 8, 3))
            x = layers.Conv2D(3, 3, name=first)(x)
            x = layers.BatchNormalization(name="batch_normalization_3")(x)
            return keras.Model(inputs, layers.Conv2D(3, 3, name=second)(x))

        source = filled(numbered("conv2d_1", "conv2d"))
        model = numbered("conv2d", "conv2d_1")

        load_weights(model, write(source, tmp_path))

        same = [
            np.array_equal(model.get_layer(name).kernel, source.get_layer(name).kernel)
            for name in ("conv2d", "conv2d_1")
        ]
        assert [True, True] == same

    @every_source
    def test_names_that_keras_has_numbered_on(self, write, tmp_path) -> None:
        """Where a second model's numbers are others, nothing goes by order or by half."""

        def numbered(start):
            names = [f"conv2d_{number}" for number in range(start, start + 3)]
            convolutions = [layers.Conv2D(3, 3, name=name) for name in names]
            return keras.Sequential([keras.Input((8, 8, 3)), *convolutions])

        source, model = filled(numbered(7)), numbered(8)

        text = rf"{RULE}\. Received: conv2d_10 without weights; conv2d_7 without a layer\. {BUILD}"
        assert_refused(model, write(source, tmp_path), text)

    @every_source
    def test_half_precision_is_a_source(self, write, tmp_path) -> None:
        """Weights of 16 bits are converted."""
        keras.config.set_dtype_policy("float16")
        try:
            source = filled(network())
        finally:
            keras.config.set_dtype_policy("float32")
        model = network()

        load_weights(model, write(source, tmp_path))

        expected = [array.astype("float32") for array in source.get_weights()]
        assert [array.tobytes() for array in expected] == bits(model)

    @files_that_tell_depth
    def test_bfloat16_is_a_source(self, write, tmp_path) -> None:
        """Keras marks bfloat16 in its files, because HDF5 has no such numbers."""
        keras.config.set_dtype_policy("bfloat16")
        try:
            source = filled(network())
        finally:
            keras.config.set_dtype_policy("float32")
        model = network()

        load_weights(model, write(source, tmp_path))

        expected = [array.astype("float32") for array in source.get_weights()]
        assert [array.tobytes() for array in expected] == bits(model)

    @every_source
    def test_normalization_works_with_what_was_loaded(self, write, tmp_path, rng) -> None:
        """A Normalization layer, as EfficientNet has, keeps a copy of its weights to work with."""

        def scaled():
            x = inputs = keras.Input(SHAPE)
            x = layers.Conv2D(2, 3, name="conv")(layers.Normalization(name="normalization")(x))
            return keras.Model(inputs, x)

        source, model = scaled(), scaled()
        source.get_layer("normalization").adapt(100 * rng.random((20, *SHAPE)))

        load_weights(model, write(source, tmp_path))

        np.testing.assert_array_equal(outputs(source), outputs(model))

    @pytest.mark.parametrize("write", [itself, saved(".keras")], ids=["model", ".keras"])
    @pytest.mark.parametrize(
        "layer",
        [
            lambda: layers.MultiHeadAttention(2, 2, name="mixing"),
            lambda: layers.ConvLSTM1D(2, 3, name="mixing"),
            lambda: layers.TimeDistributed(layers.Dense(2), name="mixing"),
        ],
        ids=["MultiHeadAttention", "ConvLSTM1D", "TimeDistributed"],
    )
    def test_layers_made_of_layers(self, layer, write, tmp_path) -> None:
        """A layer whose weights are those of layers inside it is one layer."""

        def mixed():
            x = inputs = keras.Input(SHAPE)
            x = layers.Conv2D(2, 3, name="conv")(x)
            mixing = layer()
            attends = isinstance(mixing, layers.MultiHeadAttention)
            return keras.Model(inputs, mixing(x, x) if attends else mixing(x))

        source, model = filled(mixed()), mixed()

        assert ["conv", "mixing"] == load_weights(model, write(source, tmp_path)).loaded
        np.testing.assert_array_equal(outputs(source), outputs(model))

    @pytest.mark.parametrize("write", [itself, weights_saved], ids=["model", ".weights.h5"])
    def test_a_model_that_is_a_class(self, write, tmp_path) -> None:
        """A model without a graph has layers and names too."""
        source, model = filled(own()), own()

        load_weights(model, write(source, tmp_path))

        assert bits(source) == bits(model)

    def test_a_path_may_be_text(self, tmp_path) -> None:
        """Text and a Path are one."""
        source, model = filled(network()), network()
        source.save(tmp_path / "model.keras")

        load_weights(model, str(tmp_path / "model.keras"))

        assert bits(source) == bits(model)

    def test_a_file_of_more_than_ten_weights_in_a_layer(self, tmp_path) -> None:
        """Numbered weights are taken by number: 10 comes after 9, not after 1."""

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

        load_weights(model, weights_saved(source, tmp_path))

        assert bits(source) == bits(model)


class Own(keras.Model):
    """A model without a graph."""

    def __init__(self):
        super().__init__()
        self.conv = layers.Conv2D(2, 3, name="conv")
        self.pool = layers.GlobalMaxPooling2D()
        self.dense = layers.Dense(2, name="dense")

    def call(self, x):
        return self.dense(self.pool(self.conv(x)))


def own() -> keras.Model:
    model = Own()
    model(np.zeros((1, *SHAPE)))
    return model


def excited(n_classes: int) -> keras.Model:
    """Build a network with a dense layer between convolutions, as squeeze-and-excitation has."""
    x = inputs = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, name="conv1")(x)
    gate = layers.Dense(4, name="gate")(layers.GlobalAveragePooling2D()(x))
    x = layers.Conv2D(4, 3, name="conv2")(x * layers.Reshape((1, 1, 4))(gate))
    x = layers.Dense(n_classes, name="predictions")(layers.GlobalMaxPooling2D()(x))
    return keras.Model(inputs, x)


def plain(n_classes: int) -> keras.Model:
    """Build the same without the dense layer between."""
    x = inputs = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, name="conv2")(layers.Conv2D(4, 3, name="conv1")(x))
    x = layers.Dense(n_classes, name="predictions")(layers.GlobalMaxPooling2D()(x))
    return keras.Model(inputs, x)


@pytest.mark.parametrize(
    ("model", "source"), [(network(), None), ("model.keras", network()), (network(), [1])]
)
def test_what_is_no_model_or_source_is_refused(model, source) -> None:
    """Swapped arguments too."""
    told = rf"Received: model={type(model).__name__}, source={type(source).__name__}\.$"
    with pytest.raises(TypeError, match=rf"^`model` must be a Keras model, and `source` .* {told}"):
        load_weights(model, source)


class TestHead:
    """skip_head leaves out what comes after the feature maps, on both sides."""

    @every_source
    def test_a_head_of_another_size(self, write, tmp_path) -> None:
        """The body is loaded, and the head stays as it was."""
        source, model = filled(network(4)), filled(network(3), seed=2)
        head = [model.get_layer(name).get_weights() for name in HEAD]

        report = load_weights(model, write(source, tmp_path), skip_head=True)

        assert LoadedWeights(loaded=BODY, skipped=HEAD, unused=HEAD) == report
        kept = [model.get_layer(name).get_weights() for name in HEAD]
        np.testing.assert_equal(head, kept)
        maps = [keras.Model(x.inputs, x.get_layer("block2_pool").output) for x in (source, model)]
        np.testing.assert_array_equal(outputs(maps[0]), outputs(maps[1]))

    def test_a_head_of_the_same_size_is_skipped_too(self) -> None:
        """That its weights would fit doesn't matter."""
        source, model = filled(network()), filled(network(), seed=2)
        head = model.get_layer("predictions").get_weights()

        load_weights(model, source, skip_head=True)

        np.testing.assert_equal(head, model.get_layer("predictions").get_weights())

    @every_source
    def test_a_source_without_a_head(self, write, tmp_path) -> None:
        """Only the model's head is named then."""
        source, model = filled(network(include_top=False)), network()

        report = load_weights(model, write(source, tmp_path), skip_head=True)

        assert LoadedWeights(loaded=BODY, skipped=HEAD, unused=[]) == report

    @every_source
    def test_a_model_without_a_head(self, write, tmp_path) -> None:
        """Only the source's head is named then, and the maps are the source's."""
        source, model = filled(network()), network(include_top=False)

        report = load_weights(model, write(source, tmp_path), skip_head=True)

        assert LoadedWeights(loaded=BODY, skipped=[], unused=HEAD) == report
        maps = keras.Model(source.inputs, source.get_layer("block2_pool").output)
        np.testing.assert_array_equal(outputs(maps), outputs(model))

    def test_a_head_of_other_names(self) -> None:
        """Heads needn't have anything in common."""
        source, model = filled(network(dense_units=0)), network(dense_units=0)
        other = keras.Model(source.inputs, layers.Dense(9, name="other")(source.layers[-2].output))

        report = load_weights(model, other, skip_head=True)

        assert LoadedWeights(BODY, ["predictions"], ["other"]) == report

    def test_a_source_without_a_head_needs_it_said(self) -> None:
        """Without skip_head the head finds no weights, and the error says what to do."""
        source, model = filled(network(include_top=False)), network()

        assert_refused(
            model, source, rf"{RULE}\. Received: fc1, predictions without weights\. {SKIP}"
        )

    def test_a_model_without_a_head_needs_it_said(self) -> None:
        """Without skip_head the source's head finds no layer, and the error says what to do."""
        source, model = filled(network()), network(include_top=False)

        assert_refused(
            model, source, rf"{RULE}\. Received: fc1, predictions without a layer\. {SKIP}"
        )

    def test_batch_norm_is_no_head(self) -> None:
        """A body with BatchNorm doesn't go into one without, and skip_head is no way around."""
        source, model = filled(network()), network(batch_norm=False)

        text = rf"{RULE}\. Received: block1_conv1_bn, block2_conv1_bn without a layer\. {BUILD}"
        assert_refused(model, source, text, skip_head=True)

    def test_batch_norm_is_no_head_in_the_advice(self) -> None:
        """Where BatchNorm is too much, the advice isn't to skip the head."""
        source, model = filled(network()), network(batch_norm=False)

        assert_refused(model, source, rf"{RULE}.*_bn without a layer\. {BUILD}")

    def test_a_missing_body_is_not_skipped(self) -> None:
        """skip_head excuses no layer in front of the head."""
        source, model = filled(network(filters=(4,))), network()

        text = rf"{RULE}\. Received: block2_conv1, block2_conv1_bn without weights\. {BUILD}"
        assert_refused(model, source, text, skip_head=True)

    def test_a_body_too_many_is_not_skipped(self) -> None:
        """skip_head excuses no convolution of the source."""
        source, model = filled(network(filters=(4, 8, 16))), network()

        text = rf"{RULE}\. Received: block3_conv1.* without a layer\. {BUILD}"
        assert_refused(model, source, text, skip_head=True)

    def test_vectors_inside_the_body_are_no_head(self) -> None:
        """Dense layers between convolutions, as in squeeze-and-excitation, belong to the body."""
        source, model = filled(excited(4)), excited(3)

        report = load_weights(model, source, skip_head=True)

        assert ["predictions"] == report.skipped

    def test_nothing_but_a_head(self) -> None:
        """A model that is all head would load nothing, which is an error as everywhere."""

        def dense(n_classes):
            return keras.Sequential(
                [keras.Input((4,)), layers.Dense(3, name="a"), layers.Dense(n_classes, name="b")]
            )

        text = rf"{RULE}, but no name fits\. Received: nothing but a head\. "
        assert_refused(dense(3), filled(dense(4)), text, skip_head=True)

    @pytest.mark.parametrize("write", [itself, saved(".keras")], ids=["model", ".keras"])
    def test_batch_norm_in_the_head(self, write, tmp_path) -> None:
        """BatchNorm between dense layers is part of a head; where the graph is known, it tells."""
        body = network(include_top=False)
        x = layers.GlobalAveragePooling2D()(body.output)
        x = layers.BatchNormalization(name="head_bn")(layers.Dense(5, name="head_fc")(x))
        source = filled(keras.Model(body.inputs, layers.Dense(7, name="head")(x)))
        model = network()

        report = load_weights(model, write(source, tmp_path), skip_head=True)

        assert LoadedWeights(BODY, HEAD, ["head_fc", "head_bn", "head"]) == report

    @pytest.mark.parametrize("write", [itself, saved(".keras")], ids=["model", ".keras"])
    def test_dense_layers_in_the_body_of_the_source_are_no_head(self, write, tmp_path) -> None:
        """Weights of the source's body find their layer with skip_head too, or it is refused."""
        source, model = filled(excited(4)), plain(3)

        text = rf"{RULE}\. Received: gate without a layer\. {BUILD}"
        assert_refused(model, write(source, tmp_path), text, skip_head=True)

    @pytest.mark.parametrize(
        ("count", "told"), [(3, "conv0, conv1, conv2"), (4, "conv0, conv1, conv2 and 1 more")]
    )
    def test_three_names_are_told(self, count, told) -> None:
        """And how many more there are."""
        model = keras.Sequential([keras.Input(SHAPE)])
        for number in range(count):
            model.add(layers.Conv2D(2, 3, name=f"conv{number}"))
        source = filled(keras.Sequential([keras.Input(SHAPE), layers.Conv2D(4, 3, name="other")]))

        assert_refused(model, source, rf"Received: {told} without weights; other without a layer")

    @every_file_of_weights
    def test_auxiliary_heads(self, write, tmp_path) -> None:
        """GoogLeNet's auxiliary heads are heads, also in a file that tells names alone."""
        x = inputs = keras.Input(SHAPE)
        x = layers.Conv2D(4, 3, name="conv")(x)
        aside = layers.GlobalMaxPooling2D()(layers.Conv2D(2, 1, name="aux1_conv")(x))
        main = layers.Dense(2, name="predictions")(layers.GlobalMaxPooling2D()(x))
        source = filled(keras.Model(inputs, [main, aside]))
        model = keras.Model(inputs, layers.Conv2D(4, 3, name="conv")(inputs))

        report = load_weights(model, write(source, tmp_path), skip_head=True)

        assert {"aux1_conv", "predictions"} == set(report.unused)

    @pytest.mark.parametrize("write", [itself, weights_saved], ids=["model", ".weights.h5"])
    def test_a_source_that_is_a_class(self, write, tmp_path) -> None:
        """Dense layers of a source without a graph may be its head."""
        source = filled(own())
        model = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(2, 3, name="conv")])

        report = load_weights(model, write(source, tmp_path), skip_head=True)

        assert LoadedWeights(loaded=["conv"], skipped=[], unused=["dense"]) == report

    def test_a_model_that_is_a_class(self) -> None:
        """A model without a graph has no feature maps that could be seen, and the error says so."""
        text = (
            r"^`skip_head=True` needs a model whose graph tells where the head begins\. "
            r"Received: Own, a class of its own\.$"
        )
        assert_refused(own(), filled(own()), text, skip_head=True)


class TestUnchanged:
    """What doesn't fit is an error that names it, and the model is as before."""

    def test_no_name_fits(self) -> None:
        """The error says that nothing at all would have been loaded."""
        source = filled(keras.Sequential([keras.Input(SHAPE), layers.Conv2D(4, 3, name="conv2d")]))
        text = (
            rf"{RULE}, but no name fits\. Received: block1_conv1, block1_conv1_bn, block2_conv1 "
            rf"and 3 more without weights; conv2d without a layer\. {BUILD}"
        )

        assert_refused(network(), source, text)

    def test_a_model_that_is_a_class(self) -> None:
        """What doesn't fit a model without a graph is the same error."""
        text = rf"{RULE}, but no name fits\. Received: conv, dense without weights; .* {BUILD}"

        assert_refused(own(), filled(network()), text)

    @every_source
    def test_layers_without_weights(self, write, tmp_path) -> None:
        """A source of fewer layers is refused, and the layers are named."""
        source, model = filled(network(batch_norm=False)), filled(network(), seed=2)

        text = rf"{RULE}\. Received: block1_conv1_bn, block2_conv1_bn without weights\. {BUILD}"
        assert_refused(model, write(source, tmp_path), text)

    @every_source
    def test_weights_without_a_layer(self, write, tmp_path) -> None:
        """A source of more layers is refused, and the layers are named."""
        source, model = filled(network(filters=(4, 8, 16))), filled(network(), seed=2)

        text = (
            rf"{RULE}\. Received: block3_conv1(_bn)?, block3_conv1(_bn)? without a layer\. {BUILD}"
        )
        assert_refused(model, write(source, tmp_path), text)

    @every_source
    def test_another_shape_in_the_last_layer(self, write, tmp_path) -> None:
        """Where only the head differs, no other layer is loaded either."""
        source, model = filled(network(4)), filled(network(3), seed=2)
        text = (
            r"^The weights of 'predictions' must have the shapes \[\(5, 3\), \(3,\)\]\. "
            r"Received: \[\(5, 4\), \(4,\)\]\. "
            rf"{SKIP}"
        )

        assert_refused(model, write(source, tmp_path), text)

    @every_source
    def test_another_number_of_weights(self, write, tmp_path) -> None:
        """A layer with a bias is no layer without."""

        def conv(use_bias):
            return keras.Sequential(
                [keras.Input(SHAPE), layers.Conv2D(2, 3, use_bias=use_bias, name="conv")]
            )

        text = (
            r"^The weights of 'conv' must have the shapes \[\(3, 3, 3, 2\)\]\. "
            rf"Received: \[\(3, 3, 3, 2\), \(2,\)\]\. {BUILD}"
        )
        assert_refused(conv(use_bias=False), write(filled(conv(use_bias=True)), tmp_path), text)

    def test_transposed_kernels_are_refused(self, tmp_path) -> None:
        """The first Keras wrote kernels in Theano's order too: other shapes."""
        source = filled(network(include_top=False, batch_norm=False))
        path = published(bytes)(source, tmp_path)
        with h5py.File(path, "r+") as file:
            group = file["block1_conv1"]
            name = group.attrs["weight_names"][0].decode()
            kernel = group[name][()]
            del group[name]
            group[name] = kernel.transpose(3, 2, 0, 1)

        text = r"^The weights of 'block1_conv1' must have .*Received: \[\(4, 3, 3, 3\), \(4,\)\]"
        assert_refused(network(include_top=False, batch_norm=False), path, text)


def later_strides(layer: keras.Layer) -> keras.Layer:
    """Copy a layer of ResNet's first version into the later one, with the stride in the 3x3."""
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
    """Settings that change what the same weights compute must agree where the source tells them."""

    @every_whole_source
    def test_the_strides_of_another_resnet(self, write, tmp_path) -> None:
        """Weights of ResNet's first version are refused by the later one."""
        source = filled(block())
        model = keras.models.clone_model(block(), clone_function=later_strides)
        text = (
            r"^The weights of 'conv3_block1_1_conv' must come from a layer with strides=\(1, 1\): "
            r"with another, the same weights compute something else\. "
            rf"Received: [\[(]2, 2[\])]\. {BUILD}"
        )

        assert_refused(model, write(source, tmp_path), text)

    @every_file_of_weights
    def test_a_file_of_weights_tells_no_strides(self, write, tmp_path) -> None:
        """What a file doesn't tell can't be compared."""
        source = filled(block())
        model = keras.models.clone_model(block(), clone_function=later_strides)

        load_weights(model, write(source, tmp_path))

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
        self, write, tmp_path, setting, ours, theirs, received
    ) -> None:
        """Strides, dilation and padding are compared, and named with both values."""
        model, source = (
            filled(one_layer(layers.Conv2D(2, 3, name="conv", **{setting: value})), seed)
            for seed, value in enumerate((ours, theirs))
        )
        value = model.get_layer("conv").get_config()[setting]
        text = (
            rf"^The weights of 'conv' must come from a layer with {setting}="
            rf"{re.escape(repr(value))}: with another, .*Received: {received}\. {BUILD}"
        )

        assert_refused(model, write(source, tmp_path), text)

    @every_whole_source
    def test_groups(self, write, tmp_path) -> None:
        """Two groups of two channels have kernels of the shape of one group of two."""
        source = filled(one_layer(layers.Conv2D(2, 3, name="conv"), channels=2))
        model = one_layer(layers.Conv2D(2, 3, groups=2, name="conv"))

        assert_refused(
            model, write(source, tmp_path), r"^The weights of 'conv' .*groups=2:.*Received: 1\."
        )

    @every_whole_source
    @pytest.mark.parametrize(
        ("ours", "theirs"), [(1e-3, 1.001e-5), (1.001e-5, 1e-3), (1e-5, 2e-5), (2e-5, 1e-5)]
    )
    def test_another_epsilon(self, write, tmp_path, ours, theirs) -> None:
        """BatchNorm's epsilon is compared, and named with both values."""
        model, source = (
            filled(one_layer(layers.BatchNormalization(epsilon=epsilon, name="bn")), seed)
            for seed, epsilon in enumerate((ours, theirs))
        )
        text = (
            rf"^The weights of 'bn' must come from a layer with epsilon={ours}: with another, the "
            rf"same weights compute something else\. Received: {theirs}\. {BUILD}"
        )

        assert_refused(model, write(source, tmp_path), text)

    @every_whole_source
    @pytest.mark.parametrize(("ours", "theirs"), [(1e-5, 1.001e-5), (1.001e-5, 1e-5)])
    def test_an_epsilon_as_good_as_the_same(self, write, tmp_path, ours, theirs) -> None:
        """The 1e-5 of torchvision and the 1.001e-5 of keras.applications are one."""
        model, source = (
            filled(one_layer(layers.BatchNormalization(epsilon=epsilon, name="bn")), seed)
            for seed, epsilon in enumerate((ours, theirs))
        )

        load_weights(model, write(source, tmp_path))

        assert bits(source) == bits(model)

    def test_settings_of_a_skipped_head_do_not_matter(self) -> None:
        """What isn't loaded isn't compared."""
        source, model = filled(network()), network(classifier_activation=None)

        assert HEAD == load_weights(model, source, skip_head=True).skipped

    def test_logits_take_the_weights_of_a_softmax(self) -> None:
        """The last activation and dropout are the user's own affair."""
        source, model = filled(network()), network(classifier_activation=None, dropout=0)

        load_weights(model, source)

        assert bits(source) == bits(model)


class TestModelsInside:
    """A model inside a model is looked into."""

    @staticmethod
    def nested(n_classes: int = 3, times: int = 1) -> keras.Model:
        """Put a head on a backbone, or on several that are built alike."""
        inputs = keras.Input(SHAPE)
        maps = [
            network(include_top=False, name=f"backbone{number}")(inputs) for number in range(times)
        ]
        x = layers.GlobalAveragePooling2D()(maps[0] if times == 1 else layers.Add()(maps))
        return keras.Model(inputs, layers.Dense(n_classes, name="predictions")(x))

    @every_source
    def test_a_backbone_inside(self, write, tmp_path) -> None:
        """The weights of a backbone go into a model that has it inside."""
        source, model = filled(network(include_top=False)), self.nested()

        report = load_weights(model, write(source, tmp_path), skip_head=True)

        assert LoadedWeights(BODY, ["predictions"], []) == report
        assert bits(source) == bits(model.layers[1])

    @files_of_keras
    def test_a_source_with_a_backbone_inside(self, write, tmp_path) -> None:
        """A model of the same form takes its own file."""
        source, model = filled(self.nested()), self.nested()

        load_weights(model, write(source, tmp_path))

        np.testing.assert_array_equal(outputs(source), outputs(model))

    @files_of_keras
    def test_one_layer_inside(self, write, tmp_path) -> None:
        """A model inside of a single layer with weights is looked into as any other."""

        def nested():
            inputs = keras.Input(SHAPE)
            inner = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(2, 3, name="conv")])
            return keras.Model(inputs, inner(inputs))

        source, model = filled(nested()), nested()

        assert ["conv"] == load_weights(model, write(source, tmp_path)).loaded
        assert bits(source) == bits(model)

    @files_that_tell_depth
    def test_from_inside_into_a_flat_model(self, write, tmp_path) -> None:
        """How deep a layer stands makes no difference."""
        source, model = filled(self.nested(4)), network(include_top=False)

        report = load_weights(model, write(source, tmp_path), skip_head=True)

        assert LoadedWeights(BODY, [], ["predictions"]) == report
        assert bits(source.layers[1]) == bits(model)

    @files_that_tell_depth
    def test_a_wrapped_model(self, write, tmp_path) -> None:
        """A model that TimeDistributed wraps is a model inside."""

        def video():
            inputs = keras.Input((2, *SHAPE))
            backbone = network(include_top=False, name="backbone")
            return keras.Model(inputs, layers.TimeDistributed(backbone)(inputs))

        source, model = filled(video()), video()

        assert BODY == load_weights(model, write(source, tmp_path)).loaded
        assert bits(source) == bits(model)

    def test_two_layers_of_one_name(self) -> None:
        """In the model itself nothing tells which of them is meant."""
        text = (
            r"^Layers must have names of their own for their weights to be found\. Received: two "
            r"layers named 'block1_conv1'\. Take one of the models inside after the other\.$"
        )

        assert_refused(
            self.nested(times=2), filled(network(include_top=False)), text, skip_head=True
        )

    @files_that_tell_depth
    def test_two_layers_of_one_name_in_the_source(self, write, tmp_path) -> None:
        """In the source neither may win."""
        source = filled(self.nested(times=2))

        text = r"Received: two layers named 'block1_conv1(_bn)?'\."
        assert_refused(network(include_top=False), write(source, tmp_path), text, skip_head=True)

    def test_one_after_the_other(self) -> None:
        """As the error says, the models inside can be taken one by one."""
        source, model = filled(network(include_top=False)), self.nested(times=2)

        load_weights(model.get_layer("backbone1"), source)

        assert bits(source) == bits(model.get_layer("backbone1"))


def halved(data: bytes) -> bytes:
    return data[: len(data) // 2]


def overwritten(data: bytes) -> bytes:
    """Turn bits in the middle, where most of a file's numbers are."""
    middle = len(data) // 2
    turned = bytes(255 ^ byte for byte in data[middle - 200 : middle + 200])
    return data[: middle - 200] + turned + data[middle + 200 :]


def pointer(_: bytes) -> bytes:
    """Return what stands in the place of a file that Git LFS hasn't fetched."""
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 52147035\n"


def emptied(_: bytes) -> bytes:
    return b""


def renamed_zip(_: bytes) -> bytes:
    """Return an archive of something else."""
    return b"PK\x05\x06" + 18 * b"\0"


DAMAGES = [halved, pointer, emptied, renamed_zip]
WRITERS = {".keras": saved(".keras"), ".h5": saved(".h5"), ".weights.h5": weights_saved}
PACKAGES = {".pth": "torch", ".pt": "torch", ".safetensors": "safetensors", ".npz": "numpy"}
STATE_KINDS = list(PACKAGES)


def write_state(state: dict[str, np.ndarray], path: Path) -> Path:
    """Write a state dict as PyTorch, safetensors or NumPy does."""
    package = pytest.importorskip(PACKAGES[path.suffix])
    if package.__name__ == "torch":
        package.save({name: package.from_numpy(array) for name, array in state.items()}, path)
    elif package.__name__ == "safetensors":
        importlib.import_module("safetensors.numpy").save_file(state, path)
    else:
        np.savez(path, **state)
    return path


class TestFiles:
    """A file that can't be read is an error that names it."""

    @pytest.mark.parametrize("ending", ["", ".txt", ".H5", ".pb", ".ckpt.index", ".zip"])
    def test_an_unknown_kind(self, tmp_path, ending) -> None:
        """The error lists the kinds that there are."""
        path = tmp_path / f"model{ending}"
        path.touch()
        text = (
            r"^`source` must be a model or a file that ends in \.keras, \.h5, \.hdf5, \.pth, \.pt, "
            rf"\.safetensors or \.npz\. Received: '{re.escape(str(path))}'\.$"
        )

        assert_refused(network(), path, text)

    @pytest.mark.parametrize("ending", [*WRITERS, ".hdf5", *PACKAGES])
    def test_a_missing_file(self, tmp_path, ending) -> None:
        """It isn't taken for a damaged one."""
        path = tmp_path / f"model{ending}"
        text = rf"^`source` must be a file that exists\. Received: '{re.escape(str(path))}'\.$"

        with pytest.raises(FileNotFoundError, match=text):
            load_weights(network(), path)

    def test_a_folder(self, tmp_path) -> None:
        """A folder is no file, whatever its name."""
        (tmp_path / "model.keras").mkdir()

        with pytest.raises(FileNotFoundError, match="`source` must be a file that exists"):
            load_weights(network(), tmp_path / "model.keras")

    @pytest.mark.parametrize("damage", [*DAMAGES, overwritten])
    @pytest.mark.parametrize("ending", WRITERS)
    def test_a_damaged_file_of_keras(self, tmp_path, ending, damage) -> None:
        """Whatever the reader stumbles over, the error is a ValueError that names the file."""
        path = Path(WRITERS[ending](filled(network()), tmp_path))
        path.write_bytes(damage(path.read_bytes()))

        text = rf"^Could not read weights from '{re.escape(str(path))}': \S"
        assert_refused(network(), path, text)

    @pytest.mark.parametrize(
        ("ending", "damage"),
        [
            *itertools.product([".pth", ".safetensors", ".npz"], DAMAGES),
            (".npz", overwritten),  # the others have no checksums
        ],
    )
    def test_a_damaged_state_dict(self, tmp_path, rng, ending, damage) -> None:
        """Whatever the reader stumbles over, the error is a ValueError that names the file."""
        state = {"conv1.conv.weight": rng.random((64, 3, 7, 7), dtype="float32")}
        path = write_state(state, tmp_path / f"state{ending}")
        path.write_bytes(damage(path.read_bytes()))

        text = rf"^Could not read weights from '{re.escape(str(path))}': \S"
        assert_refused(network(), path, text)
        gc.collect()  # a file that is left open is warned of here, not in some other test

    def test_an_archive_without_weights(self, tmp_path) -> None:
        """A .keras file must hold a model."""
        path = tmp_path / "model.keras"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "{")

        assert_refused(network(), path, r"^Could not read weights from '.*model\.keras': \S")

    @pytest.mark.parametrize("content", [b"", b"no archive", None])
    def test_a_keras_file_that_is_none(self, tmp_path, content) -> None:
        """The error speaks of the file, which is there, and not of one that isn't found."""
        path = tmp_path / "model.keras"
        if content is None:
            zipfile.ZipFile(path, "w").close()
        else:
            path.write_bytes(content)

        assert_refused(network(), path, r"model\.keras': it is damaged, or no \.keras file\.$")

    def test_an_array_that_is_called_npz(self, tmp_path) -> None:
        """One array is no state dict."""
        np.save(tmp_path / "array.npy", np.zeros(3))
        path = (tmp_path / "array.npy").rename(tmp_path / "state.npz")

        assert_refused(network(), path, r"state\.npz': it is damaged, or no \.npz file\.$")

    @pytest.mark.parametrize(
        "content",
        [
            lambda torch: {"state_dict": {"fc.weight": torch.zeros(2, 2)}, "epoch": 3},
            lambda torch: [torch.zeros(2)],
            lambda torch: torch.zeros(2),
            lambda torch: torch.nn.Linear(2, 2),
        ],
        ids=["checkpoint", "list", "tensor", "module"],
    )
    def test_something_else_of_pytorch(self, tmp_path, content) -> None:
        """A checkpoint with more than the state dict, or a whole module, is named as a file too."""
        torch = pytest.importorskip("torch")
        torch.save(content(torch), tmp_path / "model.pth")

        is_module = isinstance(content(torch), torch.nn.Module)
        told = "is damaged, or holds more than weights" if is_module else "holds something else"
        advice = r"Save `model.state_dict\(\)`.$"
        text = rf"^Could not read weights from '.*model\.pth': it {told}.*\. {advice}"
        assert_refused(network(), tmp_path / "model.pth", text)

    def test_a_file_of_no_weights(self, tmp_path) -> None:
        """An HDF5 file of something else is told from weights of another network."""
        with h5py.File(tmp_path / "data.h5", "w") as file:
            file["data"] = np.zeros(3)

        assert_refused(
            network(), tmp_path / "data.h5", r"data\.h5': it holds no weights that belong to "
        )

    @pytest.mark.parametrize(
        ("ending", "package"),
        [(".pth", "torch"), (".pt", "torch"), (".safetensors", "safetensors")],
    )
    def test_a_package_that_is_not_installed(self, tmp_path, monkeypatch, ending, package) -> None:
        """The error names the package, and the way without it."""
        path = tmp_path / f"state{ending}"
        path.touch()
        model = network()
        before = bits(model)
        text = (
            rf"^Reading 'state{ending}' needs the package {package}\. Install it, or write the "
            r"state dict with `numpy\.savez` where it is installed\.$"
        )

        def missing(name):
            raise ModuleNotFoundError(name)

        monkeypatch.setattr(importlib, "import_module", missing)
        with pytest.raises(ImportError, match=text):
            load_weights(model, path)
        assert before == bits(model)


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

    @pytest.mark.parametrize("ending", STATE_KINDS)
    def test_every_kind_of_file(self, tmp_path, torchvision, torchvision_state, ending) -> None:
        """Kernels are transposed to Keras's order, and BatchNorm's vectors stand in Keras's."""
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
    def test_another_precision(self, tmp_path, torchvision, torchvision_state, dtype) -> None:
        """The weights of a network halved or doubled in precision are converted."""
        state = {name: array.astype(dtype) for name, array in torchvision_state.items()}

        load_weights(torchvision, write_state(state, tmp_path / "state.npz"))

        expected = state["fc.weight"].T.astype("float32")
        kernel, _ = torchvision.get_layer("predictions").get_weights()
        np.testing.assert_array_equal(expected, kernel)

    def test_another_number_of_classes(self, tmp_path, torchvision_state) -> None:
        """skip_head serves here too."""
        path = write_state(torchvision_state, tmp_path / "state.npz")
        model = googlenet((64, 64, 3), 3, variant="torchvision")
        text = (
            r"^The weights of 'predictions' must have the shapes \[\(1024, 3\), \(3,\)\]\. "
            r"Received: \[\(1024, 10\), \(10,\)\]\. `load_weights"
        )

        assert_refused(model, path, text)
        report = load_weights(model, path, skip_head=True)
        assert (114, ["predictions"], ["predictions"]) == (len(report.loaded), *report[1:])

    def test_without_a_head(self, tmp_path, torchvision_state) -> None:
        """A state dict whose fc was taken off fits a model without a head."""
        state = {name: array for name, array in torchvision_state.items() if "fc" not in name}
        model = googlenet((64, 64, 3), variant="torchvision", include_top=False)

        report = load_weights(model, write_state(state, tmp_path / "state.npz"))

        assert (114, [], []) == (len(report.loaded), *report[1:])

    @pytest.mark.parametrize("variant", ["paper", "batch_norm"])
    def test_other_variants_are_refused(self, tmp_path, torchvision_state, variant) -> None:
        """Its weights don't fit the paper's 5x5 kernels."""
        path = write_state(torchvision_state, tmp_path / "state.npz")
        texts = {
            "paper": r"conv1_7x7_s2_bn.* without a layer\. Build the model that",
            "batch_norm": r"^The weights of 'inception_3a_5x5' must have the shapes "
            r"\[\(5, 5, 16, 32\)\]\. Received: \[\(3, 3, 16, 32\)\]",
        }

        assert_refused(googlenet((64, 64, 3), variant=variant), path, texts[variant])

    def test_another_epsilon(self, tmp_path, monkeypatch, torchvision, torchvision_state) -> None:
        """That torchvision's googlenet has 1e-3 is known, though no file tells it."""
        path = write_state(torchvision_state, tmp_path / "state.npz")
        text = (
            r"^The weights of 'inception_5b_5x5_bn' must come from a layer with epsilon=1e-05: "
            rf"with another, .*Received: 0\.001\. {BUILD}"
        )

        monkeypatch.setattr(torchvision.get_layer("inception_5b_5x5_bn"), "epsilon", 1e-5)
        assert_refused(torchvision, path, text)

    @pytest.mark.parametrize("ending", STATE_KINDS)
    def test_a_resnet(self, tmp_path, rng, ending) -> None:
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
            rf"^Could not read weights from '.*resnet50{ending}': of PyTorch's state dicts only "
            r"that of torchvision's googlenet can be converted\. Received: one with "
            r"\['bn1.weight', 'conv1.weight', 'layer1.0.conv1.weight'\]\. torchvision's ResNets "
            r"have other strides or another padding; `weights='imagenet'` loads those of "
            r"keras\.applications\.$"
        )

        assert_refused(network(), path, text)

    def test_another_network(self, tmp_path) -> None:
        """Of any other state dict some names are given, and nothing is said about ResNet."""
        state = {f"features.{number}.weight": np.zeros(3) for number in range(5)}
        text = (
            r"can be converted\. Received: one with \['features\.0\.weight', "
            r"'features\.1\.weight', 'features\.2\.weight'\]\.$"
        )

        assert_refused(network(), write_state(state, tmp_path / "state.npz"), text)

    def test_more_than_googlenet(self, tmp_path, torchvision, torchvision_state) -> None:
        """A network with a part of its own is another network."""
        state = torchvision_state | {"attention.weight": np.zeros(3)}
        path = write_state(state, tmp_path / "state.npz")

        assert_refused(torchvision, path, r"Received: one with \['attention\.weight'\]\.$")

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
        self, tmp_path, torchvision, torchvision_state, missing
    ) -> None:
        """A googlenet with a tensor missing is refused, and the tensor is named."""
        state = {name: array for name, array in torchvision_state.items() if name != missing}
        path = write_state(state, tmp_path / "state.npz")

        assert_refused(
            torchvision, path, rf"^Could not read weights from '.*'.*{re.escape(missing)}"
        )


MOBILENET = WEIGHTS / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
SQUEEZENET = WEIGHTS / "squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5"
MOBILENET_V2 = {"alpha": 0.35, "include_top": False, "input_shape": (96, 96, 3)}
needs_files = pytest.mark.skipif(
    not WEIGHTS.is_dir(), reason="CNNKIT_DATA names no folder that has weights/"
)


def old_file(path: Path, groups: dict[str, dict[str, np.ndarray]]) -> Path:
    """Write weights by the names of layers and their own, without any configuration."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array(list(groups), dtype="S")
        for name, weights in groups.items():
            file.create_group(name).attrs["weight_names"] = np.array(list(weights), dtype="S")
            for weight, array in weights.items():
                file[name][weight] = array
    return path


@pytest.mark.parametrize("together", [True, False], ids=["in one group", "in two"])
def test_layers_of_a_model_inside_an_old_file(tmp_path, rng, together) -> None:
    """Its group holds the weights of several layers, which their names tell; one alone is itself.

    The second layer is called otherwise by its group, which counts for a layer that stands alone.
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


def test_a_loss_of_somebody_does_not_matter(tmp_path) -> None:
    """A model's weights are read without what it was compiled with, which may be unknown here."""

    def own_loss(targets, predictions):
        return keras.ops.mean((targets - predictions) ** 2)

    source = filled(network())
    source.compile("adam", own_loss)
    source.save(tmp_path / "model.keras")

    assert bits(source) == bits(load_into(network(), tmp_path / "model.keras"))


def load_into(model: keras.Model, source: object) -> keras.Model:
    load_weights(model, source)
    return model


def test_layers_that_keras_1_called_by_a_path_are_layers(tmp_path) -> None:
    """SqueezeNet's file has `fire2/squeeze1x1`, with weights called so and otherwise."""
    zeros = np.zeros(3)
    path = old_file(
        tmp_path / "squeezenet.h5",
        {
            name: {f"uniform_{name[-9:-3]}": zeros, f"{name}_b": zeros}
            for name in ("fire2/squeeze1x1", "fire2/expand1x1")
        },
    )

    assert_refused(network(), path, rf"{RULE}, but no name fits\. Received: .* {BUILD}")


@needs_files
class TestPublishedFiles:
    """Files of keras.applications as they are published."""

    def test_mobilenet(self) -> None:
        """The result is exactly that of Keras's own loading."""
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

    def test_mobilenet_of_another_width(self) -> None:
        """A file for alpha 0.35 doesn't fit alpha 0.5."""
        model = keras.applications.MobileNetV2(weights=None, **MOBILENET_V2 | {"alpha": 0.5})

        assert_refused(
            model, MOBILENET, r"^The weights of '\w+' must have the shapes .* Received: "
        )

    def test_another_network(self) -> None:
        """A file of SqueezeNet has no layer of MobileNet's."""
        model = keras.applications.MobileNetV2(weights=None, **MOBILENET_V2)

        assert_refused(model, SQUEEZENET, rf"{RULE}, but no name fits\. Received: .* {BUILD}")
