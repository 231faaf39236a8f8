"""GoogLeNet with `variant="torchvision"` against PyTorch."""

from networks import count


import keras
import numpy as np
import pytest

from cnnkit.models import googlenet, load_weights
from cnnkit.preprocess import scale

OPEN = (None, None, 3)


def outputs(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(images, training=False))


def torch_googlenet(nn, table) -> object:
    """Return torchvision's network in PyTorch, for 10 classes, in inference mode."""
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
    """Return a function that gives PyTorch's outputs for `(batch, height, width, 3)` images."""
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
            outputs(torchvision, images), expected, rtol=0, atol=5e-5 * expected.std()
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
            outputs(model, images), expected, rtol=0, atol=5e-5 * expected.std()
        )

    def test_parameters_are_torchvisions(self, symbolic) -> None:
        """It has 6,624,904 trainable parameters with 1000 classes."""
        model = symbolic(googlenet, n_classes=1000, variant="torchvision")

        assert 6_624_904 == count(model.trainable_weights)

    def test_softmax_follows_the_logits(self, torchvision, symbolic, rng) -> None:
        """With its default activation the network gives the softmax of its logits."""
        softmax = symbolic(googlenet, OPEN, variant="torchvision")
        images = rng.standard_normal((2, 64, 64, 3)).astype("float32")
        powers = np.exp(outputs(torchvision, images).astype("float64"))
        weights = torchvision.trainable_variables, torchvision.non_trainable_variables
        actual, _ = softmax.stateless_call(*weights, images, training=False)

        expected = powers / powers.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-7)

    def test_auxiliary_outputs_are_not_loaded(self, torchvision, torch_file, rng) -> None:
        """The weights are loaded, and the auxiliary heads are initialized randomly."""
        with_heads = googlenet(
            (96, 96, 3),
            variant="torchvision",
            aux_outputs=True,
            classifier_activation=None,
            weights=torch_file,
        )
        images = rng.standard_normal((2, 96, 96, 3)).astype("float32")

        expected = outputs(torchvision, images)
        actual = keras.ops.convert_to_numpy(with_heads(images, training=False)[0])
        np.testing.assert_allclose(actual, expected, rtol=0, atol=5e-5 * expected.std())
