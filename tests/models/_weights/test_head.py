"""`skip_head=True` leaves out the layers after the feature maps, in the model and in the source."""

from weight_sources import SHAPE, BODY, HEAD, BUILD, SKIP, RULE, every_source, every_file_of_weights


import keras
import numpy as np
import pytest
from keras import layers

from cnnkit.models import LoadedWeights, load_weights


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


class TestHead:
    """`skip_head=True` leaves out the layers after the feature maps, on both sides."""

    @every_source
    def test_a_head_of_another_size(self, write, network, filled, outputs) -> None:
        """The body is loaded, and the head stays as it was."""
        source, model = filled(network(4)), filled(network(3), seed=2)
        head = [model.get_layer(name).get_weights() for name in HEAD]

        report = load_weights(model, write(source), skip_head=True)

        assert LoadedWeights(loaded=BODY, skipped=HEAD, unused=HEAD) == report
        kept = [model.get_layer(name).get_weights() for name in HEAD]
        np.testing.assert_equal(head, kept)
        maps = [keras.Model(x.input, x.get_layer("block2_pool").output) for x in (source, model)]
        np.testing.assert_array_equal(outputs(maps[0]), outputs(maps[1]))

    def test_a_head_of_the_same_size_is_skipped_too(self, network, filled) -> None:
        """It makes no difference that its weights would fit."""
        source, model = filled(network()), filled(network(), seed=2)
        head = model.get_layer("predictions").get_weights()

        load_weights(model, source, skip_head=True)

        np.testing.assert_equal(head, model.get_layer("predictions").get_weights())

    @every_source
    def test_a_source_without_a_head(self, write, network, filled) -> None:
        """The report lists only the head of the model."""
        source, model = filled(network(include_top=False)), network()

        report = load_weights(model, write(source), skip_head=True)

        assert LoadedWeights(loaded=BODY, skipped=HEAD, unused=[]) == report

    @every_source
    def test_a_model_without_a_head(self, write, network, filled, outputs) -> None:
        """The report lists only the head of the source, and the feature maps are the source's."""
        source, model = filled(network()), network(include_top=False)

        report = load_weights(model, write(source), skip_head=True)

        assert LoadedWeights(loaded=BODY, skipped=[], unused=HEAD) == report
        maps = keras.Model(source.input, source.get_layer("block2_pool").output)
        np.testing.assert_array_equal(outputs(maps), outputs(model))

    def test_a_head_of_other_names(self, network, filled) -> None:
        """Heads needn't have anything in common."""
        source, model = filled(network(dense_units=0)), network(dense_units=0)
        other = keras.Model(source.input, layers.Dense(9, name="other")(source.layers[-2].output))

        report = load_weights(model, other, skip_head=True)

        assert LoadedWeights(BODY, ["predictions"], ["other"]) == report

    def test_a_source_without_a_head_needs_it_said(self, network, filled, assert_refused) -> None:
        """Without `skip_head` the head gets no weights, and the error says what to do."""
        source, model = filled(network(include_top=False)), network()

        assert_refused(
            model, source, rf"{RULE}\. Received: fc1, predictions without weights\. {SKIP}"
        )

    def test_a_model_without_a_head_needs_it_said(self, network, filled, assert_refused) -> None:
        """Without `skip_head` the source's head fits no layer, and the error says what to do."""
        source, model = filled(network()), network(include_top=False)

        assert_refused(
            model, source, rf"{RULE}\. Received: fc1, predictions without a layer\. {SKIP}"
        )

    def test_batch_norm_is_no_head(self, network, filled, assert_refused) -> None:
        """A body with BatchNorm does not fit one without it, even with `skip_head`."""
        source, model = filled(network()), network(batch_norm=False)

        text = rf"{RULE}\. Received: block1_conv1_bn, block2_conv1_bn without a layer\. {BUILD}"
        assert_refused(model, source, text, skip_head=True)

    def test_batch_norm_is_no_head_in_the_advice(self, network, filled, assert_refused) -> None:
        """If BatchNorm layers are left over, the error does not suggest `skip_head`."""
        source, model = filled(network()), network(batch_norm=False)

        assert_refused(model, source, rf"{RULE}.*_bn without a layer\. {BUILD}")

    def test_a_missing_body_is_not_skipped(self, network, filled, assert_refused) -> None:
        """`skip_head` does not allow missing layers before the head."""
        source, model = filled(network(filters=(4,))), network()

        text = rf"{RULE}\. Received: block2_conv1, block2_conv1_bn without weights\. {BUILD}"
        assert_refused(model, source, text, skip_head=True)

    def test_a_body_too_many_is_not_skipped(self, network, filled, assert_refused) -> None:
        """`skip_head` does not allow convolutions of the source that fit no layer."""
        source, model = filled(network(filters=(4, 8, 16))), network()

        text = rf"{RULE}\. Received: block3_conv1.* without a layer\. {BUILD}"
        assert_refused(model, source, text, skip_head=True)

    def test_vectors_inside_the_body_are_no_head(self, filled) -> None:
        """Dense layers between convolutions, as in squeeze-and-excitation, belong to the body."""
        source, model = filled(excited(4)), excited(3)

        report = load_weights(model, source, skip_head=True)

        assert ["predictions"] == report.skipped

    def test_nothing_but_a_head(self, filled, assert_refused) -> None:
        """Nothing would be loaded into a model that is only a head, which is an error."""

        def dense(n_classes):
            return keras.Sequential(
                [keras.Input((4,)), layers.Dense(3, name="a"), layers.Dense(n_classes, name="b")]
            )

        text = rf"{RULE}, but no layer name matches\. Received: a model that is only a head\. "
        assert_refused(dense(3), filled(dense(4)), text, skip_head=True)

    @pytest.mark.parametrize("write", ["model", ".keras"], indirect=True)
    def test_batch_norm_in_the_head(self, write, network, filled) -> None:
        """BatchNorm between dense layers is part of the head if the graph is known."""
        body = network(include_top=False)
        x = layers.GlobalAveragePooling2D()(body.output)
        x = layers.BatchNormalization(name="head_bn")(layers.Dense(5, name="head_fc")(x))
        source = filled(keras.Model(body.input, layers.Dense(7, name="head")(x)))
        model = network()

        report = load_weights(model, write(source), skip_head=True)

        assert LoadedWeights(BODY, HEAD, ["head_fc", "head_bn", "head"]) == report

    @pytest.mark.parametrize("write", ["model", ".keras"], indirect=True)
    def test_dense_layers_in_the_body_of_the_source_are_no_head(
        self, write, filled, assert_refused
    ) -> None:
        """Weights of the source's body must fit a layer, with `skip_head` too."""
        source, model = filled(excited(4)), plain(3)

        text = rf"{RULE}\. Received: gate without a layer\. {BUILD}"
        assert_refused(model, write(source), text, skip_head=True)

    @pytest.mark.parametrize(
        ("count", "told"), [(3, "conv0, conv1, conv2"), (4, "conv0, conv1, conv2 and 1 more")]
    )
    def test_three_names_are_told(self, count, told, filled, assert_refused) -> None:
        """The error lists three names and the number of the others."""
        model = keras.Sequential([keras.Input(SHAPE)])
        for number in range(count):
            model.add(layers.Conv2D(2, 3, name=f"conv{number}"))
        source = filled(keras.Sequential([keras.Input(SHAPE), layers.Conv2D(4, 3, name="other")]))

        assert_refused(model, source, rf"Received: {told} without weights; other without a layer")

    @every_file_of_weights
    def test_auxiliary_heads(self, write, filled) -> None:
        """GoogLeNet's auxiliary heads count as heads, even in a file that holds only names."""
        x = inputs = keras.Input(SHAPE)
        x = layers.Conv2D(4, 3, name="conv")(x)
        aside = layers.GlobalMaxPooling2D()(layers.Conv2D(2, 1, name="aux1_conv")(x))
        main = layers.Dense(2, name="predictions")(layers.GlobalMaxPooling2D()(x))
        source = filled(keras.Model(inputs, [main, aside]))
        model = keras.Model(inputs, layers.Conv2D(4, 3, name="conv")(inputs))

        report = load_weights(model, write(source), skip_head=True)

        assert {"aux1_conv", "predictions"} == set(report.unused)

    @pytest.mark.parametrize("write", ["model", ".weights.h5"], indirect=True)
    def test_a_source_that_is_a_class(self, write, filled, own) -> None:
        """Dense layers of a source without a graph may be its head."""
        source = filled(own())
        model = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(2, 3, name="conv")])

        report = load_weights(model, write(source), skip_head=True)

        assert LoadedWeights(loaded=["conv"], skipped=[], unused=["dense"]) == report

    def test_a_model_that_is_a_class(self, filled, assert_refused, own) -> None:
        """The head of a model without a graph is unknown, and the error says so."""
        text = (
            r"^`skip_head=True` needs a functional or Sequential model, whose graph shows where "
            r"the head begins\. Received: Own, a subclassed model\.$"
        )
        assert_refused(own(), filled(own()), text, skip_head=True)
