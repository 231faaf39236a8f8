"""Feature maps and heat maps, compared with gradients by hand and with the model's outputs."""

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from keras import layers
from PIL import Image

from cnnkit.data import read_image
from cnnkit.models import simple_cnn
from cnnkit.transfer import build_classifier
from cnnkit.viz import show_feature_maps, show_grad_cam

SIZE = 8


@pytest.fixture
def image(rng) -> np.ndarray:
    return rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def toy(end: str = "softmax", units: int = 3) -> keras.Model:
    """Return a model of two maps, their means, and a dense layer; its kernel is all gradients."""
    inputs = keras.Input((SIZE, SIZE, 3))
    maps = layers.Conv2D(2, 1, use_bias=False, name="maps")(inputs)
    x = layers.GlobalAveragePooling2D()(maps)
    if end == "dense":
        outputs = layers.Dense(units, "softmax" if units > 1 else "sigmoid", name="scores")(x)
    else:
        outputs = layers.Dense(units, name="scores")(x)
        ends = {
            "softmax": layers.Softmax(),
            "activation": layers.Activation("softmax"),
            "operation": keras.ops.softmax,
        }
        outputs = ends[end](outputs) if end in ends else outputs
    model = keras.Model(inputs, outputs)
    # Both maps speak for every class in some places, so that no heat is zero everywhere.
    model.get_layer("maps").set_weights([np.array([[[[1, 0.1], [-0.5, 1], [0.2, -0.7]]]])])
    kernel = np.array([[1, -0.5, 0.3], [-0.2, 1, 0.4]])[:, :units]
    model.get_layer("scores").set_weights([kernel, np.zeros(units)])
    return model


def heat_by_hand(model: keras.Model, image: np.ndarray, number: int, sign: int = 1) -> np.ndarray:
    """Return the Grad-CAM of a toy: each position gets a 64th of the kernel's column."""
    maps = image.astype("float64") @ model.get_layer("maps").get_weights()[0][0, 0]
    column = sign * model.get_layer("scores").get_weights()[0][:, number]
    heat = np.maximum(maps @ (column / SIZE**2), 0)
    return heat / heat.max() if heat.max() > 0 else heat


