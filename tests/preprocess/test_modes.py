"""`mode_for` against the `preprocess_input` of every module of keras.applications."""

import functools
import importlib
import re

import keras
import numpy as np
import pytest
from keras import layers
from keras.src.backend.common import global_state

from cnnkit.models import googlenet, resnet, simple_cnn, vggnet
from cnnkit.preprocess import mode_for, scale
from cnnkit.preprocess._modes import check_mode_of_model

ARCHITECTURES = sorted(
    name for name in dir(keras.applications) if callable(getattr(keras.applications, name))
)
BUILT = {  # small to build, and what the builder is to be given beside
    "VGG16": {},
    "ResNet50": {},
    "ResNet50V2": {},
    "MobileNet": {},
    "MobileNetV2": {"alpha": 0.35},
    "InceptionV3": {},
    "Xception": {},
    "DenseNet121": {},
    "EfficientNetB0": {},
    "EfficientNetV2B0": {},
    "MobileNetV3Small": {},
    "NASNetMobile": {},
    "ConvNeXtTiny": {},
}
SCALING_MODES = ("tf", "torch", "caffe", "unit")
NETWORKS = {
    "simple_cnn": lambda mode: simple_cnn((16, 16, 3), 2, filters=(4,), mode=mode),
    "vggnet": lambda mode: vggnet((32, 32, 3), 2, depth=11, mode=mode),
    "googlenet": lambda mode: googlenet((64, 64, 3), 2, mode=mode),
    "resnet": lambda mode: resnet((32, 32, 3), 2, depth=18, mode=mode),
}
ADVICE = r"Pass the mode yourself: mode='tf', 'torch', 'caffe', 'unit' or 'none'\.$"


def symbolic(builder, *args, **options):
    """Build a network to be looked at: weights without values take no memory and little time."""
    try:
        with keras.StatelessScope(initialize_variables=False):
            return builder(*args, **options)
    finally:  # or Keras would give them values as soon as another network is built
        global_state.set_global_attribute("uninitialized_variables", [])


def build(name, **options):
    builder = getattr(keras.applications, name)
    options = {"weights": None, "include_top": False, **BUILT.get(name, {}), **options}
    return symbolic(builder, **options)


def published_scaling(name, images):
    """Scale as the module of an architecture does; the images are not changed."""
    module = importlib.import_module(getattr(keras.applications, name).__module__)
    return np.asarray(module.preprocess_input(images.copy()))


def assert_scales_as_published(mode, name):
    """Assert that a mode is what `preprocess_input` of an architecture does."""
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 9, 3)).astype(np.float32)

    np.testing.assert_allclose(
        published_scaling(name, images), scale(images, mode), rtol=0, atol=2e-5
    )


@pytest.fixture(scope="module")
def vgg():
    """A VGG16 of Keras, for tests that add layers before or after it."""
    return build("VGG16", input_shape=(32, 32, 3))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_name_has_its_published_scaling(name):
    """The name of each architecture leads to the scaling of its own module."""
    assert_scales_as_published(mode_for(name), name)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_builder_has_its_published_scaling(name):
    """The builder of each architecture leads to the scaling of its own module."""
    assert_scales_as_published(mode_for(getattr(keras.applications, name)), name)


@pytest.mark.parametrize("name", BUILT)
def test_models_have_their_published_scaling(name):
    """A model of Keras is known by its layers and its name."""
    assert_scales_as_published(mode_for(build(name, input_shape=(None, None, 3))), name)


# MobileNets have the size of their images in their names.
@pytest.mark.parametrize("name", ["MobileNet", "MobileNetV2", "EfficientNetB0"])
def test_models_of_a_size_have_their_published_scaling(name):
    """The shape of the input makes no difference."""
    assert_scales_as_published(mode_for(build(name, input_shape=(96, 96, 3))), name)


def test_models_with_their_top_are_known():
    """The published classifier on top makes no difference."""
    model = build("MobileNet", include_top=True, alpha=0.25, input_shape=(128, 128, 3))

    assert_scales_as_published(mode_for(model), "MobileNet")


@pytest.mark.parametrize(
    ("expected", "name"),
    [
        ("caffe", "resnet50"),
        ("caffe", "ResNet-50"),
        ("caffe", "vgg_16"),
        ("tf", "inception_v3"),
        ("tf", "RESNET152V2"),
        ("none", "efficientnetv2-b0"),
        ("none", "convnext_tiny"),
        ("tf", "mobilenetv2_1.00_224"),
        ("tf", "mobilenet_0.50_None"),
    ],
)
def test_spelling_of_names_does_not_matter(expected, name):
    """Case, hyphens, underscores, and what Keras appends to a name make no difference."""
    assert expected == mode_for(name)


