"""GoogLeNet: torchvision's against PyTorch, the paper's against its table, heads and modules."""

import keras
import numpy as np
import pytest

from cnnkit.models import googlenet, inception_module, load_weights
from cnnkit.preprocess import scale

FILTERS = {
    "filters_1x1": 2,
    "filters_3x3_reduce": 3,
    "filters_3x3": 4,
    "filters_5x5_reduce": 5,
    "filters_5x5": 6,
    "filters_pool_reduce": 7,
}
OPEN = (None, None, 3)
NAMES = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj")


def count(weights) -> int:
    return sum(int(np.prod(weight.shape)) for weight in weights)


def symbolic(*args, **options) -> keras.Model:
    """Build a network for its shapes only, without the values of its weights."""
    with keras.StatelessScope(initialize_variables=False):
        return googlenet(*args, **options)


def inputs_of(model: keras.Model, name: str) -> list[str]:
    """Return the names of the layers that a layer takes its input from."""
    node = model.get_layer(name)._inbound_nodes[0]
    return [x._keras_history.operation.name for x in node.input_tensors]


def torch_googlenet(nn, table) -> object:
    """Write torchvision's network in PyTorch, for 10 classes, in inference."""
    import torch

    class BasicConv2d(nn.Module):
        def __init__(self, channels, filters, size, stride=1, padding=0):
            super().__init__()
            self.conv = nn.Conv2d(channels, filters, size, stride, padding, bias=False)
            self.bn = nn.BatchNorm2d(filters, eps=0.001)

        def forward(self, x):
            return torch.relu(self.bn(self.conv(x)))

    class Inception(nn.Module):
        def __init__(self, channels, ones, reduce3, threes, reduce5, fives, pool):
            super().__init__()
            self.branch1 = BasicConv2d(channels, ones, 1)
            self.branch2 = nn.Sequential(
                BasicConv2d(channels, reduce3, 1), BasicConv2d(reduce3, threes, 3, padding=1)
            )
            self.branch3 = nn.Sequential(
                BasicConv2d(channels, reduce5, 1), BasicConv2d(reduce5, fives, 3, padding=1)
            )
            self.branch4 = nn.Sequential(
                nn.MaxPool2d(3, 1, padding=1, ceil_mode=True), BasicConv2d(channels, pool, 1)
            )

        def forward(self, x):
            branches = self.branch1, self.branch2, self.branch3, self.branch4
            return torch.cat([branch(x) for branch in branches], dim=1)

    class GoogLeNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = BasicConv2d(3, 64, 7, stride=2, padding=3)
            self.conv2 = BasicConv2d(64, 64, 1)
            self.conv3 = BasicConv2d(64, 192, 3, padding=1)
            for title, filters in table.items():
                setattr(self, f"inception{title}", Inception(*filters))
            self.fc = nn.Linear(1024, 10)

        def forward(self, x):
            pool = nn.MaxPool2d(3, 2, ceil_mode=True)
            x = pool(self.conv3(self.conv2(pool(self.conv1(x)))))
            x = pool(self.inception3b(self.inception3a(x)))
            for title in ("4a", "4b", "4c", "4d", "4e"):
                x = getattr(self, f"inception{title}")(x)
            x = nn.MaxPool2d(2, 2, ceil_mode=True)(x)
            return self.fc(self.inception5b(self.inception5a(x)).mean((2, 3)))

    return GoogLeNet().eval()


@pytest.fixture(scope="module")
def reference(inception_table, torchvision_state):
    """Return what PyTorch computes of images `(batch, height, width, 3)`."""
    torch = pytest.importorskip("torch")
    network = torch_googlenet(torch.nn, inception_table)
    network.load_state_dict(
        {
            name: torch.from_numpy(array)
            for name, array in torchvision_state.items()
            if not name.startswith("aux")
        }
    )

    def predict(images):
        with torch.no_grad():
            batch = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
            return network(batch).numpy()

    return predict


@pytest.fixture(scope="module")
def torch_file(torchvision_state, tmp_path_factory):
    """Return the path of the same weights, written by NumPy."""
    path = tmp_path_factory.mktemp("state") / "googlenet.npz"
    np.savez(path, **torchvision_state)
    return path


@pytest.fixture(scope="module")
def torchvision(torch_file):
    """Return our network with these weights, for images of any size."""
    model = googlenet(OPEN, variant="torchvision", classifier_activation=None)
    load_weights(model, torch_file)
    return model


