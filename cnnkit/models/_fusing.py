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

    In inference BatchNormalization multiplies and adds constants, and so does the convolution
    before it: both are one. (Jacob et al., "Quantization and training of neural networks for
    efficient integer-arithmetic-only inference", 2018, section 3.2.) A BatchNormalization stays
    where no convolution or dense layer leads to it alone, or an activation stands between; the log
    of `cnnkit.models` names these at level INFO.

    Args:
        model: A functional or Sequential model, also with models inside; it isn't changed.

    Returns:
        A functional model of the same name and layer names that shares no weights with the given
        one and gives the same outputs but for rounding. It isn't compiled, and training it would
        train something else.

    Raises:
        TypeError: If the model has no graph, as one that is a class of its own.

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
        _LOGGER.info("BatchNormalization that stays in %s: %s", model.name, ", ".join(left))
    return fused


class _Copier:
    """Copies a model, the models inside it too, and folds on the way.

    Attributes:
        copy: The copy.
    """

    def __init__(self, model: keras.Model) -> None:
        self._calls = Counter(_calls(model))
        self._twins: dict[int, Any] = {}  # by the layer that is copied
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
        """Return a fresh layer like another, with a bias if it takes up a BatchNormalization."""
        if is_graph(layer):
            return self._copied(layer)
        config = layer.get_config() | ({} if norm is None else {"use_bias": True})
        return type(layer).from_config(config)

    def _pairs(self, model: keras.Model) -> Iterator[tuple[Any, Any]]:
        """Yield each layer that can take up a BatchNormalization, with it."""
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
        if isinstance(part, layers.Normalization):  # it works with copies of its weights
            copy.mean, copy.variance = part.mean, part.variance


def _calls(model: keras.Model) -> Iterator[int]:
    """Yield each layer that is called, as often as it is, in models inside too."""
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
    """Return the weights of a layer that does its BatchNormalization's work as well."""
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


# Where the last kernel of each layer has its output channels.
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
