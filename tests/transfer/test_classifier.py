"""build_classifier: flat, sharing, scaling inside, compiled to fit."""

import keras
import numpy as np
import pytest

from cnnkit._keras.class_names import class_names_in
from cnnkit.models import simple_cnn
from cnnkit.preprocess import scale
from cnnkit.transfer import build_classifier


def test_the_model_is_flat_and_shares_the_backbones_layers(backbone) -> None:
    """The backbone's own layers stand in the model, no copies and no model inside."""
    model = build_classifier(backbone, 3)

    assert set(backbone.layers[1:]) <= set(model.layers)
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)


@pytest.fixture(scope="module")
def pooled() -> keras.Model:
    """A backbone that gives vectors."""
    return keras.applications.MobileNetV2(
        input_shape=(32, 32, 3), alpha=0.35, include_top=False, weights=None, pooling="avg"
    )


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_raw_images_are_scaled_inside(dtype, pooled, rng) -> None:
    """The features are those of the backbone on images scaled as its weights expect."""
    model = build_classifier(pooled, 3, dropout=0)
    images = rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    kernel, bias = model.layers[-1].get_weights()

    features = pooled.predict_on_batch(scale(images, "tf"))
    expected = keras.activations.softmax(keras.ops.convert_to_tensor(features @ kernel + bias))
    np.testing.assert_allclose(
        model.predict_on_batch(images.astype(dtype)), np.asarray(expected), atol=1e-5
    )


def test_a_backbone_that_scales_inside_is_not_scaled_twice(backbone) -> None:
    """Mode "auto" adds nothing to a backbone with scaling layers."""
    model = build_classifier(backbone, 3)

    assert 1 == sum(isinstance(layer, keras.layers.Rescaling) for layer in model.layers)


def test_an_unknown_backbone_needs_a_mode() -> None:
    """Nothing tells what a network trained from scratch was fed."""
    backbone = simple_cnn((16, 16, 3), 2, include_top=False)

    with pytest.raises(ValueError, match="'cnnkit_simple_cnn' without scaling layers. Pass the"):
        build_classifier(backbone, 3)


def test_several_classes_get_a_softmax_and_its_loss(backbone) -> None:
    """The loss wants one-hot labels."""
    model = build_classifier(backbone, ["cat", "dog", "horse"])

    assert (None, 3) == model.output_shape
    assert "categorical_crossentropy" == model.loss


def test_one_class_gets_a_sigmoid_and_its_loss(backbone) -> None:
    """One unit gives the probability of the second of two classes."""
    model = build_classifier(backbone, 1)

    assert keras.activations.sigmoid is model.layers[-1].activation
    assert "binary_crossentropy" == model.loss


def test_hidden_units_stand_in_front_of_the_classes(backbone) -> None:
    """Each hidden layer is followed by dropout."""
    model = build_classifier(backbone, 3, hidden_units=(8, 4))

    assert [
        "head_pool",
        "head_pool_dropout",
        "head_dense1",
        "head_dense1_dropout",
        "head_dense2",
        "head_dense2_dropout",
        "head_predictions",
    ] == [layer.name for layer in model.layers if layer.name.startswith("head_")]


def test_pooling_may_be_in_the_backbone(pooled) -> None:
    """A backbone that gives vectors is not pooled again."""
    model = build_classifier(pooled, 3)

    assert "head_pool" not in [layer.name for layer in model.layers]


def test_probabilities_are_float32_in_mixed_precision(backbone) -> None:
    """The last layer does not lose small probabilities to half precision."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_classifier(backbone, 3)
    finally:
        keras.config.set_dtype_policy("float32")

    assert "float32" == model.output.dtype


@pytest.mark.usefixtures("eagerly")
def test_the_model_survives_saving(backbone, tmp_path, data) -> None:
    """A loaded model computes the same outputs."""
    model = build_classifier(backbone, 3)
    model.fit(*data, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")

    np.testing.assert_array_equal(model.predict_on_batch(data[0]), loaded.predict_on_batch(data[0]))


def test_a_backbone_with_its_classifier_is_refused() -> None:
    """The thousand ImageNet classes are no features."""
    with pytest.raises(ValueError, match=r"`backbone` must end with features.*include_top=False"):
        build_classifier(simple_cnn((16, 16, 3), 10, mode="unit"), 3)


def test_a_mode_beside_scaling_inside_is_refused(backbone) -> None:
    """Images would be scaled twice."""
    with pytest.raises(ValueError, match=r"`mode` must be 'auto' or 'none' for a backbone that sc"):
        build_classifier(backbone, 3, mode="torch")


def test_a_backbone_that_ends_with_a_softmax_layer_is_refused(backbone) -> None:
    """A classifier may end with a layer of its own for the softmax."""
    x = keras.layers.Softmax()(keras.layers.GlobalAveragePooling2D()(backbone.output))

    with pytest.raises(ValueError, match="`backbone` must end with features"):
        build_classifier(keras.Model(backbone.input, x), 3)


def test_an_unbuilt_backbone_is_refused() -> None:
    """Without an input, no scaling can be added in front."""
    with pytest.raises(ValueError, match=r"`backbone` must be built.*Add a keras.Input"):
        build_classifier(keras.Sequential([keras.layers.Conv2D(4, 3)]), 3, mode="none")


def test_a_number_of_classes_may_come_from_numpy(backbone) -> None:
    """`targets.max() + 1` is a NumPy integer."""
    assert (None, 3) == build_classifier(backbone, np.int8(3)).output_shape


def test_class_names_may_be_an_array(backbone) -> None:
    """`np.unique(labels)` gives one."""
    model = build_classifier(backbone, np.unique(["dog", "cat", "dog"]))
    assert ["cat", "dog"] == class_names_in(model)


@pytest.mark.parametrize("given", [keras.applications.MobileNetV2, "MobileNetV2"])
def test_what_is_no_model_is_refused(given) -> None:
    """The brackets are easily forgotten."""
    with pytest.raises(
        TypeError, match=r"^`backbone` must be a Keras model, such as MobileNetV2\("
    ):
        build_classifier(given, 3)


@pytest.mark.parametrize(
    ("pooling", "reduce"), [("avg", np.mean), ("max", np.max)], ids=["avg", "max"]
)
def test_pooling_is_what_its_name_says(pooling, reduce, backbone, data) -> None:
    """The vector is the mean or the maximum of each feature map."""
    model = build_classifier(backbone, 3, pooling=pooling)
    vector = keras.Model(model.input, model.get_layer("head_pool").output)
    maps = backbone.predict_on_batch(data[0])

    np.testing.assert_allclose(
        vector.predict_on_batch(data[0]), reduce(maps, axis=(1, 2)), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    "classes", ["cat", ["cat"], [], ["cat", "cat"], None, {"cat", "dog"}, {"cat": 1, "dog": 0}]
)
def test_fewer_than_two_names_are_refused(classes, backbone) -> None:
    """One name or a string is a mistake; sets and dicts don't have the right order."""
    with pytest.raises(ValueError, match=r"`classes` must be a number or a list of at least two"):
        build_classifier(backbone, classes)


def test_an_unknown_pooling_is_refused(backbone) -> None:
    """The error lists the kinds there are."""
    with pytest.raises(ValueError, match="`pooling` must be one of 'avg', 'max' or 'flatten'"):
        build_classifier(backbone, 3, pooling="mean")


def test_hidden_units_are_a_list(backbone) -> None:
    """One layer is a list of one."""
    with pytest.raises(TypeError, match=r"^`hidden_units` must be a list of whole numbers"):
        build_classifier(backbone, 3, hidden_units=64)