class TestTorchvision:
    """`variant="torchvision"` computes what PyTorch computes with the same weights."""

    @pytest.mark.parametrize(
        "size", [(224, 224), (225, 225), (97, 130), (64, 64), (32, 33), (38, 111)]
    )
    def test_logits_equal_those_of_pytorch(self, reference, torchvision, rng, size) -> None:
        """They differ by no more than 5e-5 of their standard deviation, whatever the size."""
        images = rng.standard_normal((2, *size, 3)).astype("float32")

        expected = reference(images)
        np.testing.assert_allclose(
            torchvision.predict_on_batch(images), expected, rtol=0, atol=5e-5 * expected.std()
        )

    def test_scaling_tf_is_torchvisions_transform_input(self, reference, torch_file, rng) -> None:
        """The scaling inside is that of torchvision's published weights."""
        model = googlenet(
            OPEN, variant="torchvision", classifier_activation=None, mode="tf", weights=torch_file
        )
        images = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
        mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        # torchvision.models.GoogLeNet._transform_input
        transformed = scale(images, "torch") * (deviation / 0.5) + (mean - 0.5) / 0.5

        expected = reference(transformed.astype("float32"))
        np.testing.assert_allclose(
            model.predict_on_batch(images), expected, rtol=0, atol=5e-5 * expected.std()
        )

    def test_parameters_are_torchvisions(self) -> None:
        """It has 6,624,904 parameters that train at 1000 classes."""
        model = symbolic(n_classes=1000, variant="torchvision")

        assert 6_624_904 == count(model.trainable_weights)

    def test_softmax_follows_the_logits(self, torchvision, rng) -> None:
        """With its default activation the network gives the softmax of its logits."""
        softmax = googlenet(OPEN, variant="torchvision")
        load_weights(softmax, torchvision)
        images = rng.standard_normal((2, 64, 64, 3)).astype("float32")
        powers = np.exp(torchvision.predict_on_batch(images).astype("float64"))

        expected = powers / powers.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(softmax.predict_on_batch(images), expected, rtol=1e-4, atol=1e-7)

    def test_auxiliary_outputs_are_not_loaded(self, torchvision, torch_file, rng) -> None:
        """As the docstring says, the weights are taken and the auxiliary heads start fresh."""
        with_heads = googlenet(
            (96, 96, 3),
            variant="torchvision",
            aux_outputs=True,
            classifier_activation=None,
            weights=torch_file,
        )
        images = rng.standard_normal((2, 96, 96, 3)).astype("float32")

        expected = torchvision.predict_on_batch(images)
        actual = with_heads.predict_on_batch(images)[0]
        np.testing.assert_allclose(actual, expected, rtol=0, atol=5e-5 * expected.std())


@pytest.fixture(scope="module")
def paper():
    """Return the network, for its shapes only."""
    return symbolic()


class TestPaper:
    """`variant="paper"` is the paper's table 1."""

    TITLES = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")

    @pytest.mark.parametrize("title", TITLES)
    def test_a_module_has_the_weights_of_its_row(self, inception_table, paper, title) -> None:
        """Kernels and biases of the six convolutions are as many as the table's figures give."""
        channels, ones, reduce3, threes, reduce5, fives, pool = inception_table[title]
        layers = [layer for layer in paper.layers if layer.name.startswith(f"inception_{title}_")]

        expected = (
            (channels + 1) * (ones + reduce3 + reduce5 + pool)
            + (9 * reduce3 + 1) * threes
            + (25 * reduce5 + 1) * fives
        )
        assert expected == sum(layer.count_params() for layer in layers)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("conv1_7x7_s2", (49 * 3 + 1) * 64),
            ("conv2_3x3_reduce", (64 + 1) * 64),
            ("conv2_3x3", (9 * 64 + 1) * 192),
            ("predictions", (1024 + 1) * 10),
        ],
    )
    def test_the_stem_and_the_head_have_their_weights(self, paper, name, expected) -> None:
        """What stands around the modules has the weights that the table's figures give."""
        assert expected == paper.get_layer(name).count_params()

    @pytest.mark.parametrize("number", range(1, 9))
    def test_modules_stand_in_the_order_of_the_table(self, paper, number) -> None:
        """A module takes what the module before it gives, or what the pool between makes of it."""
        pools = {"4a": "pool3_3x3_s2", "5a": "pool4_3x3_s2"}
        title = self.TITLES[number]
        source = pools.get(title, f"inception_{self.TITLES[number - 1]}")
        branches = ("1x1", "3x3_reduce", "5x5_reduce", "pool")

        inputs = [inputs_of(paper, f"inception_{title}_{branch}") for branch in branches]
        assert 4 * [[source]] == inputs

    def test_every_convolution_is_followed_by_relu(self, paper) -> None:
        """The paper: all the convolutions use rectified linear activation."""
        kinds = [layer for layer in paper.layers if isinstance(layer, keras.layers.Conv2D)]

        assert 57 * ["relu"] == [layer.activation.__name__ for layer in kinds]

    def test_the_head_averages_and_drops(self, paper) -> None:
        """Average pooling, 40 % dropout, one linear layer and softmax."""
        kinds = [type(layer).__name__ for layer in paper.layers[-3:]]

        assert ["GlobalAveragePooling2D", "Dropout", "Dense"] == kinds
        assert 0.4 == paper.layers[-2].rate


