"""GoogLeNet against the paper: its table, its head, and BatchNorm after each convolution."""

from networks import count, inputs_of


import keras
import pytest

from cnnkit.models import googlenet


@pytest.fixture(scope="module")
def paper(symbolic):
    """Return the network, for its shapes only."""
    return symbolic(googlenet)


class TestPaper:
    """`variant="paper"` is the paper's table 1."""

    TITLES = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")

    @pytest.mark.parametrize("title", TITLES)
    def test_a_module_has_the_weights_of_its_row(self, inception_table, paper, title) -> None:
        """The number of weights follows from the numbers in the table."""
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
        """The layers around the modules have the numbers of weights that follow from the table."""
        assert expected == paper.get_layer(name).count_params()

    @pytest.mark.parametrize("number", range(1, 9))
    def test_modules_stand_in_the_order_of_the_table(self, paper, number) -> None:
        """The input of a module is the module before it, or the pool between them."""
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
def batch_norm(symbolic):
    """Return the network, for its shapes only."""
    return symbolic(googlenet, n_classes=1000, variant="batch_norm")


class TestBatchNorm:
    """`variant="batch_norm"` is the paper's network with BatchNorm after each convolution."""

    def test_batch_norm_and_relu_follow_every_convolution(self, batch_norm) -> None:
        """BatchNorm with an epsilon of 1e-3 follows each convolution, and then ReLU."""
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
        """No other layer uses the output of a convolution or of a BatchNorm."""
        ours = {x.name for x in batch_norm.layers if isinstance(x, keras.layers.Conv2D)}
        bare = ours | {f"{name}_bn" for name in ours}
        others = [x.name for x in batch_norm.layers if not x.name.endswith(("_bn", "_relu"))]

        assert not bare & {source for name in others[1:] for source in inputs_of(batch_norm, name)}

    def test_the_parameters_are_the_papers_without_biases(
        self, inception_table, batch_norm
    ) -> None:
        """Each channel has four weights of BatchNorm in place of a bias."""
        channels = 64 + 64 + 192 + sum(sum(row[1:]) for row in inception_table.values())

        assert 6_998_552 + (4 - 1) * channels == batch_norm.count_params()
        assert 6_998_552 + (2 - 1) * channels == count(batch_norm.trainable_weights)

    def test_shapes_are_the_papers(self, batch_norm, symbolic) -> None:
        """Layers of both variants have the same output shapes."""
        paper = {
            layer.name: layer.output.shape
            for layer in symbolic(googlenet, n_classes=1000).layers[1:]
        }

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


class TestTooSmall:
    """Without the heads 32 pixels are enough."""

    @pytest.mark.parametrize("variant", ["paper", "batch_norm", "torchvision"])
    def test_32_pixels_are_enough(self, variant, symbolic) -> None:
        """At the smallest size, the last feature maps are 1x1."""
        model = symbolic(googlenet, (32, 32, 3), include_top=False, variant=variant)

        assert (None, 1, 1, 1024) == model.output_shape

    @pytest.mark.parametrize("shape", [(31, 32, 3), (32, 31, 3)])
    def test_31_pixels_are_refused(self, shape) -> None:
        """The error names the smallest size."""
        with pytest.raises(ValueError, match=r"^`input_shape` must be at least 32 pixels high"):
            googlenet(shape)
