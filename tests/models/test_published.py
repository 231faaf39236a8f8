"""`weights=` of the builders: the published weights, or a file. Nothing is downloaded here."""

from functools import cache

import keras
import numpy as np
import pytest

from cnnkit.models import googlenet, resnet, vggnet
from cnnkit.preprocess import mode_for, scale

TWINS = ("VGG16", "VGG19", "ResNet50", "ResNet101", "ResNet152")
ASKED = {
    "VGG16": (vggnet, {}),
    "VGG19": (vggnet, {"depth": 19}),
    "ResNet50": (resnet, {}),
    "ResNet101": (resnet, {"depth": 101}),
    "ResNet152": (resnet, {"depth": 152}),
}
BACKBONE = {"weights": "imagenet", "include_top": False}
WHOLE = {"weights": "imagenet", "include_top": True}
SMALL = (32, 32, 3)


class Requested(Exception):  # noqa: N818
    """What a builder asked keras.applications for."""


@pytest.fixture
def requests(monkeypatch):
    """Let keras.applications raise `Requested`, with its own name and arguments, and not build."""

    def stand_in(architecture):
        def build(**options):
            raise Requested(architecture, options)

        return build

    for architecture in TWINS:
        monkeypatch.setattr(keras.applications, architecture, stand_in(architecture))


def let_download(monkeypatch) -> list[keras.Model]:
    """Let keras.applications give networks of random weights as published, and list them."""
    given = []

    def stand_in(architecture, build):
        def download(*, weights, **options):
            assert "imagenet" == weights
            given.append(filled(build(weights=None, **options)))
            return given[-1]

        monkeypatch.setattr(keras.applications, architecture, download)

    for architecture in TWINS:
        stand_in(architecture, getattr(keras.applications, architecture))
    return given


@pytest.fixture
def downloads(monkeypatch):
    """Let keras.applications give networks of random weights, which are listed here."""
    return let_download(monkeypatch)


@pytest.fixture(scope="module", params=["VGG16", "ResNet50"])
def published(request):
    """Return the published network and ours with its weights, both without a head."""
    build, options = ASKED[request.param]
    with pytest.MonkeyPatch.context() as monkeypatch:
        given = let_download(monkeypatch)
        model = build((64, 48, 3), include_top=False, weights="imagenet", **options)
    (twin,) = given
    return twin, model


def outputs(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(images, training=False))


def filled(model: keras.Model) -> keras.Model:
    """Give a network random biases and statistics; it has random kernels."""
    generator = np.random.default_rng(5)
    weights = model.get_weights()
    model.set_weights([w if w.ndim > 1 else generator.uniform(0.5, 1.5, w.shape) for w in weights])
    return model