@pytest.fixture(scope="module")
def batch_norm():
    """Return the network, for its shapes only."""
    return symbolic(n_classes=1000, variant="batch_norm")


class TestBatchNorm:
    """`variant="batch_norm"` is the paper's network with BatchNorm behind each convolution."""

    def test_batch_norm_and_relu_follow_every_convolution(self, batch_norm) -> None:
        """Behind a convolution stands BatchNorm of epsilon 1e-3, and behind that ReLU."""
        convolutions = [x.name for x in batch_norm.layers if isinstance(x, keras.layers.Conv2D)]
        found = [
            (
                batch_norm.get_layer(f"{name}_bn").epsilon,
                inputs_of(batch_norm, f"{name}_bn"),
                batch_norm.get_layer(f"{name}_relu").activation.__name__,
                inputs_of(batch_norm, f"{name}_relu"),
            )
            for name in convolutions
        ]

        assert 57 == len(convolutions)
        assert [(1e-3, [name], "relu", [f"{name}_bn"]) for name in convolutions] == found

    def test_no_convolution_is_used_but_through_its_batch_norm(self, batch_norm) -> None:
        """Neither the bare convolution nor BatchNorm without ReLU goes on."""
        ours = {x.name for x in batch_norm.layers if isinstance(x, keras.layers.Conv2D)}
        bare = ours | {f"{name}_bn" for name in ours}
        others = [x.name for x in batch_norm.layers if not x.name.endswith(("_bn", "_relu"))]

        assert not bare & {source for name in others[1:] for source in inputs_of(batch_norm, name)}

    def test_the_parameters_are_the_papers_without_biases(
        self, inception_table, batch_norm
    ) -> None:
        """A bias goes and four figures of BatchNorm come for each channel of a convolution."""
        channels = 64 + 64 + 192 + sum(sum(row[1:]) for row in inception_table.values())

        assert 6_998_552 + (4 - 1) * channels == batch_norm.count_params()
        assert 6_998_552 + (2 - 1) * channels == count(batch_norm.trainable_weights)

    def test_shapes_are_the_papers(self, batch_norm) -> None:
        """The maps of every layer that both variants have are of one shape."""
        paper = {layer.name: layer.output.shape for layer in symbolic(n_classes=1000).layers[1:]}

        assert paper == {name: batch_norm.get_layer(name).output.shape for name in paper}


@pytest.mark.parametrize(
    ("variant", "nearest"),
    [("torchvison", "torchvision"), ("batchnorm", "batch_norm"), ("Paper", "paper")],
)
def test_an_unknown_variant_is_refused_with_the_nearest(variant, nearest) -> None:
    """The error lists the variants and names the nearest."""
    text = (
        r"^`variant` must be one of 'paper', 'batch_norm' or 'torchvision'\. "
        rf"Received: variant='{variant}'\. Did you mean '{nearest}'\?$"
    )

    with pytest.raises(ValueError, match=text):
        googlenet(variant=variant)


