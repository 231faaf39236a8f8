"""The contract of all builders."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest

from cnnkit.models import googlenet, min_pooling, resnet, simple_cnn, vggnet
from cnnkit._keras.graph import leaf_layers
from cnnkit.preprocess import scale
from cnnkit.preprocess._scaling import MODES

BUILDERS = {
    "vgg11_batch_norm": lambda *args, **options: vggnet(
        *args, depth=11, batch_norm=True, **options
    ),
    "vgg16": lambda *args, **options: vggnet(*args, depth=16, **options),
    "googlenet": googlenet,
    "googlenet_batch_norm": lambda *args, **options: googlenet(
        *args, variant="batch_norm", **options
    ),
    "googlenet_torchvision": lambda *args, **options: googlenet(
        *args, variant="torchvision", **options
    ),
    "resnet18": lambda *args, **options: resnet(*args, depth=18, **options),
    "resnet34": lambda *args, **options: resnet(*args, depth=34, **options),
    "resnet50": resnet,
    "resnet_cifar": lambda *args, **options: resnet(*args, depth=18, stem="cifar", **options),
    "simple_cnn": simple_cnn,
}
LEAST_SIZES = dict.fromkeys(BUILDERS, 32) | {"resnet_cifar": 8, "simple_cnn": 8}
FAMILIES = ("vgg11_batch_norm", "googlenet_torchvision", "resnet18", "simple_cnn")
POOLED = [name for name in BUILDERS if name != "simple_cnn"]  # it pools in its own way
# These have no layer and no block that others have not, and more of them.
LARGER = ("googlenet_batch_norm", "resnet34")
every_builder = pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
every_name = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in LARGER else ()) for n in BUILDERS]
)
every_family = pytest.mark.parametrize("name", FAMILIES)


@cache
def ready(name: str) -> keras.Model:
    """Return a network that scales inside and gives seven logits; tests must not change it."""
    keras.utils.set_random_seed(0)
    # A number of classes often is what NumPy has counted.
    options = {"mode": "torch", "classifier_activation": None}
    model = BUILDERS[name]((32, 32, 3), np.int64(7), **options)
    generator = np.random.default_rng(0)
    # No bias and no statistic of BatchNorm is left at 0 or 1.
    model.set_weights(
        [w if w.ndim > 1 else w + generator.uniform(0, 0.5, w.shape) for w in model.get_weights()]
    )
    return model


def outputs_with_the_same_weights(model: keras.Model, name: str, images: np.ndarray) -> np.ndarray:
    """Return what a symbolic network gives with the weights of `ready(name)`."""
    weights = ready(name).trainable_variables, ready(name).non_trainable_variables
    return keras.ops.convert_to_numpy(model.stateless_call(*weights, images, training=False)[0])


def outputs(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(images, training=False))


@pytest.fixture(scope="module", autouse=True)
def forget_networks() -> Iterator[None]:
    """Free the networks after the module, because they slow down every garbage collection."""
    yield
    ready.cache_clear()


@pytest.fixture
def images(rng) -> np.ndarray:
    return rng.integers(0, 256, (4, 32, 32, 3)).astype("float32")


@every_name
def test_the_output_is_a_probability_for_each_class(name, images, symbolic) -> None:
    """The outputs are as many as the classes and sum to one."""
    model = symbolic(BUILDERS[name], (32, 32, 3), 7)
    probabilities = outputs_with_the_same_weights(model, name, scale(images, "torch"))

    assert (4, 7) == probabilities.shape
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@every_name
def test_classifier_activation_none_gives_logits(name) -> None:
    """The last layer is then linear."""
    assert ready(name).layers[-1].activation is keras.activations.linear


@every_builder
def test_one_sigmoid_unit_tells_two_classes(build, symbolic) -> None:
    """A single sigmoid unit can represent two classes."""
    model = symbolic(build, (32, 32, 3), 1, classifier_activation="sigmoid")

    assert (None, 1) == model.output_shape
    assert model.layers[-1].activation is keras.activations.sigmoid


@every_name
def test_n_classes_may_be_of_numpy(name) -> None:
    """The layer keeps a plain int, which a file can hold."""
    model = ready(name)

    assert (None, 7) == model.output_shape
    assert int is type(model.layers[-1].units)


@pytest.mark.parametrize("name", BUILDERS)
def test_without_top_the_model_ends_with_feature_maps(name, symbolic) -> None:
    """`include_top=False` leaves maps of height and width."""
    shape = (LEAST_SIZES[name], LEAST_SIZES[name], 3)

    assert 4 == len(symbolic(BUILDERS[name], shape, 7, include_top=False).output_shape)


@pytest.mark.parametrize(
    ("name", "pooling", "kind"),
    [
        *((name, "avg", keras.layers.GlobalAveragePooling2D) for name in POOLED),
        *((name, "max", keras.layers.GlobalMaxPooling2D) for name in POOLED if name in FAMILIES),
    ],
)
def test_without_top_the_maps_can_be_pooled(name, pooling, kind, symbolic) -> None:
    """The model ends with a vector, pooled from feature maps."""
    model = symbolic(BUILDERS[name], (32, 32, 3), include_top=False, pooling=pooling)

    assert kind is type(model.layers[-1])
    assert (None, model.layers[-1].input.shape[-1]) == model.output_shape
    assert 4 == len(model.layers[-1].input.shape)


@pytest.mark.parametrize(
    ("pooling", "shape"), [("flatten", (4, 4, 64)), ("avg", (64,)), ("max", (64,))]
)
def test_without_top_simple_cnn_ends_with_maps_or_what_is_pooled_of_them(pooling, shape) -> None:
    """Feature maps are not flattened without dense layers."""
    model = simple_cnn((32, 32, 3), 7, include_top=False, pooling=pooling)

    assert (None, *shape) == model.output_shape


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"filters": 16}, TypeError, r"`filters` must be a list of whole numbers\. .* filters=16"),
        ({"filters": (16, 0)}, ValueError, r"`filters` must be a whole number of at least 1\."),
        ({"convs_per_block": 0}, ValueError, r"`convs_per_block` must be a whole number of at l"),
        ({"augmentation": [1]}, TypeError, r"`augmentation` must be a Keras layer.*keras\.Seq"),
        ({"augmentation": abs}, TypeError, r"`augmentation` must be a Keras layer or model, so"),
    ],
)
def test_what_makes_no_simple_cnn_is_refused(options, error, message) -> None:
    """A number in place of a list, zero filters, and a function that is not a layer."""
    with pytest.raises(error, match=message):
        simple_cnn((32, 32, 3), 7, **options)


@every_family
@pytest.mark.parametrize("include_top", [False, True])
def test_an_unknown_pooling_is_refused(name, include_top, symbolic) -> None:
    """A misspelled pooling is an error even if it would not be used."""
    with pytest.raises(ValueError, match=r"`pooling` must be one of .*Received: pooling='gap'"):
        symbolic(BUILDERS[name], (32, 32, 3), 7, include_top=include_top, pooling="gap")


# Flattened feature maps would need a known size.
OPEN = {"simple_cnn": {"pooling": "avg"}}


@pytest.mark.parametrize("name", BUILDERS)
def test_height_and_width_may_be_left_open(name, symbolic) -> None:
    """The outputs are as many as the classes whatever the size of the images."""
    model = symbolic(BUILDERS[name], (None, None, 3), 7, **OPEN.get(name, {}))

    assert (None, None, None, 3) == model.input_shape
    assert (None, 7) == model.output_shape


@pytest.mark.parametrize(
    ("name", "channels"), [*((name, 1) for name in FAMILIES), ("simple_cnn", 4)]
)
def test_images_of_several_sizes_and_of_other_channels_are_taken(name, channels, rng) -> None:
    """Images have one channel or four, and are wide or tall, if height and width are None."""
    model = BUILDERS[name]((None, None, channels), 7, **OPEN.get(name, {}))
    probabilities = np.concatenate(
        [outputs(model, rng.random((2, *size, channels))) for size in [(48, 33), (32, 40)]]
    )

    assert (4, 7) == probabilities.shape
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "none"])
def test_scaling_inside_equals_scaling_outside(mode, rng) -> None:
    """A model with `mode=` scales raw pixels as `scale` does."""
    options = {"classifier_activation": None}  # a softmax would hide small differences
    plain = simple_cnn((32, 32, 3), 7, **options)
    scaling = simple_cnn((32, 32, 3), 7, mode=mode, **options)
    scaling.set_weights(plain.get_weights())
    images = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)

    expected = outputs(plain, scale(images, mode))
    tolerance = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(outputs(scaling, images), expected, atol=tolerance)


@every_name
def test_every_builder_scales_inside(name, images, symbolic) -> None:
    """`mode=` reaches the network's first layers."""
    plain = symbolic(BUILDERS[name], (32, 32, 3), 7, classifier_activation=None)

    expected = outputs_with_the_same_weights(plain, name, scale(images, "torch"))
    tolerance = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(outputs(ready(name), images), expected, atol=tolerance)