@pytest.mark.parametrize(
    "name", ["resnet", "ResNet18", "vgg", "MyVGG16", "VGG16 tuned", "cnnkit_vgg16", "vit", ""]
)
def test_unknown_names_are_errors(name):
    """A name that no architecture of Keras has is an error, also where it resembles one."""
    message = (
        rf"^`architecture` must be a network of keras\.applications\. "
        rf"Received: architecture='{name}'\. {ADVICE}"
    )

    with pytest.raises(ValueError, match=message):
        mode_for(name)


@pytest.mark.parametrize("builder", [resnet, vggnet, googlenet, simple_cnn])
def test_builders_of_cnnkit_are_errors(builder):
    """Networks of ours have no published scaling."""
    message = rf"Received: architecture='{builder.__name__}'\. {ADVICE}"

    with pytest.raises(ValueError, match=message):
        mode_for(builder)


@pytest.mark.parametrize(
    "architecture", [50, None, functools.partial(resnet, depth=50)], ids=["int", "None", "partial"]
)
def test_other_things_are_errors(architecture):
    """Anything but a name, builder or model gets a clear error, not an AttributeError."""
    told = rf"`architecture` must be .* Received: architecture={re.escape(repr(architecture))}\. "
    with pytest.raises((TypeError, ValueError), match=told):
        mode_for(architecture)


@pytest.mark.parametrize("name", ["EfficientNetV2B0", "MobileNetV3Small", "ConvNeXtTiny"])
def test_models_without_their_scaling_are_errors(name):
    """Without its scaling layers, a published network may have been trained on anything."""
    model = build(name, include_preprocessing=False, input_shape=(96, 96, 3))
    message = rf"Received: a model named '{model.name}' without scaling layers\. {ADVICE}"

    with pytest.raises(ValueError, match=message):
        mode_for(model)


@pytest.mark.parametrize("network", NETWORKS)
def test_networks_of_cnnkit_without_scaling_are_errors(network):
    """A network of ours that does not scale may have been trained on anything."""
    message = rf"Received: a model named 'cnnkit_\w+' without scaling layers\. {ADVICE}"

    with pytest.raises(ValueError, match=message):
        mode_for(symbolic(NETWORKS[network], "none"))


@pytest.mark.parametrize("mode", SCALING_MODES)
@pytest.mark.parametrize("network", NETWORKS)
def test_networks_of_cnnkit_with_scaling_take_raw_pixels(network, mode):
    """A network of ours that scales inside needs no scaling outside."""
    assert "none" == mode_for(symbolic(NETWORKS[network], mode))


def test_network_of_cnnkit_under_the_name_of_keras_is_an_error():
    """A name is not enough to recognize a published network: the layers must match too."""
    model = simple_cnn((16, 16, 3), 2, filters=(4,), name="resnet50")

    with pytest.raises(ValueError, match=r"Received: a model named 'resnet50' without scaling"):
        mode_for(model)


def test_scaling_behind_weights_does_not_count(vgg):
    """A Rescaling of the output, as for a temperature, says nothing about the input."""
    model = keras.Model(vgg.input, layers.Rescaling(0.5)(vgg.output), name="vgg16")

    assert "caffe" == mode_for(model)


def test_scaling_behind_weights_leaves_a_network_unknown():
    """A network that scales only after its first weights is an error."""
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(2, 3), layers.Rescaling(0.5)], name="mine"
    )

    with pytest.raises(ValueError, match=r"Received: a model named 'mine' without scaling"):
        mode_for(model)


@pytest.mark.parametrize(
    "front",
    [lambda x: x / 2.0, layers.Lambda(lambda x: x / 2.0, output_shape=(32, 32, 3))],
    ids=["operation", "Lambda"],
)
def test_arithmetic_in_front_leaves_a_network_unknown(vgg, front):
    """It may be the scaling, or something else."""
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, vgg(front(inputs)), name="vgg16")
    message = (
        r"^`architecture` must be a network of keras\.applications or a model that scales its "
        r"input\. Received: a model named 'vgg16' with operations that may scale its input\. "
    )

    with pytest.raises(ValueError, match=message + ADVICE):
        mode_for(model)


def test_normalization_with_weights_scales():
    """An adapted Normalization holds its statistics as weights, but still counts as scaling."""
    scaler = layers.Normalization()
    scaler.adapt(np.zeros((2, 8, 8, 3), dtype=np.float32))
    model = keras.Sequential([keras.Input((8, 8, 3)), scaler, layers.Conv2D(2, 3)])

    assert scaler.weights
    assert "none" == mode_for(model)


@pytest.mark.parametrize("scaling", ["Rescaling", "Normalization"])
def test_augmentation_in_front_does_not_hide_the_scaling(scaling):
    """Layers without weights may stand in front of the scaling."""
    scaler = {
        "Rescaling": layers.Rescaling(1 / 255),
        "Normalization": layers.Normalization(mean=[127.5] * 3, variance=[127.5**2] * 3),
    }[scaling]
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(0.1),
            layers.RandomContrast(0.2),
            scaler,
            layers.Conv2D(2, 3),
        ]
    )

    assert "none" == mode_for(model)


