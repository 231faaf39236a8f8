"""GoogLeNet's auxiliary classifiers: their shapes, their training and their weights."""

from networks import inputs_of


import keras
import numpy as np
import pytest

from cnnkit.models import googlenet, load_weights


@pytest.fixture(scope="module")
def first_weights():
    """Return a network with both heads, and its weights."""
    model = googlenet((80, 80, 3), 4, aux_outputs=True)
    return model, model.get_weights()


@pytest.fixture
def with_heads(first_weights) -> keras.Model:
    """Return a network with both heads and its first weights; a test may change them."""
    model, weights = first_weights
    model.set_weights(weights)
    return model


class TestAuxiliaryOutputs:
    """`aux_outputs=True` adds the paper's two classifiers."""

    def test_parameters(self, symbolic) -> None:
        """With both heads there are 13,378,280 parameters at 1000 classes."""
        assert 13_378_280 == symbolic(googlenet, n_classes=1000, aux_outputs=True).count_params()

    @pytest.mark.parametrize(("number", "source", "maps"), [(1, "4a", 512), (2, "4d", 528)])
    def test_shapes_are_those_of_the_paper(self, number, source, maps, symbolic) -> None:
        """Section 5: 4x4x512 at 4a, 4x4x528 at 4d, 128 filters of 1x1, 1024 units, the classes."""
        model = symbolic(googlenet, n_classes=1000, aux_outputs=True)
        expected = {
            f"aux{number}_pool": (4, 4, maps),
            f"aux{number}_conv": (4, 4, 128),
            f"aux{number}_flatten": (2048,),
            f"aux{number}_fc": (1024,),
            f"aux{number}_dropout": (1024,),
            f"aux{number}_predictions": (1000,),
        }

        shapes = {name: model.get_layer(name).output.shape[1:] for name in expected}
        chain = [inputs_of(model, name) for name in expected]
        assert expected == shapes
        assert [[name] for name in (f"inception_{source}", *list(expected)[:-1])] == chain

    @pytest.mark.parametrize("number", [1, 2])
    def test_a_head_is_as_the_paper_says(self, number, symbolic) -> None:
        """ReLU in both hidden layers, dropout of 70 %, and softmax at the end."""
        model = symbolic(googlenet, aux_outputs=True)
        conv, fc, dropout, predictions = (
            model.get_layer(f"aux{number}_{part}")
            for part in ("conv", "fc", "dropout", "predictions")
        )

        assert ("relu", "relu", 0.7, "softmax") == (
            conv.activation.__name__,
            fc.activation.__name__,
            dropout.rate,
            predictions.activation.__name__,
        )

    def test_the_main_output_comes_first(self, symbolic) -> None:
        """The outputs are the main one, the one after 4a and the one after 4d."""
        model = symbolic(googlenet, (96, 96, 3), 7, aux_outputs=True)

        names = [x._keras_history.operation.name for x in model.outputs]
        assert ["predictions", "aux1_predictions", "aux2_predictions"] == names
        assert 3 * [(None, 7)] == [x.shape for x in model.outputs]

    @pytest.mark.parametrize("variant", ["batch_norm", "torchvision"])
    def test_other_variants_normalize_in_the_heads_too(self, variant, symbolic) -> None:
        """The convolution of a head has BatchNorm if all the others have it."""
        model = symbolic(googlenet, (96, 96, 3), aux_outputs=True, variant=variant)

        steps = ("aux1_conv_bn", "aux1_flatten", "aux2_conv_bn", "aux2_flatten")
        expected = ["aux1_conv", "aux1_conv_relu", "aux2_conv", "aux2_conv_relu"]
        assert expected == [inputs_of(model, name)[0] for name in steps]

    def test_classifier_activation_is_that_of_all_outputs(self, symbolic) -> None:
        """None gives three outputs of logits."""
        model = symbolic(googlenet, (96, 96, 3), aux_outputs=True, classifier_activation=None)
        heads = ("predictions", "aux1_predictions", "aux2_predictions")

        assert 3 * ["linear"] == [model.get_layer(name).activation.__name__ for name in heads]

    def test_the_main_output_is_that_without_heads(self, with_heads, rng) -> None:
        """The network up to its first output equals the plain network."""
        plain = googlenet((80, 80, 3), 4)
        load_weights(plain, keras.Model(with_heads.inputs, with_heads.outputs[0]))
        images = rng.standard_normal((2, 80, 80, 3)).astype("float32")

        expected = keras.ops.convert_to_numpy(plain(images, training=False))
        np.testing.assert_array_equal(expected, with_heads(images, training=False)[0])

    def test_training_moves_every_weight(self, with_heads, rng) -> None:
        """Compiled with loss weights, the network trains up to its first layer and in each head."""
        losses = 3 * ["categorical_crossentropy"]
        with_heads.compile(
            keras.optimizers.SGD(1.0), losses, loss_weights=[1, 0.3, 0.3], run_eagerly=True
        )
        before = [weight.copy() for weight in with_heads.get_weights()]
        images = rng.random((8, 80, 80, 3)).astype("float32")

        with_heads.train_on_batch(images, 3 * [np.eye(4)[np.arange(8) % 4]])

        still = [
            variable.path
            for variable, old, new in zip(
                with_heads.weights, before, with_heads.get_weights(), strict=True
            )
            if np.array_equal(old, new)
        ]
        assert [] == still

    def test_a_head_trains_only_what_leads_to_it(self, with_heads, rng) -> None:
        """With the first output's loss weights at zero, nothing behind 4d moves."""
        losses = 3 * ["categorical_crossentropy"]
        with_heads.compile("sgd", losses, loss_weights=[0, 0, 1], run_eagerly=True)
        names = ("inception_4d_1x1", "inception_4e_1x1", "aux1_fc", "aux2_fc")
        before = [with_heads.get_layer(name).kernel.numpy().copy() for name in names]

        with_heads.train_on_batch(rng.random((4, 80, 80, 3)), 3 * [np.eye(4)[[0, 1, 2, 0]]])

        after = [with_heads.get_layer(name).kernel.numpy() for name in names]
        moved = [not np.array_equal(*pair) for pair in zip(before, after, strict=True)]
        assert [True, False, False, True] == moved

    def test_heads_need_the_head(self) -> None:
        """Auxiliary heads cannot be built without the main head."""
        text = (
            r"^`aux_outputs=True` needs include_top=True, because the auxiliary classifiers are "
            r"heads too\. Received: include_top=False\.$"
        )

        with pytest.raises(ValueError, match=text):
            googlenet(aux_outputs=True, include_top=False)

    @pytest.mark.parametrize("shape", [(None, None, 3), (96, None, 3), (None, 96, 3)])
    def test_heads_need_height_and_width(self, shape) -> None:
        """Their dense layers follow flattened feature maps."""
        text = (
            r"^`input_shape` must give height and width for aux_outputs=True, because the "
            r"auxiliary classifiers flatten feature maps\. "
            rf"Received: input_shape=\({shape[0]}, {shape[1]}, 3\)\.$"
        )

        with pytest.raises(ValueError, match=text):
            googlenet(shape, aux_outputs=True)

    @pytest.mark.parametrize("shape", [(79, 80, 3), (80, 79, 3)])
    def test_heads_need_80_pixels(self, shape) -> None:
        """The error names the smallest size."""
        text = (
            r"^`input_shape` must be at least 80 pixels high and wide for this network\. "
            rf"Received: input_shape=\({shape[0]}, {shape[1]}, 3\)\. Enlarge the images"
        )

        with pytest.raises(ValueError, match=text):
            googlenet(shape, aux_outputs=True)

    @pytest.mark.parametrize("variant", ["paper", "batch_norm", "torchvision"])
    def test_80_pixels_are_enough(self, variant, symbolic) -> None:
        """At the smallest size, the feature maps of a head are 1x1."""
        model = symbolic(googlenet, (80, 80, 3), aux_outputs=True, variant=variant)

        assert (None, 1, 1, 512) == model.get_layer("aux1_pool").output.shape