class TestGradCam:
    """Heat maps of a class."""

    @pytest.mark.parametrize("end", ["softmax", "activation", "dense", "logits", "operation"])
    @pytest.mark.parametrize("target", [0, 1, 2])
    def test_the_heat_is_that_worked_out_by_hand(self, end, target, image) -> None:
        """It comes from the score before the softmax, however the softmax is computed."""
        model = toy(end)
        drawn = show_grad_cam(model, image, target=target)
        expected = heat_by_hand(model, image, target)

        assert 1 == expected.max()
        np.testing.assert_allclose(drawn[1].images[1].get_array(), expected, atol=1e-5)
        np.testing.assert_array_equal(drawn[0].images[0].get_array(), image)

    @pytest.mark.parametrize("target", [0, 1])
    def test_one_sigmoid_unit_speaks_for_the_second_class(self, target, image) -> None:
        """Its negative is the score of the first class."""
        model = toy("dense", units=1)
        drawn = show_grad_cam(model, image, target=target)
        expected = heat_by_hand(model, image, 0, sign=2 * target - 1)

        np.testing.assert_allclose(drawn[1].images[1].get_array(), expected, atol=1e-5)

    def test_the_predicted_class_is_shown_by_default(self, image) -> None:
        """The title gives its probability."""
        model = toy()
        probabilities = model.predict(image[None].astype("float32"), verbose=0)[0]
        drawn = show_grad_cam(model, image)
        number = probabilities.argmax()

        assert f"class {number}: {probabilities[number]:.2f}" == drawn[1].get_title()

    def test_a_model_inside_is_looked_into(self, image) -> None:
        """The same layers give the same heat map, flat or nested."""
        flat = toy("dense")
        inner = keras.Model(flat.input, flat.get_layer("maps").output, name="inner")
        inputs = keras.Input((SIZE, SIZE, 3))
        x = layers.GlobalAveragePooling2D()(inner(inputs))
        nested = keras.Model(inputs, layers.Dense(3, "softmax", name="scores")(x))
        nested.get_layer("scores").set_weights(flat.get_layer("scores").get_weights())
        heats = [
            show_grad_cam(model, image, target=1, layer="maps")[1].images[1].get_array()
            for model in (flat, nested)
        ]

        assert heats[0].max() == 1
        np.testing.assert_array_equal(heats[0], heats[1])
        np.testing.assert_array_equal(
            heats[1], show_grad_cam(nested, image, target=1)[1].images[1].get_array()
        )

    def test_the_last_maps_are_looked_at_by_default(self, image) -> None:
        """These are the maps that the scores are computed from."""
        model = simple_cnn((SIZE, SIZE, 3), 2, filters=(4, 5), mode="unit")
        shapes = [
            show_grad_cam(model, image, **options)[1].images[1].get_array().shape
            for options in ({}, {"layer": "block2_pool"}, {"layer": "block1_conv1"})
        ]

        assert [(2, 2), (2, 2), (8, 8)] == shapes

    def test_the_model_is_left_as_it_was(self, image) -> None:
        """Its outputs, attributes, and activation are unchanged."""
        model = toy("dense")
        batch = image[None].astype("float32")
        before = model.predict(batch, verbose=0)
        attributes = [set(vars(layer)) for layer in model.layers]
        show_grad_cam(model, image)

        np.testing.assert_array_equal(before, model.predict(batch, verbose=0))
        assert attributes == [set(vars(layer)) for layer in model.layers]
        assert keras.activations.softmax is model.layers[-1].activation

    def test_class_names_that_the_model_keeps_may_be_asked_for(self, image) -> None:
        """Their names are in the title."""
        backbone = simple_cnn((SIZE, SIZE, 3), 2, filters=(4,), include_top=False)
        model = build_classifier(backbone, ["hat", "shoe"], mode="tf")
        drawn = show_grad_cam(model, image, target="shoe")

        assert drawn[1].get_title().startswith("shoe: 0.")
        with pytest.raises(ValueError, match=r"`target` must be .*0 to 1, or one of hat, shoe\."):
            show_grad_cam(model, image, target="boot")

    def test_a_file_is_seen_upright_in_its_own_proportions(self, tmp_path) -> None:
        """EXIF rotates the picture, and the heat map is stretched over all of it."""
        pixels = np.zeros((32, 64, 3), dtype=np.uint8)
        pixels[:, :32] = 200  # left, and above once it is upright
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
        drawn = show_grad_cam(toy(), tmp_path / "turned.png")
        seen = drawn[0].images[0].get_array()
        read = read_image(tmp_path / "turned.png", (SIZE, SIZE))

        assert (64, 32, 3) == seen.shape
        assert (seen[:32] == 200).all()
        assert (seen[32:] == 0).all()
        assert (-0.5, 31.5, 63.5, -0.5) == tuple(drawn[1].images[1].get_extent())
        np.testing.assert_array_equal(
            show_grad_cam(toy(), read)[1].images[1].get_array(), drawn[1].images[1].get_array()
        )

    def test_another_backend_is_refused_by_its_name(self, image, monkeypatch) -> None:
        """The gradient needs TensorFlow."""
        monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
        with pytest.raises(NotImplementedError, match=r"needs Keras on TensorFlow.*the backend 'j"):
            show_grad_cam(toy(), image)

    @pytest.mark.parametrize("target", [3, -1, "cat", 1.5, np.array([0, 1, 0])])
    def test_a_class_that_is_not_there_is_refused(self, target, image) -> None:
        """The error gives the range."""
        with pytest.raises(ValueError, match=r"`target` must be a class number from 0 to 2\. Rec"):
            show_grad_cam(toy(), image, target=target)

    def test_a_model_that_tells_no_classes_is_refused(self, image) -> None:
        """Examples are a backbone and a network that classifies each pixel."""
        backbone = simple_cnn((SIZE, SIZE, 3), 2, filters=(4,), include_top=False)
        with pytest.raises(ValueError, match=r"`model` must be a classifier.*\(None, 4, 4, 4\)"):
            show_grad_cam(backbone, image)

    def test_a_long_class_name_is_broken_into_lines(self, image) -> None:
        """The probability remains visible."""
        names = ["a very long name of a class that no title has room for", "short"]
        backbone = simple_cnn((SIZE, SIZE, 3), 2, filters=(4,), include_top=False)
        drawn = show_grad_cam(build_classifier(backbone, names, mode="tf"), image, target=0)
        lines = drawn[1].get_title().splitlines()

        assert len(lines) > 1
        assert max(map(len, lines)) <= 28

    def test_a_model_without_maps_is_refused(self, rng) -> None:
        """There are no maps for a heat map."""
        model = keras.Sequential([keras.Input((SIZE, SIZE, 3)), layers.Flatten(), layers.Dense(2)])
        image = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        with pytest.raises(ValueError, match=r"`layer` must name a layer .*The model has none\."):
            show_grad_cam(model, image)

    @pytest.mark.parametrize("units", [1, 3])
    def test_logits_are_told_as_scores(self, units, image) -> None:
        """Logits are not probabilities; with one unit, the first class scores the negative."""
        model = toy("logits", units)
        outputs = model(image[None].astype("float32"))[0].numpy()
        scores = [-outputs[0], outputs[0]] if units == 1 else outputs

        assert abs(outputs).max() > 1
        for number, score in enumerate(scores):
            drawn = show_grad_cam(model, image, target=number)
            assert f"class {number}: score {score:.3g}" == drawn[1].get_title().splitlines()[0]
        predicted = show_grad_cam(model, image)[1].get_title()
        assert predicted.startswith(f"class {int(np.argmax(scores))}: ")

    @pytest.mark.parametrize("behind", [layers.Activation("linear"), layers.Flatten()])
    def test_the_softmax_may_have_something_behind_it(self, behind, image) -> None:
        """Mixed precision, for example, adds a layer that changes the type."""
        model = toy("softmax")
        longer = keras.Model(model.input, behind(model.output))
        heats = [show_grad_cam(each, image)[1] for each in (model, longer)]

        assert heats[0].get_title() == heats[1].get_title()
        np.testing.assert_array_equal(*(ax.images[1].get_array() for ax in heats))

    def test_a_sigmoid_in_the_middle_makes_no_probabilities(self, image) -> None:
        """It is a part of the network and is not removed."""
        inputs = keras.Input((SIZE, SIZE, 3))
        gated = layers.Conv2D(3, 1, activation="sigmoid", name="maps")(inputs)
        model = keras.Model(inputs, layers.GlobalAveragePooling2D()(gated))

        assert ": score 0." in show_grad_cam(model, image)[1].get_title()

    def test_a_class_that_nothing_speaks_for_is_told(self, image) -> None:
        """An empty heat map without a note could look like a bug."""
        model = toy("dense")
        model.get_layer("scores").set_weights([np.array([[-1, 1, 1], [-1, 1, 1.0]]), np.zeros(3)])
        model.get_layer("maps").set_weights([np.ones((1, 1, 3, 2))])
        first, second = (
            show_grad_cam(model, image, target=number)[1].get_title() for number in (0, 1)
        )

        assert first.endswith("\nno evidence for this class")
        assert "evidence" not in second