class TestAuxiliaryOutputs:
    """`aux_outputs=True` adds the paper's two classifiers."""

    def test_parameters(self) -> None:
        """With both heads there are 13,378,280 parameters at 1000 classes."""
        assert 13_378_280 == symbolic(n_classes=1000, aux_outputs=True).count_params()

    @pytest.mark.parametrize(("number", "source", "maps"), [(1, "4a", 512), (2, "4d", 528)])
    def test_shapes_are_those_of_the_paper(self, number, source, maps) -> None:
        """Section 5: 4x4x512 at 4a, 4x4x528 at 4d, 128 filters of 1x1, 1024 units, the classes."""
        model = symbolic(n_classes=1000, aux_outputs=True)
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
    def test_a_head_is_as_the_paper_says(self, number) -> None:
        """Both hidden layers are rectified, 70 % are dropped, and softmax comes last."""
        model = symbolic(aux_outputs=True)
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

    def test_the_main_output_comes_first(self) -> None:
        """The outputs are the main one, that at 4a and that at 4d."""
        model = symbolic((96, 96, 3), 7, aux_outputs=True)

        names = [x._keras_history.operation.name for x in model.outputs]
        assert ["predictions", "aux1_predictions", "aux2_predictions"] == names
        assert 3 * [(None, 7)] == [x.shape for x in model.outputs]

    @pytest.mark.parametrize("variant", ["batch_norm", "torchvision"])
    def test_other_variants_normalize_in_the_heads_too(self, variant) -> None:
        """The convolution of a head has BatchNorm where all the others have."""
        model = symbolic((96, 96, 3), aux_outputs=True, variant=variant)

        steps = ("aux1_conv_bn", "aux1_flatten", "aux2_conv_bn", "aux2_flatten")
        expected = ["aux1_conv", "aux1_conv_relu", "aux2_conv", "aux2_conv_relu"]
        assert expected == [inputs_of(model, name)[0] for name in steps]

    def test_classifier_activation_is_that_of_all_outputs(self) -> None:
        """None gives three outputs of logits."""
        model = symbolic((96, 96, 3), aux_outputs=True, classifier_activation=None)
        heads = ("predictions", "aux1_predictions", "aux2_predictions")

        assert 3 * ["linear"] == [model.get_layer(name).activation.__name__ for name in heads]

    def test_the_main_output_is_that_without_heads(self, rng) -> None:
        """The network up to its first output is the plain one."""
        model = googlenet((80, 80, 3), 5, aux_outputs=True)
        plain = googlenet((80, 80, 3), 5)
        load_weights(plain, keras.Model(model.inputs, model.outputs[0]))
        images = rng.standard_normal((2, 80, 80, 3)).astype("float32")

        expected = plain.predict_on_batch(images)
        np.testing.assert_array_equal(expected, model.predict_on_batch(images)[0])

    def test_training_moves_every_weight(self, rng) -> None:
        """Compiled with loss weights, the network trains up to its first layer and in each head."""
        model = googlenet((80, 80, 3), 3, aux_outputs=True)
        optimizer = keras.optimizers.SGD(1.0)
        model.compile(optimizer, 3 * ["categorical_crossentropy"], loss_weights=[1, 0.3, 0.3])
        before = [weight.copy() for weight in model.get_weights()]
        images = rng.random((8, 80, 80, 3)).astype("float32")

        model.train_on_batch(images, 3 * [np.eye(3)[np.arange(8) % 3]])

        still = [
            variable.path
            for variable, old, new in zip(model.weights, before, model.get_weights(), strict=True)
            if np.array_equal(old, new)
        ]
        assert [] == still

    def test_a_head_trains_only_what_leads_to_it(self, rng) -> None:
        """With the first output's loss weights at zero, nothing behind 4d moves."""
        model = googlenet((80, 80, 3), 3, aux_outputs=True)
        model.compile("sgd", loss=3 * ["categorical_crossentropy"], loss_weights=[0, 0, 1])
        names = ("inception_4d_1x1", "inception_4e_1x1", "aux1_fc", "aux2_fc")
        before = [model.get_layer(name).kernel.numpy().copy() for name in names]

        model.train_on_batch(rng.random((4, 80, 80, 3)), 3 * [np.eye(3)[[0, 1, 2, 0]]])

        after = [model.get_layer(name).kernel.numpy() for name in names]
        moved = [not np.array_equal(*pair) for pair in zip(before, after, strict=True)]
        assert [True, False, False, True] == moved

    def test_heads_need_the_head(self) -> None:
        """Without the main head there are none beside it."""
        text = (
            r"^`aux_outputs=True` needs include_top=True: they are heads beside the head\. "
            r"Received: include_top=False\.$"
        )

        with pytest.raises(ValueError, match=text):
            googlenet(aux_outputs=True, include_top=False)

    @pytest.mark.parametrize("shape", [(None, None, 3), (96, None, 3), (None, 96, 3)])
    def test_heads_need_height_and_width(self, shape) -> None:
        """Their dense layers have a weight for each place."""
        text = (
            r"^`input_shape` must give height and width for aux_outputs=True, whose dense layers "
            rf"have a weight for each place\. Received: input_shape=\({shape[0]}, {shape[1]}, 3\)"
            r"\.$"
        )

        with pytest.raises(ValueError, match=text):
            googlenet(shape, aux_outputs=True)

    @pytest.mark.parametrize("shape", [(79, 80, 3), (80, 79, 3)])
    def test_heads_need_80_pixels(self, shape) -> None:
        """The error says the least size."""
        text = (
            r"^`input_shape` must be at least 80 pixels high and wide for this network\. "
            rf"Received: input_shape=\({shape[0]}, {shape[1]}, 3\)\. Enlarge the images"
        )

        with pytest.raises(ValueError, match=text):
            googlenet(shape, aux_outputs=True)

    @pytest.mark.parametrize("variant", ["paper", "batch_norm", "torchvision"])
    def test_80_pixels_are_enough(self, variant) -> None:
        """At the least size a head has one place left."""
        model = symbolic((80, 80, 3), aux_outputs=True, variant=variant)

        assert (None, 1, 1, 512) == model.get_layer("aux1_pool").output.shape