class TestPublished:
    """With weights="imagenet" a network computes what its twin in keras.applications computes."""

    def test_a_backbone(self, published, rng) -> None:
        """The feature maps are the twin's, bit for bit."""
        twin, model = published
        images = rng.random((2, 64, 48, 3), dtype="float32")

        expected = outputs(twin, images)
        assert expected.std() > 0
        np.testing.assert_array_equal(expected, outputs(model, images))

    def test_a_backbone_has_the_name_of_its_twin(self, published) -> None:
        """It has the same name as in keras.applications."""
        twin, model = published

        assert twin.name == model.name

    def test_a_backbone_has_the_mode_of_its_twin(self, published) -> None:
        """`mode_for` returns the scaling of the published weights."""
        twin, model = published

        assert "caffe" == mode_for(twin) == mode_for(model)

    def test_a_fresh_head(self, downloads, rng) -> None:
        """With other classes the feature maps are the published ones and the head is random."""
        images = rng.random((2, 32, 32, 3), dtype="float32")
        keras.utils.set_random_seed(1)
        fresh = vggnet(SMALL, 5, hidden_units=(7,))

        keras.utils.set_random_seed(1)
        model = vggnet(SMALL, 5, hidden_units=(7,), weights="imagenet")

        (twin,) = downloads
        maps = keras.Model(model.input, model.get_layer("block5_pool").output)
        np.testing.assert_array_equal(outputs(twin, images), outputs(maps, images))
        heads = [x.get_layer("fc1").get_weights() for x in (fresh, model)]
        heads += [x.get_layer("predictions").get_weights() for x in (fresh, model)]
        np.testing.assert_equal(heads[::2], heads[1::2])

    def test_the_whole_network(self, downloads, rng) -> None:
        """With the published 1000 classes the head is the twin's too, and so are the outputs."""
        images = rng.random((1, 224, 224, 3), dtype="float32")

        model = resnet(n_classes=1000, weights="imagenet")

        (twin,) = downloads
        expected = outputs(twin, images)
        assert (1, 1000) == expected.shape
        np.testing.assert_array_equal(expected, outputs(model, images))

    @pytest.mark.parametrize(
        ("mode", "expected"), [("none", "caffe"), ("caffe", "none"), ("tf", "none")]
    )
    def test_the_mode_is_found(self, downloads, mode, expected) -> None:
        """Without scaling inside the published weights want "caffe"; with, nothing outside."""
        model = vggnet(SMALL, 5, weights="imagenet", mode=mode)

        assert expected == mode_for(model)

    def test_scaling_inside(self, downloads, rng) -> None:
        """With mode="caffe" raw pixels give what the twin makes of scaled ones."""
        pixels = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)

        model = vggnet(SMALL, include_top=False, weights="imagenet", mode="caffe")

        expected = outputs(downloads[0], scale(pixels, "caffe"))
        np.testing.assert_allclose(
            outputs(model, pixels), expected, rtol=0, atol=1e-4 * expected.std()
        )

    @pytest.mark.parametrize("architecture", TWINS)
    def test_a_network_from_scratch_has_no_mode(self, architecture, no_values) -> None:
        """Nothing tells what a network without published weights was trained on."""
        build, options = ASKED[architecture]
        with no_values():
            model = build(SMALL, include_top=False, **options)

        with pytest.raises(ValueError, match=rf"named 'cnnkit_{architecture.lower()}' without"):
            mode_for(model)


class TestNames:
    """A network has Keras's name only where it carries the published weights."""

    @pytest.mark.parametrize("weights", [None, "imagenet"])
    def test_a_name_that_is_given(self, downloads, weights) -> None:
        """A given name is used."""
        model = vggnet(SMALL, include_top=False, weights=weights, name="mine")

        assert "mine" == model.name

    @pytest.mark.parametrize(
        ("build", "expected"),
        [
            (lambda **options: vggnet(SMALL, depth=11, **options), "cnnkit_vgg11"),
            (lambda **options: resnet(SMALL, depth=18, **options), "cnnkit_resnet18"),
            (lambda **options: resnet(SMALL, depth=101, **options), "cnnkit_resnet101"),
            (lambda **options: googlenet(SMALL, **options), "cnnkit_googlenet"),
        ],
        ids=["vgg11", "resnet18", "resnet101", "googlenet"],
    )
    def test_one_from_scratch(self, build, expected, no_values) -> None:
        """A network without published weights has another name."""
        with no_values():
            assert expected == build(include_top=False).name

    def test_one_from_a_file(self, tmp_path) -> None:
        """A network with weights from a file has another name too."""
        vggnet(SMALL, include_top=False).save_weights(tmp_path / "vgg16.weights.h5")

        model = vggnet(SMALL, include_top=False, weights=tmp_path / "vgg16.weights.h5")

        assert "cnnkit_vgg16" == model.name


@pytest.fixture
def request_of(no_values):
    """Return a function that tells what a builder asks keras.applications for."""

    def request(build, *args, **options) -> tuple:
        with no_values(), pytest.raises(Requested) as caught:
            build(*args, weights="imagenet", **options)
        return caught.value.args

    return request


