"""Folding BatchNorm into the layers before it, for inference."""

import itertools
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from cnnkit.models._graph import leaf_layers

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
    graph = _functional(model)
    pairs = dict(_pairs(graph))
    folded = {id(norm): norm for norm in pairs.values()}
    copies: dict[int, tuple[Any, Any]] = {}  # the layer and its copy, by the copy's id

    def copy(layer: Any) -> Any:
        config = layer.get_config()
        if layer in pairs:
            config["use_bias"] = True
        twin = type(layer).from_config(config)
        copies[id(twin)] = layer, twin
        return twin

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        original = copies.get(id(layer), (None, None))[0]
        return inputs[0] if id(original) in folded else layer(*inputs, **options)

    fused = keras.models.clone_model(graph, clone_function=copy, call_function=call, recursive=True)
    for layer, twin in copies.values():
        if layer in pairs:
            twin.set_weights(_folded(layer, pairs[layer]))
        elif id(layer) not in folded and hasattr(layer, "weights"):  # an operation has none
            twin.set_weights(layer.get_weights())
    left = [layer.name for layer in leaf_layers(fused) if _is_batch_norm(layer)]
    if left:
        _LOGGER.info("BatchNormalization that stays in %s: %s", model.name, ", ".join(left))
    return fused


def _functional(model: keras.Model) -> keras.Model:
    if isinstance(model, keras.Sequential) and model.built:
        return keras.Model(model.inputs, model.outputs, name=model.name)
    if not hasattr(model, "_nodes_by_depth"):
        msg = (
            "`model` must be a functional model, or a Sequential one that is built, so that its "
            f"graph can be read. Received: {type(model).__name__}."
        )
        raise TypeError(msg)
    return model


def _pairs(model: keras.Model) -> Iterator[tuple[Any, Any]]:
    """Yield each layer that can take up a BatchNormalization, with it."""
    calls, uses = defaultdict(list), defaultdict(list)
    for node in itertools.chain.from_iterable(model._nodes_by_depth.values()):
        calls[id(node.operation)].append(node)
        for tensor in node.input_tensors:
            uses[_place(tensor)].append(node.operation)
    ends = {_place(tensor) for tensor in model.outputs}
    for layer in model.layers:
        if hasattr(layer, "_nodes_by_depth"):  # a model inside
            yield from _pairs(layer)
        elif _takes_up(layer) and len(calls[id(layer)]) == 1:
            place = _place(calls[id(layer)][0].outputs[0])
            following = uses[place]
            alone = len(following) == 1 and len(calls[id(following[0])]) == 1 and place not in ends
            if alone and _can_go(following[0]):
                yield layer, following[0]


def _place(tensor: Any) -> tuple[Any, ...]:
    operation, node, output = tensor._keras_history
    return id(operation), node, output


def _is_batch_norm(layer: Any) -> bool:
    return type(layer) is layers.BatchNormalization


def _can_go(layer: Any) -> bool:
    return _is_batch_norm(layer) and layer.axis in (-1, len(layer.input.shape) - 1)


def _takes_up(layer: Any) -> bool:
    last = getattr(layer, "data_format", "channels_last") == "channels_last"
    return type(layer) in _KERNELS and last and layer.activation is keras.activations.linear


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