# Of the others googlenet trains in test_auxiliary_outputs.py, and the rest have the same blocks.
@pytest.mark.parametrize("name", [*FAMILIES, "resnet50"])
def test_trainable_weights_train_and_frozen_ones_do_not(name, rng) -> None:
    """A step of Adam changes every trainable weight and no frozen one."""
    model = BUILDERS[name]((32, 32, 3), 3, mode="unit")
    weighted = [layer for layer in model.layers if layer.weights]
    for layer in weighted[1::3]:
        layer.trainable = False
    model.compile("adam", loss="categorical_crossentropy", run_eagerly=True)
    frozen = [weight for layer in weighted[1::3] for weight in layer.weights]
    trainable = model.trainable_weights
    before = [weight.numpy() for weight in frozen + trainable]
    images, targets = rng.integers(0, 256, (4, 32, 32, 3)), np.eye(3)[[0, 1, 2, 0]]
    model.train_on_batch(images, targets)

    same = [
        weight.path
        for weight, old in zip(frozen + trainable, before, strict=True)
        if np.array_equal(old, weight.numpy())
    ]
    assert [weight.path for weight in frozen] == same


MODULE = r'"module": "([^"]+)"'  # of a class, in the description of a model
OPEN_WITHOUT_CNNKIT = """
import sys
sys.modules["cnnkit"] = None  # an import of it would fail
import keras, numpy as np
from pathlib import Path
folder = Path(sys.argv[1])
images = np.load(folder / "images.npy")
for path in folder.glob("*.keras"):
    np.save(path.with_suffix(".npy"), keras.saving.load_model(path)(images, training=False))
"""