class TestFeatureMaps:
    """Feature maps of a layer."""

    def test_the_maps_are_those_of_the_layer_the_most_active_first(self, image) -> None:
        """They equal the outputs of a model that ends there, ordered by their means."""
        model = simple_cnn((SIZE, SIZE, 3), 2, filters=(6, 4), mode="unit")
        expected = keras.Model(model.input, model.get_layer("block1_conv1").output).predict(
            image[None].astype("float32"), verbose=0
        )[0]
        order = np.argsort(-expected.mean(axis=(0, 1)))
        drawn = show_feature_maps(model, image, "block1_conv1")

        assert [f"channel {channel}" for channel in order] == [ax.get_title() for ax in drawn]
        for ax, channel in zip(drawn, order, strict=True):
            np.testing.assert_allclose(
                ax.images[0].get_array(), expected[..., channel], rtol=1e-4, atol=1e-5
            )

    def test_only_so_many_are_shown(self, image) -> None:
        """The other channels are less active."""
        model = simple_cnn((SIZE, SIZE, 3), 2, filters=(6, 4), mode="unit")

        assert 2 == len(show_feature_maps(model, image, "block1_conv1", count=2))

    def test_scaling_outside_is_given_by_its_mode(self, image) -> None:
        """A model that scales its own input rejects a mode."""
        outside = toy()
        inputs = keras.Input((SIZE, SIZE, 3))
        x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
        inside = keras.Model(inputs, outside(x))
        first, second = (
            show_feature_maps(model, image, "maps", mode=mode)[0].images[0].get_array()
            for model, mode in ((outside, "tf"), (inside, "none"))
        )

        np.testing.assert_allclose(first, second, atol=1e-5)
        with pytest.raises(ValueError, match=r"`mode` must be 'none' for a model that scales ins"):
            show_feature_maps(inside, image, "maps", mode="tf")

    def test_an_unknown_layer_is_refused_with_the_nearest(self, image) -> None:
        """The error suggests the nearest name."""
        with pytest.raises(
            ValueError, match=r"`layer` must name a layer.*'map'\. Did you mean maps\?"
        ):
            show_feature_maps(toy(), image, "map")

    @pytest.mark.parametrize("which", [0, -1])
    def test_a_layer_without_maps_is_refused(self, which, image) -> None:
        """Neither scores nor the input image are feature maps."""
        name = toy().layers[which].name
        match = rf"`layer` must name a layer that gives .*layer='{name}'\. The last ones are maps\."
        with pytest.raises(ValueError, match=match):
            show_feature_maps(toy(), image, name)
        assert [] == plt.get_fignums()

    def test_a_model_inside_the_model_is_a_layer_too(self, image) -> None:
        """Its maps are those of its last layer."""
        inside = simple_cnn((SIZE, SIZE, 3), 2, filters=(4,), include_top=False, name="inside")
        inputs = keras.Input((SIZE, SIZE, 3))
        pooled = layers.GlobalAveragePooling2D()(inside(inputs))
        model = keras.Model(inputs, layers.Dense(2, "softmax")(pooled))
        last = inside.layers[-1].name
        seen = [
            [ax.images[0].get_array() for ax in show_feature_maps(model, image, name)]
            + [show_grad_cam(model, image, layer=name)[1].images[1].get_array()]
            for name in ("inside", last)
        ]

        for first, second in zip(*seen, strict=True):
            np.testing.assert_array_equal(first, second)

    @pytest.mark.parametrize("show", [show_feature_maps, show_grad_cam])
    @pytest.mark.parametrize("kind", ["unbuilt", "subclassed", "of two inputs"])
    def test_a_model_that_cannot_be_looked_into_is_refused(self, kind, show, image) -> None:
        """The error is ours, not an AttributeError from Keras."""

        class Subclassed(keras.Model):
            def call(self, inputs):
                return inputs

        pair = [keras.Input((SIZE, SIZE, 3)), keras.Input((SIZE, SIZE, 3))]
        match = r"`model` must be a (built Sequential or functional|classifier with one output)"
        model = {
            "unbuilt": keras.Sequential([layers.Conv2D(2, 3)]),
            "subclassed": Subclassed(),
            "of two inputs": keras.Model(pair, layers.Add()(pair)),
        }[kind]
        with pytest.raises(ValueError, match=match):
            show(model, image, layer="conv2d")

    def test_an_unknown_mode_is_told_as_such(self, image) -> None:
        """This also holds for a model that scales its own input."""
        model = simple_cnn((SIZE, SIZE, 3), 2, filters=(4,), mode="unit")
        with pytest.raises(ValueError, match=r"`mode` must be one of 'tf'.*mode='foo'"):
            show_feature_maps(model, image, "block1_conv1", mode="foo")

    @pytest.mark.parametrize(
        "given",
        [
            np.zeros((SIZE, 9, 3), dtype=np.uint8),
            np.zeros((SIZE, SIZE, 3), dtype=np.float32),
            np.zeros((SIZE, SIZE), dtype=np.uint8),
            np.zeros((SIZE, SIZE, 1), dtype=np.uint8),
        ],
    )
    def test_an_image_that_does_not_fit_is_refused(self, given) -> None:
        """It must have the size of the model and raw pixels."""
        with pytest.raises(ValueError, match=r"`image` must be a file, or a uint8 array of the mo"):
            show_feature_maps(toy(), given, "maps")
