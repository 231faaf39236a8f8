"""Blocks that Keras lacks, against their figures computed with float64 NumPy."""

import keras
import numpy as np

from cnnkit.models import inception_module, resnet


def patches(x: np.ndarray, size: int, fill: float) -> np.ndarray:
    """Return the size x size surroundings of each place, `(…, channels, size, size)`."""
    edge = size // 2
    padded = np.pad(x, ((0, 0), (edge, edge), (edge, edge), (0, 0)), constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))


def convolved(x: np.ndarray, layer: keras.layers.Conv2D) -> np.ndarray:
    """Convolve with stride 1 and "same" padding."""
    weights = [weight.astype(np.float64) for weight in layer.get_weights()]
    kernel, bias = weights if layer.use_bias else (weights[0], 0)
    return np.einsum("bhwcij,ijcf->bhwf", patches(x, kernel.shape[0], 0), kernel) + bias


def normalized(x: np.ndarray, layer: keras.layers.BatchNormalization) -> np.ndarray:
    gamma, beta, mean, variance = (w.astype(np.float64) for w in layer.get_weights())
    return (x - mean) / np.sqrt(variance + layer.epsilon) * gamma + beta


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def randomize(model: keras.Model, rng: np.random.Generator) -> None:
    """Give biases and BatchNorm statistics values other than 0 and 1."""
    weights = [w if w.ndim > 1 else 0.5 + rng.random(w.shape) for w in model.get_weights()]
    model.set_weights(weights)


def test_an_inception_module_computes_figure_2b(rng) -> None:
    """1x1; 1x1 and 3x3; 1x1 and 5x5; 3x3 max pool and 1x1; each convolution with ReLU."""
    inputs = keras.Input((7, 6, 5))
    model = keras.Model(inputs, inception_module(inputs, 2, 3, 4, 2, 3, 2, name="m"))
    randomize(model, rng)
    model.set_weights([w - 0.7 * (w.ndim == 1) for w in model.get_weights()])
    x = rng.standard_normal((2, 7, 6, 5)).astype("float32")

    def conv(values: np.ndarray, name: str) -> np.ndarray:
        return relu(convolved(values, model.get_layer(f"m_{name}")))

    pooled = patches(x, 3, -np.inf).max(axis=(-2, -1))
    branches = [
        conv(x, "1x1"),
        conv(conv(x, "3x3_reduce"), "3x3"),
        conv(conv(x, "5x5_reduce"), "5x5"),
        conv(pooled, "pool_proj"),
    ]
    expected = np.concatenate(branches, axis=-1)
    assert 0.05 < (expected == 0).mean() < 0.95
    np.testing.assert_allclose(model.predict_on_batch(x), expected, atol=1e-5)


def test_a_basic_block_computes_figure_5(rng) -> None:
    """Two 3x3 convolutions with BatchNorm, and ReLU between them and after the sum."""
    whole = resnet((8, 8, 3), depth=18, stem="cifar", include_top=False)
    block = "conv2_block2"
    entry = whole.get_layer("conv2_block1_out").output
    model = keras.Model(entry, whole.get_layer(f"{block}_out").output)
    randomize(model, rng)
    x = rng.standard_normal((1, 8, 8, 64)).astype("float32")

    y = normalized(
        convolved(x, model.get_layer(f"{block}_1_conv")), model.get_layer(f"{block}_1_bn")
    )
    y = convolved(relu(y - 0.0), model.get_layer(f"{block}_2_conv"))
    expected = relu(x + normalized(y, model.get_layer(f"{block}_2_bn")))
    assert 0.02 < (expected == 0).mean() < 0.98
    np.testing.assert_allclose(model.predict_on_batch(x), expected, rtol=1e-4, atol=1e-3)