def small_models() -> dict[str, keras.Model]:
    """Return models with other layers: the other kind of scaling, and min pooling."""
    inputs = keras.Input((32, 32, 3))
    options = {"mode": "caffe", "batch_norm": True, "separable": True, "l2": 1e-4, "dropout": 0.5}
    return {
        "caffe": simple_cnn((32, 32, 3), 4, augmentation=keras.layers.RandomFlip(), **options),
        "min_pooling": keras.Model(inputs, min_pooling(inputs, 3, strides=2, padding="same")),
    }


def test_saved_models_open_where_cnnkit_is_not_installed(tmp_path: Path, images) -> None:
    """Only Keras is needed to open a network, and the outputs are the same."""
    models = {name: ready(name) for name in ("resnet18", "simple_cnn")} | small_models()
    np.save(tmp_path / "images.npy", images)
    for name, model in models.items():
        model.save(tmp_path / f"{name}.keras")
    subprocess.run([sys.executable, "-P", "-c", OPEN_WITHOUT_CNNKIT, str(tmp_path)], check=True)

    differences = {
        name: np.abs(np.load(tmp_path / f"{name}.npy") - outputs(model, images)).max()
        for name, model in models.items()
    }
    assert dict.fromkeys(models, 0) == pytest.approx(differences, abs=1e-5)