@pytest.mark.usefixtures("requests")
class TestRequests:
    """The twin is asked for its head only where the head is the published one."""

    @pytest.mark.parametrize("architecture", TWINS)
    def test_the_twin_of_every_depth(self, architecture, request_of) -> None:
        """Each depth has its own twin."""
        build, options = ASKED[architecture]

        assert (architecture, BACKBONE) == request_of(build, SMALL, include_top=False, **options)

    @pytest.mark.parametrize("architecture", ["VGG16", "VGG19"])
    def test_the_head_of_a_vgg(self, architecture, request_of) -> None:
        """The paper's head at 224 pixels with 1000 classes is published."""
        build, options = ASKED[architecture]
        asked = request_of(build, (224, 224, 3), 1000, head="paper", **options)

        assert (architecture, WHOLE) == asked

    @pytest.mark.parametrize(
        "options",
        [
            {"n_classes": 1000},
            {"n_classes": 1000, "hidden_units": (4096, 4096)},
            {"n_classes": 999, "head": "paper"},
            {"n_classes": 1000, "head": "paper", "input_shape": (256, 256, 3)},
            {"n_classes": 1000, "head": "paper", "input_shape": (224, 256, 3)},
            {"n_classes": 1000, "head": "paper", "include_top": False},
        ],
    )
    def test_other_heads_of_a_vgg(self, options, request_of) -> None:
        """Any other head starts fresh."""
        shape = options.pop("input_shape", (224, 224, 3))

        assert ("VGG16", BACKBONE) == request_of(vggnet, shape, **options)

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"input_shape": (64, 96, 3)},
            {"input_shape": (None, None, 3)},
            {"dropout": 0.5},
            {"classifier_activation": None},
            {"mode": "caffe"},
        ],
    )
    def test_the_head_of_a_resnet(self, options, request_of) -> None:
        """Pooling makes it independent of the size, and dropout has no weights."""
        options = {"input_shape": SMALL, "n_classes": 1000} | options

        assert ("ResNet50", WHOLE) == request_of(resnet, **options)

    @pytest.mark.parametrize(
        "options",
        [
            {"n_classes": 1001},
            {"n_classes": 1000, "hidden_units": (120,)},
            {"n_classes": 1000, "include_top": False},
            {"n_classes": 1000, "include_top": False, "pooling": "avg"},
        ],
    )
    def test_other_heads_of_a_resnet(self, options, request_of) -> None:
        """Any other head starts fresh."""
        assert ("ResNet50", BACKBONE) == request_of(resnet, SMALL, **options)


@pytest.mark.usefixtures("requests")
class TestNotPublished:
    """What nobody publishes is refused, before a network is built or a file asked for."""

    @pytest.mark.parametrize(
        "options",
        [
            {"depth": 11, "batch_norm": False},
            {"depth": 13, "batch_norm": False},
            {"depth": 11, "batch_norm": True},
            {"depth": 16, "batch_norm": True},
            {"depth": 19, "batch_norm": True},
        ],
    )
    def test_vggs(self, options) -> None:
        """Keras publishes two depths, without BatchNorm."""
        text = (
            r"^`weights='imagenet'` is published for depth 16 and 19 without BatchNorm\. "
            rf"Received: depth={options['depth']}, batch_norm={options['batch_norm']}\. "
            r"Use weights=None to train from scratch\.$"
        )

        with pytest.raises(ValueError, match=text):
            vggnet(SMALL, weights="imagenet", **options)

    @pytest.mark.parametrize(
        "options",
        [
            {"depth": 18, "stem": "imagenet"},
            {"depth": 34, "stem": "imagenet"},
            {"depth": 50, "stem": "cifar"},
            {"depth": 152, "stem": "cifar"},
        ],
    )
    def test_resnets(self, options) -> None:
        """Keras publishes three depths, with the stem of the paper."""
        text = (
            r"^`weights='imagenet'` is published for depth 50, 101 and 152 with stem='imagenet'\. "
            rf"Received: depth={options['depth']}, stem='{options['stem']}'\. "
            r"Use weights=None to train from scratch\.$"
        )

        with pytest.raises(ValueError, match=text):
            resnet(SMALL, weights="imagenet", **options)

    @pytest.mark.parametrize("variant", ["paper", "batch_norm", "torchvision"])
    def test_googlenet(self, variant) -> None:
        """Keras has no GoogLeNet; the error names the file that torchvision has."""
        text = (
            r"^`weights='imagenet'` is not available for GoogLeNet, but torchvision publishes the "
            r"file googlenet-1378be20\.pth, whose path can be passed with "
            r"variant='torchvision'\. Received: weights='imagenet'\. "
            r"Use weights=None to train from scratch\.$"
        )

        with pytest.raises(ValueError, match=text):
            googlenet(SMALL, variant=variant, weights="imagenet")

    @pytest.mark.parametrize("build", [vggnet, resnet])
    @pytest.mark.parametrize("channels", [1, 4])
    def test_other_channels(self, build, channels) -> None:
        """The published weights need RGB, and the error says how to convert grayscale images."""
        text = (
            r"^`weights='imagenet'` needs three channels\. "
            rf"Received: input_shape=\(32, 32, {channels}\)\. Repeat a grayscale image three "
            r"times, for example with `to_grayscale\(image, keep_channels=True\)`\.$"
        )

        with pytest.raises(ValueError, match=text):
            build((32, 32, channels), weights="imagenet")