class TestWeightsWithAuxiliaryHeads:
    """`skip_head=True` leaves all heads out, on either side."""

    def written(self, kind: str, model: keras.Model, folder) -> object:
        if kind == "model":
            return model
        if kind == ".keras":
            model.save(folder / "model.keras")
            return folder / "model.keras"
        model.save_weights(folder / "model.weights.h5")
        return folder / "model.weights.h5"

    @pytest.mark.parametrize("kind", ["model", ".keras", ".weights.h5"])
    def test_they_go_into_a_plain_network(self, kind, with_heads, tmp_path) -> None:
        """Convolutions of the auxiliary heads belong to the head too."""
        model = googlenet((96, 96, 3), 3)
        report = load_weights(model, self.written(kind, with_heads, tmp_path), skip_head=True)

        assert ["predictions"] == report.skipped
        assert {"aux1_conv", "aux2_fc", "predictions"} <= set(report.unused)
        expected = with_heads.get_layer("inception_5b_1x1").get_weights()
        np.testing.assert_equal(expected, model.get_layer("inception_5b_1x1").get_weights())

    def test_a_plain_network_goes_into_one_with_heads(self, with_heads) -> None:
        """All heads of the new network keep their random weights."""
        report = load_weights(with_heads, googlenet((96, 96, 3), 3), skip_head=True)

        assert {"aux1_conv", "aux2_predictions", "predictions"} <= set(report.skipped)
        assert ["predictions"] == report.unused

    def test_the_first_output_alone_is_the_plain_network(self, with_heads) -> None:
        """With the same classes, the main head can be loaded."""
        model = googlenet((80, 80, 3), 4)
        report = load_weights(model, keras.Model(with_heads.inputs, with_heads.outputs[0]))

        assert ([], []) == report[1:]
        assert "predictions" in report.loaded