@every_builder
def test_a_network_is_made_of_nothing_but_keras(build, symbolic) -> None:
    """All classes that a saved network names are classes of Keras."""
    description = symbolic(build, (32, 32, 3), 7, mode="torch").to_json()

    assert {"keras"} == {name.split(".")[0] for name in re.findall(MODULE, description)}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=() if n in ("simple_cnn", "resnet18") else pytest.mark.slow)
        for n in BUILDERS
    ],
)
def test_an_exported_model_serves_the_same_outputs(name, tmp_path: Path, images) -> None:
    """A SavedModel needs no Keras either."""
    import tensorflow as tf

    ready(name).export(tmp_path, verbose=False)
    opened = tf.saved_model.load(tmp_path)

    expected = outputs(ready(name), images)
    np.testing.assert_allclose(opened.serve(images), expected, rtol=0, atol=1e-4 * expected.std())


# Keras's converter asks whether NumPy still has `object`.
@pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning")
@every_family
def test_an_onnx_file_gives_the_same_outputs(name, tmp_path: Path, images) -> None:
    """Each family can be exported to ONNX, with a batch of any size."""
    pytest.importorskip("tf2onnx")
    runtime = pytest.importorskip("onnxruntime")
    expected = outputs(ready(name), images)  # Keras wants a call before it exports to ONNX
    ready(name).export(tmp_path / "model.onnx", format="onnx", verbose=False)
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    [taken] = session.get_inputs()
    [actual] = session.run(None, {taken.name: images})

    assert [32, 32, 3] == taken.shape[1:]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * expected.std())