NETWORKS = {
    "vgg11": lambda n_classes=3, **options: vggnet(SMALL, n_classes, depth=11, **options),
    "resnet18": lambda n_classes=3, **options: resnet(SMALL, n_classes, depth=18, **options),
    "googlenet": lambda n_classes=3, **options: googlenet(SMALL, n_classes, **options),
}
every_network = pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a function that gives a network for three classes and the file of its weights."""

    @cache
    def file_of(build):
        network, path = filled(build()), tmp_path_factory.mktemp("files") / "saved.weights.h5"
        network.save_weights(path)
        return network, path

    return file_of


class TestFiles:
    """`weights=` takes a file, for any network."""

    @every_network
    def test_a_file(self, files, rng, build) -> None:
        """The new network computes what the saved one computes."""
        saved, path = files(build)
        images = rng.random((2, *SMALL), dtype="float32")

        model = build(weights=path)

        np.testing.assert_array_equal(outputs(saved, images), outputs(model, images))

    def test_a_path_may_be_text(self, files) -> None:
        """A path may be a str or a Path."""
        saved, path = files(NETWORKS["vgg11"])

        model = NETWORKS["vgg11"](weights=str(path))

        np.testing.assert_equal(saved.get_weights(), model.get_weights())

    @every_network
    def test_a_file_with_another_head(self, files, build, no_values) -> None:
        """The error says how the head can be left out."""
        _, path = files(build)
        text = (
            r"^The weights of 'predictions' must have the shapes .*\. `load_weights\(\.\.\., "
            r"skip_head=True\)` leaves the head out\.$"
        )

        with no_values(), pytest.raises(ValueError, match=text):
            build(4, weights=path)

    def test_a_file_without_a_head(self, files, tmp_path, no_values) -> None:
        """The error says how the head can be left out."""
        network, _ = files(NETWORKS["vgg11"])
        body = keras.Model(network.input, network.get_layer("block5_pool").output)
        body.save_weights(tmp_path / "saved.weights.h5")
        text = r"predictions without weights\. `load_weights\(\.\.\., skip_"

        with no_values(), pytest.raises(ValueError, match=text):
            NETWORKS["vgg11"](weights=tmp_path / "saved.weights.h5")

    @every_network
    def test_a_missing_file(self, tmp_path, build, no_values) -> None:
        """A file that isn't there is named."""
        with (
            no_values(),
            pytest.raises(FileNotFoundError, match=r"must be a file that exists.*no\.keras"),
        ):
            build(weights=tmp_path / "no.keras")

    @every_network
    def test_a_word_that_is_no_file(self, build, no_values) -> None:
        """The error for a mistyped word names the argument that the user passed."""
        with no_values(), pytest.raises(ValueError, match="`weights` must be .*'imagnet'"):
            build(weights="imagnet")
