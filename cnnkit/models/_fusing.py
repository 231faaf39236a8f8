"""Folding BatchNorm into the layers before it, for inference."""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from cnnkit._keras.graph import functional, is_graph, leaf_layers, nodes, place
from cnnkit._keras.layers import parts_of

_LOGGER = logging.getLogger(__name__)
Weight = NDArray[np.float64]


def fuse_batch_norm(model: keras.Model) -> keras.Model:
    """Return a copy for inference with BatchNormalization folded into the layers before it.

    In inference BatchNormalization multiplies by a constant and adds a constant. The convolution
    before it can do the same with other weights (Jacob et al., "Quantization and training of neural
    networks for efficient integer-arithmetic-only inference", 2018, section 3.2). A
    BatchNormalization is kept if an activation comes between, or if its input is not the output of
    a single convolution or dense layer that nothing else uses. The logger of `cnnkit.models` lists
    the kept layers at level INFO.

    Args:
        model: A functional or Sequential model, which may contain other models. It is not changed.

    Returns:
        A functional model with the same name and the same layer names. It shares no weights with
        the given model and gives the same outputs up to rounding. It is not compiled, and is not
        meant for training.

    Raises:
        TypeError: If the model has no graph, because it is subclassed.

    Example:
        >>> import keras
        >>> from cnnkit.models import fuse_batch_norm, resnet
        >>> model = resnet((32, 32, 3), 10, depth=18, stem="cifar")
        >>> fused = fuse_batch_norm(model)
        >>> len(model.layers) - len(fused.layers)
        20
    """
    fused = _Copier(functional(model)).copy
    left = [layer.name for layer in leaf_layers(fused) if _is_batch_norm(layer)]
    if left:
        _LOGGER.info("BatchNormalization kept in %s: %s", model.name, ", ".join(left))
    return fused


class _Copier:
    """Copies a model and the models inside it, and folds BatchNormalization.

    Attributes:
        copy: The copied model.
    """

    def __init__(self, model: keras.Model) -> None:
        self._calls = Counter(_calls(model))
        self._twins: dict[int, Any] = {}  # by the id of the original layer
        self.copy = self._copied(model)

    def _copied(self, model: keras.Model) -> keras.Model:
        graph = functional(model)
        pairs = {id(layer): norm for layer, norm in self._pairs(graph)}
        folded = {id(norm) for norm in pairs.values()}
        gone: set[int] = set()

        def copy(layer: Any) -> Any:
            if id(layer) not in self._twins:
                self._twins[id(layer)] = self._twin(layer, pairs.get(id(layer)))
            if id(layer) in folded:
                gone.add(id(self._twins[id(layer)]))
            return self._twins[id(layer)]

        def call(layer: Any, *inputs: Any, **options: Any) -> Any:
            return inputs[0] if id(layer) in gone else layer(*inputs, **options)

        cloned = keras.models.clone_model(graph, clone_function=copy, call_function=call)
        for layer in graph.operations:
            if id(layer) not in folded and not is_graph(layer):
                _give_weights(layer, self._twins.get(id(layer)), pairs.get(id(layer)))
        return cloned

    def _twin(self, layer: Any, norm: Any) -> Any:
        """Return a new layer with the same configuration, and with a bias if `norm` is folded."""
        if is_graph(layer):
            return self._copied(layer)
        config = layer.get_config() | ({} if norm is None else {"use_bias": True})
        return type(layer).from_config(config)

    def _pairs(self, model: keras.Model) -> Iterator[tuple[Any, Any]]:
        """Yield each layer that a BatchNormalization can be folded into, and the latter."""
        outputs: dict[int, tuple[Any, ...]] = {}
        uses = defaultdict(list)
        for node in nodes(model):
            outputs[id(node.operation)] = place(node.outputs[0])
            for tensor in node.input_tensors:
                uses[place(tensor)].append(node.operation)
        ends = {place(tensor) for tensor in model.outputs}
        for layer in model.layers:
            output = outputs.get(id(layer), ())
            following = uses[output] if _takes_up(layer) and output not in ends else []
            once = all(self._calls[id(one)] == 1 for one in (layer, *following))
            if len(following) == 1 and once and _can_go(following[0]):
                yield layer, following[0]


def _give_weights(layer: Any, twin: Any, norm: Any) -> None:
    if twin is None or not getattr(layer, "weights", ()):  # an input, or an operation
        return
    twin.set_weights(layer.get_weights() if norm is None else _folded(layer, norm))
    for part, copy in zip(parts_of(layer), parts_of(twin), strict=True):
        if isinstance(part, layers.Normalization):  # it computes with copies of its weights
            copy.mean, copy.variance = part.mean, part.variance


def _calls(model: keras.Model) -> Iterator[int]:
    """Yield the id of each called layer, once for every call, in nested models too."""
    for node in nodes(model):
        yield id(node.operation)
    for layer in model.layers:
        if is_graph(layer):
            yield from _calls(functional(layer))


def _is_batch_norm(layer: Any) -> bool:
    return type(layer) is layers.BatchNormalization


def _can_go(layer: Any) -> bool:
    return _is_batch_norm(layer) and layer.axis in (-1, len(layer.input.shape) - 1)


def _takes_up(layer: Any) -> bool:
    if type(layer) not in _KERNELS:
        return False
    last = getattr(layer, "data_format", "channels_last") == "channels_last"
    plain = not getattr(layer, "lora_enabled", False) and not layer.quantization_mode
    linear = layer.activation is keras.activations.linear
    return last and linear and plain


def _folded(layer: Any, norm: Any) -> list[Weight]:
    """Return the weights of a layer with a BatchNormalization folded into them."""
    mean, variance = (_exact(weight) for weight in (norm.moving_mean, norm.moving_variance))
    factor = 1 / np.sqrt(variance + norm.epsilon)
    factor = factor * _exact(norm.gamma) if norm.scale else factor
    offset = -mean * factor + (_exact(norm.beta) if norm.center else 0)
    weights = [_exact(weight) for weight in layer.weights]
    kernels = weights[:-1] if layer.use_bias else weights
    kernels[-1] = _KERNELS[type(layer)](kernels[-1], factor)
    bias = weights[-1] * factor + offset if layer.use_bias else offset
    return [*kernels, bias]


def _exact(weight: Any) -> Weight:
    return np.asarray(keras.ops.convert_to_numpy(weight), dtype=np.float64)


def _last_axis(kernel: Weight, factor: Weight) -> Weight:
    return kernel * factor


def _last_but_one(kernel: Weight, factor: Weight) -> Weight:
    return kernel * factor[:, None]


def _last_two(kernel: Weight, factor: Weight) -> Weight:
    return kernel * factor.reshape(kernel.shape[-2:])


# How to multiply the last kernel of each layer type: the axis of the output channels differs.
_KERNELS: dict[type, Callable[[Weight, Weight], Weight]] = {
    layers.Conv1D: _last_axis,
    layers.Conv2D: _last_axis,
    layers.Conv3D: _last_axis,
    layers.Dense: _last_axis,
    layers.SeparableConv1D: _last_axis,
    layers.SeparableConv2D: _last_axis,
    layers.Conv2DTranspose: _last_but_one,
    layers.DepthwiseConv1D: _last_two,
    layers.DepthwiseConv2D: _last_two,
}