class TestWeightsWithAuxiliaryHeads:
    """`skip_head=True` leaves all heads out, on either side."""

    @pytest.fixture
    def trained(self) -> keras.Model:
        return googlenet((80, 80, 3), 4, aux_outputs=True)

    def written(self, kind: str, model: keras.Model, folder) -> object:
        if kind == "model":
            return model
        if kind == ".keras":
            model.save(folder / "model.keras")
            return folder / "model.keras"
        model.save_weights(folder / "model.weights.h5")
        return folder / "model.weights.h5"

    @pytest.mark.parametrize("kind", ["model", ".keras", ".weights.h5"])
    def test_they_go_into_a_plain_network(self, kind, trained, tmp_path) -> None:
        """Convolutions of the extra heads are heads too."""
        model = googlenet((96, 96, 3), 3)
        report = load_weights(model, self.written(kind, trained, tmp_path), skip_head=True)

        assert ["predictions"] == report.skipped
        assert {"aux1_conv", "aux2_fc", "predictions"} <= set(report.unused)
        expected = trained.get_layer("inception_5b_1x1").get_weights()
        np.testing.assert_equal(expected, model.get_layer("inception_5b_1x1").get_weights())

    def test_a_plain_network_goes_into_one_with_heads(self, trained) -> None:
        """All heads of the new network stay fresh."""
        report = load_weights(trained, googlenet((96, 96, 3), 3), skip_head=True)

        assert {"aux1_conv", "aux2_predictions", "predictions"} <= set(report.skipped)
        assert ["predictions"] == report.unused

    def test_the_first_output_alone_is_the_plain_network(self, trained) -> None:
        """So its head can be kept where the classes are the same."""
        model = googlenet((80, 80, 3), 4)
        report = load_weights(model, keras.Model(trained.inputs, trained.outputs[0]))

        assert ([], []) == report[1:]
        assert "predictions" in report.loaded


class TestTooSmall:
    """Without the heads 32 pixels are enough."""

    @pytest.mark.parametrize("variant", ["paper", "batch_norm", "torchvision"])
    def test_32_pixels_are_enough(self, variant) -> None:
        """At the least size one place is left in the end."""
        model = symbolic((32, 32, 3), include_top=False, variant=variant)

        assert (None, 1, 1, 1024) == model.output_shape

    @pytest.mark.parametrize("shape", [(31, 32, 3), (32, 31, 3)])
    def test_31_pixels_are_refused(self, shape) -> None:
        """The error says the least size."""
        with pytest.raises(ValueError, match=r"^`input_shape` must be at least 32 pixels high"):
            googlenet(shape)