@pytest.fixture
def set_policy() -> Iterator[Callable[[str], None]]:
    """Return a function that sets the dtype policy, and restore the policy afterwards."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@every_builder
def test_mixed_precision_is_inside_only(build, set_policy, symbolic) -> None:
    """Convolutions compute in half precision; scaling and the last layer in float32."""
    set_policy("mixed_bfloat16")
    model = symbolic(build, (32, 32, 3), 7, mode="torch")
    convolutions = {
        layer.compute_dtype for layer in model.layers if isinstance(layer, keras.layers.Conv2D)
    }

    assert {"bfloat16"} == convolutions
    assert ["float32"] * 2 == [
        layer.compute_dtype for layer in (model.get_layer("scale_torch"), model.layers[-1])
    ]


# Of the others each has the layers of one of these.
@pytest.mark.parametrize("name", [*FAMILIES, "resnet50"])
@pytest.mark.parametrize(("half", "largest"), [("bfloat16", 0.1), ("float16", 0.02)])
def test_outputs_in_mixed_precision_are_near_the_exact_ones(
    name, half, largest, set_policy, images, symbolic
) -> None:
    """The outputs are float32 and differ only by the rounding of half precision."""
    expected = outputs(ready(name), images)
    set_policy(f"mixed_{half}")
    options = {"mode": "torch", "classifier_activation": None}
    model = symbolic(BUILDERS[name], (32, 32, 3), 7, **options)
    actual = outputs_with_the_same_weights(model, name, images)

    assert np.float32 == actual.dtype
    assert np.isfinite(actual).all()
    assert np.abs(actual - expected).mean() <= largest * np.abs(expected).mean()


def test_caffe_scaling_is_exact_in_mixed_precision(set_policy, images) -> None:
    """bfloat16 cannot represent pixels minus a mean of 103.939."""
    set_policy("mixed_bfloat16")
    model = simple_cnn((32, 32, 3), 4, mode="caffe")
    scaled = keras.Model(model.input, model.get_layer("scale_caffe").output)

    np.testing.assert_allclose(outputs(scaled, images), scale(images, "caffe"), atol=1e-4)


@every_builder
def test_layer_names_are_unique(build, symbolic) -> None:
    """`load_weights` finds layers by name."""
    names = [layer.name for layer in leaf_layers(symbolic(build, (32, 32, 3), 7, mode="torch"))]

    assert sorted(set(names)) == sorted(names)


@every_family
def test_two_of_a_family_stand_in_one_model_by_name(name, symbolic, no_values) -> None:
    """The names of the two models tell them apart."""
    titles = ["left", "right"]
    two = [symbolic(BUILDERS[name], (32, 32, 3), 4, name=title) for title in titles]
    inputs = keras.Input((32, 32, 3))
    with no_values():
        model = keras.Model(inputs, [one(inputs) for one in two])

    assert titles == [layer.name for layer in model.layers[1:]]


# A name is all that tells two networks apart in a file, whatever the family.
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == "simple_cnn" else pytest.mark.slow) for n in FAMILIES]
)
def test_a_file_keeps_the_weights_of_two_of_a_family_apart(name, tmp_path: Path, images) -> None:
    """Both have the same outputs as before saving."""
    first, second = (
        BUILDERS[name]((32, 32, 3), 4, name=title, classifier_activation=None)
        for title in ("left", "right")
    )
    inputs = keras.Input((32, 32, 3))
    keras.Model(inputs, [first(inputs), second(inputs)]).save(tmp_path / "both.keras")
    opened = keras.saving.load_model(tmp_path / "both.keras")
    left, right = outputs(first, images), outputs(second, images)

    assert not np.allclose(left, right)
    for expected, actual in zip((left, right), opened(images), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * expected.std())


@every_family
def test_one_softmax_unit_is_refused(name, symbolic) -> None:
    """A softmax over one unit would always be 1."""
    with pytest.raises(ValueError, match="needs classifier_activation='sigmoid'.*always 1"):
        symbolic(BUILDERS[name], (32, 32, 3), 1)


@every_family
@pytest.mark.parametrize("n_classes", [0, -1, True])
def test_n_classes_below_one_is_refused(name, n_classes, symbolic) -> None:
    """The number of classes is a whole number of at least one."""
    with pytest.raises(ValueError, match=r"`n_classes` must be a whole number of at least 1"):
        symbolic(BUILDERS[name], (32, 32, 3), n_classes)


@every_family
def test_n_classes_of_another_type_is_refused(name, symbolic) -> None:
    """The number of classes is a whole number."""
    with pytest.raises(TypeError, match=r"`n_classes` must be a whole number. Received: n_cl.*2.5"):
        symbolic(BUILDERS[name], (32, 32, 3), 2.5)


@every_builder
def test_an_unknown_mode_is_refused(build) -> None:
    """A mode must be in the table."""
    with pytest.raises(ValueError, match=r"`mode` must be one of .*Received: mode='torh'. Did you"):
        build((32, 32, 3), 3, mode="torh")


@every_builder
def test_an_input_that_is_no_image_is_refused(build) -> None:
    """The input has three axes."""
    with pytest.raises(ValueError, match=r"`input_shape` must be \(height, width, channels\)"):
        build((32, 32), 3)


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("smaller", ["height", "width"])
def test_an_input_too_small_is_refused_with_the_least_size(name, smaller) -> None:
    """The error says how large an image must be."""
    least = LEAST_SIZES[name]
    input_shape = (least - 1, 64, 3) if smaller == "height" else (None, least - 1, 3)
    message = (
        rf"`input_shape` must be at least {least} pixels.*"
        rf"Received: input_shape=\({input_shape[0]}, {input_shape[1]}, 3\)\. Enlarge the images"
    )
    with pytest.raises(ValueError, match=message):
        BUILDERS[name](input_shape, 3)


@pytest.mark.parametrize("name", BUILDERS)
def test_the_least_size_is_large_enough(name, symbolic) -> None:
    """The last feature maps are at least 1x1."""
    shape = (LEAST_SIZES[name], LEAST_SIZES[name], 3)
    model = symbolic(BUILDERS[name], shape, 7, include_top=False)

    assert 1 <= min(model.output_shape[1:3])


@every_builder
def test_a_mode_of_three_channels_refuses_grayscale(build) -> None:
    """The ImageNet statistics are for RGB images."""
    with pytest.raises(
        ValueError, match=r"`mode='torch'` scales each of three RGB.*images with 1 channel"
    ):
        build((32, 32, 1), 3, mode="torch")