def test_augmentation_inside_a_network_of_cnnkit_does_not_hide_the_scaling():
    """`simple_cnn` with augmentation and scaling takes raw pixels."""
    model = simple_cnn(
        (16, 16, 3), 2, filters=(4,), augmentation=layers.RandomFlip("horizontal"), mode="unit"
    )

    assert "none" == mode_for(model)


def test_augmentation_in_front_does_not_hide_the_network():
    """A published network behind augmentation keeps its mode."""
    augmented = layers.RandomFlip("horizontal")(keras.Input((32, 32, 3)))

    assert "caffe" == mode_for(build("VGG16", input_tensor=augmented))


def test_scaling_in_front_of_a_nested_model_counts(vgg):
    """A published network that is called behind a Rescaling takes raw pixels."""
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, vgg(layers.Rescaling(1 / 255)(inputs)))

    assert "none" == mode_for(model)


def test_scaling_inside_a_nested_model_counts():
    """A network that scales inside does so when it is nested, too."""
    backbone = build("EfficientNetB0", input_shape=(32, 32, 3))
    model = keras.Sequential(
        [keras.Input((32, 32, 3)), layers.RandomFlip(), backbone, layers.GlobalAveragePooling2D()]
    )

    assert "none" == mode_for(model)


def test_scaling_in_a_nested_preprocessing_model_counts():
    """A small model of augmentation and scaling may stand in front."""
    front = keras.Sequential([layers.RandomFlip(), layers.Rescaling(1 / 255)])
    model = keras.Sequential([keras.Input((8, 8, 3)), front, layers.Conv2D(2, 3)])

    assert "none" == mode_for(model)


def test_scaling_behind_a_nested_model_does_not_count(vgg):
    """Weights in a nested model are weights."""
    model = keras.Sequential([keras.Input((32, 32, 3)), vgg, layers.Rescaling(0.5)], name="mine")

    with pytest.raises(ValueError, match=r"Received: a model named 'mine' without scaling"):
        mode_for(model)


def test_published_network_under_another_name_is_an_error(vgg):
    """A published network in a model of another name may have been trained on anything."""
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, layers.Flatten()(vgg(inputs)), name="classifier")

    with pytest.raises(ValueError, match=r"Received: a model named 'classifier' without scaling"):
        mode_for(model)


@pytest.mark.parametrize("name", ["VGG16", "MobileNet"])
def test_network_behind_operations_that_scale_is_not_scaled_again(name):
    """`preprocess_input` inside the model leaves operations, not layers: no scaling outside."""
    module = importlib.import_module(getattr(keras.applications, name).__module__)
    inputs = keras.Input((32, 32, 3))
    model = build(name, input_tensor=module.preprocess_input(inputs))
    try:
        mode = mode_for(model)
    except ValueError:
        mode = "none"

    assert "none" == mode


def test_mode_survives_saving(tmp_path):
    """A model that is saved and loaded has the mode it had."""
    model = simple_cnn((16, 16, 3), 2, filters=(4,), mode="caffe")
    model.save(tmp_path / "model.keras")

    assert "none" == mode_for(keras.saving.load_model(tmp_path / "model.keras"))


def test_asking_does_not_change_the_model():
    """The weights of a model are those it had."""
    model = simple_cnn((16, 16, 3), 2, filters=(4,), mode="unit")
    before = [weight.copy() for weight in model.get_weights()]
    mode_for(model)

    assert [old.tobytes() for old in before] == [new.tobytes() for new in model.get_weights()]


@pytest.mark.parametrize("mode", SCALING_MODES)
@pytest.mark.parametrize("inside", ["unit", "torch"])
def test_a_model_that_scales_inside_refuses_another_scaling(mode, inside):
    """The rule that prediction and Grad-CAM share."""
    model = NETWORKS["simple_cnn"](inside)
    text = (
        "^`mode` must be 'none' for a model that scales inside, or images would be scaled twice. "
        rf"Received: mode='{mode}'.$"
    )

    check_mode_of_model(model, "none")
    with pytest.raises(ValueError, match=text):
        check_mode_of_model(model, mode)


@pytest.mark.parametrize("mode", [*SCALING_MODES, "none"])
def test_a_model_without_scaling_takes_every_mode(mode):
    """Nothing tells which scaling it was trained with."""
    check_mode_of_model(NETWORKS["simple_cnn"]("none"), mode)


def test_an_unknown_mode_is_refused_for_every_model():
    """The name of the mode is checked first."""
    with pytest.raises(ValueError, match=r"^`mode` must be .*Received: mode='imagenet'"):
        check_mode_of_model(NETWORKS["simple_cnn"]("none"), "imagenet")