def convolved(x: np.ndarray, layer: keras.layers.Layer) -> np.ndarray:
    """Convolve an image with the kernel of a layer in float64, keep its size, add and rectify."""
    kernel, bias = (weight.astype("float64") for weight in layer.get_weights())
    size = kernel.shape[0]
    padded = np.pad(x, [(size // 2, size // 2)] * 2 + [(0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(0, 1))
    return np.maximum(np.einsum("hwcij,ijcf->hwf", windows, kernel) + bias, 0)


def pooled(x: np.ndarray) -> np.ndarray:
    """Take the largest of 3x3 places around each; what is outside never is."""
    padded = np.pad(x, [(1, 1), (1, 1), (0, 0)], constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1)).max((-2, -1))


class TestModule:
    """`inception_module` is the paper's figure 2b."""

    @pytest.fixture
    def model(self, rng):
        inputs = keras.Input((7, 9, 4))
        model = keras.Model(inputs, inception_module(inputs, **FILTERS, name="mixed"))
        model.set_weights([rng.standard_normal(x.shape) for x in model.get_weights()])
        return model

    def test_it_equals_float64_arithmetic(self, model, rng) -> None:
        """Four branches over the same maps, joined in the order of the paper's columns."""
        image = rng.standard_normal((7, 9, 4))
        conv = {name: model.get_layer(f"mixed_{name}") for name in NAMES}
        branches = [
            convolved(image, conv["1x1"]),
            convolved(convolved(image, conv["3x3_reduce"]), conv["3x3"]),
            convolved(convolved(image, conv["5x5_reduce"]), conv["5x5"]),
            convolved(pooled(image), conv["pool_proj"]),
        ]

        expected = np.concatenate(branches, axis=-1)
        actual = model.predict_on_batch(image[None].astype("float32"))[0]
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4 * expected.std())

    def test_layers_have_the_names_of_the_module(self, model) -> None:
        """The name is that of the concatenation and in front of all others."""
        expected = {"mixed", "mixed_pool", *(f"mixed_{name}" for name in NAMES)}

        assert expected == {layer.name for layer in model.layers[1:]}

    def test_its_names_are_those_of_the_network(self, model) -> None:
        """A module called as in the network takes the network's weights."""
        network = symbolic((32, 32, 3))
        inputs = keras.Input((4, 4, 192))
        x = inception_module(inputs, 64, 96, 128, 16, 32, 32, name="inception_3a")
        module = keras.Model(inputs, x)

        names = [layer.name for layer in module.layers[1:]]
        ours = [x.name for x in network.layers if x.name.startswith("inception_3a")]
        assert sorted(ours) == sorted(names)

    @pytest.mark.parametrize("name", ["mixed", "mixed_3x3"])
    def test_a_name_that_is_taken_is_refused(self, name) -> None:
        """Two modules of one name would give layers of one name."""
        x = inception_module(keras.Input((8, 8, 4)), **FILTERS, name="mixed")
        x = keras.layers.ReLU()(x)
        text = (
            r"^`name` must be new to the network, because it names the layers\. Received: "
            rf"'{name}', which is there already\. Take another name\.$"
        )

        with pytest.raises(ValueError, match=text):
            inception_module(x, **FILTERS, name=name)

    def test_modules_of_several_names_follow_each_other(self) -> None:
        """A name that only begins alike is another."""
        inputs = keras.Input((8, 8, 4))
        x = inception_module(inputs, **FILTERS, name="mixed1")
        x = inception_module(x, **FILTERS, name="mixed")

        assert (None, 8, 8, 2 + 4 + 6 + 7) == keras.Model(inputs, x).output_shape

    def test_modules_without_a_name_follow_each_other(self) -> None:
        """Keras numbers the layers then."""
        inputs = keras.Input((8, 8, 4))
        x = inception_module(inception_module(inputs, **FILTERS), **FILTERS)

        assert 2 * 8 == len(keras.Model(inputs, x).layers[1:])

    @pytest.mark.parametrize("name", [None, "mixed"])
    @pytest.mark.parametrize("shape", [(16,), (8, 16), (4, 8, 8, 16)])
    def test_other_ranks_are_refused(self, name, shape) -> None:
        """A module wants feature maps."""
        received = ", ".join(map(str, (None, *shape)))
        text = (
            r"^`x` must hold feature maps \(batch, height, width, channels\)\. "
            rf"Received: a tensor of shape \({received}\)\.$"
        )

        with pytest.raises(ValueError, match=text):
            inception_module(keras.Input(shape), **FILTERS, name=name)
