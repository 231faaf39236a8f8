"""What every builder must do, whatever it builds."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from cnnkit.models import googlenet, resnet, simple_cnn, vggnet
from cnnkit.preprocess import scale
from cnnkit.preprocess._scaling import MODES

BUILDERS = {
    "vggnet": lambda *args, **options: vggnet(*args, depth=11, batch_norm=True, **options),
    "googlenet": googlenet,
    "resnet18": lambda *args, **options: resnet(*args, depth=18, **options),
    "resnet50": resnet,
    "resnet_cifar": lambda *args, **options: resnet(*args, depth=18, stem="cifar", **options),
    "simple_cnn": simple_cnn,
}
every_builder = pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)


@every_builder
def test_the_output_is_a_probability_for_each_class(build, rng) -> None:
    """The outputs are as many as the classes and sum to one."""
    probabilities = build((32, 32, 3), 7).predict_on_batch(rng.random((2, 32, 32, 3)))

    assert (2, 7) == probabilities.shape
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@every_builder
def test_classifier_activation_none_gives_logits(build) -> None:
    """The last layer is linear if asked for."""
    model = build((32, 32, 3), 7, classifier_activation=None)

    assert model.layers[-1].activation is keras.activations.linear


@every_builder
def test_without_top_the_model_ends_with_feature_maps(build) -> None:
    """`include_top=False` leaves maps of height and width."""
    assert len(build((32, 32, 3), 7, include_top=False).output_shape) == 4


@pytest.mark.parametrize(
    ("build", "mode"),
    [
        *((simple_cnn, mode) for mode in MODES if mode != "none"),
        *((build, "caffe") for build in BUILDERS.values()),
    ],
)
def test_scaling_inside_equals_scaling_outside(build, mode, rng) -> None:
    """A model with `mode=` does to raw pixels what `scale` would do before."""
    options = {"classifier_activation": None}  # a softmax would hide small differences
    plain = build((32, 32, 3), 7, **options)
    scaling = build((32, 32, 3), 7, mode=mode, **options)
    scaling.set_weights(plain.get_weights())
    images = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)

    expected = plain.predict_on_batch(scale(images, mode))
    tolerance = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(scaling.predict_on_batch(images), expected, atol=tolerance)


@every_builder
def test_every_trainable_weight_trains(build, rng) -> None:
    """Five steps of Adam change every trainable weight."""
    model = build((32, 32, 3), 3, mode="unit")
    model.compile("adam", loss="categorical_crossentropy", run_eagerly=True)
    before = [weight.numpy() for weight in model.trainable_weights]
    images, targets = rng.integers(0, 256, (8, 32, 32, 3)), np.eye(3)[rng.integers(0, 3, 8)]
    model.fit(images, targets, epochs=5, batch_size=8, verbose=0)

    unchanged = [
        weight.path
        for weight, old in zip(model.trainable_weights, before, strict=True)
        if np.array_equal(old, weight.numpy())
    ]
    assert [] == unchanged


OPEN_WITHOUT_CNNKIT = """
import sys
sys.modules["cnnkit"] = None  # an import of it would fail
import keras, numpy as np
model = keras.saving.load_model(sys.argv[1])
images = np.load(sys.argv[2])
np.save(sys.argv[3], model.predict_on_batch(images))
"""


@pytest.mark.parametrize("mode", ["caffe", "torch"])
def test_a_saved_model_opens_where_cnnkit_is_not_installed(mode, tmp_path: Path, rng) -> None:
    """Only Keras is needed to open a model that scales inside."""
    model = simple_cnn((16, 16, 3), 4, mode=mode, batch_norm=True, separable=True)
    images = rng.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    files = [str(tmp_path / name) for name in ("model.keras", "images.npy", "outputs.npy")]
    model.save(files[0])
    np.save(files[1], images)
    subprocess.run([sys.executable, "-P", "-c", OPEN_WITHOUT_CNNKIT, *files], check=True)

    np.testing.assert_allclose(np.load(files[2]), model.predict_on_batch(images), atol=1e-6)


@every_builder
def test_one_softmax_unit_is_refused(build) -> None:
    """A softmax over one unit would always be 1."""
    with pytest.raises(ValueError, match="needs classifier_activation='sigmoid'.*always 1"):
        build((32, 32, 3), 1)


@every_builder
@pytest.mark.parametrize("n_classes", [0, -1, True])
def test_n_classes_below_one_is_refused(build, n_classes) -> None:
    """The number of classes is a whole number of at least one."""
    with pytest.raises(ValueError, match=r"`n_classes` must be a whole number of at least 1"):
        build((32, 32, 3), n_classes)


@every_builder
def test_n_classes_of_another_type_is_refused(build) -> None:
    """The number of classes is no fraction."""
    with pytest.raises(TypeError, match=r"`n_classes` must be a whole number. Received: n_cl.*2.5"):
        build((32, 32, 3), 2.5)


@every_builder
def test_an_unknown_mode_is_refused(build) -> None:
    """A mode must be one of the table's."""
    with pytest.raises(ValueError, match=r"`mode` must be one of .*Received: mode='torh'. Did you"):
        build((32, 32, 3), 3, mode="torh")


@every_builder
def test_an_input_that_is_no_image_is_refused(build) -> None:
    """The input has three axes."""
    with pytest.raises(ValueError, match=r"`input_shape` must be \(height, width, channels\)"):
        build((32, 32), 3)


@every_builder
def test_an_input_too_small_is_refused_with_the_least_size(build) -> None:
    """The error says how large an image must be."""
    with pytest.raises(ValueError, match=r"`input_shape` must be at least \d+ pixels.*Enlarge"):
        build((7, 64, 3), 3)


@every_builder
def test_a_mode_of_three_channels_refuses_grayscale(build) -> None:
    """The ImageNet statistics are those of RGB."""
    with pytest.raises(
        ValueError, match=r"`mode='torch'` scales each of three RGB.*images with 1 channel"
    ):
        build((32, 32, 1), 3, mode="torch")
