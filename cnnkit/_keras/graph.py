"""The graph of a Keras model: its layers, its calls, and parts of it as models."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import keras

Named = TypeVar("Named")


def leaf_layers(model: keras.Model) -> Iterator[Any]:
    """Yield the layers of a model and of its nested models, from the input on."""
    for layer in model.layers:
        yield from leaves_of(layer)


def leaves_of(layer: Any) -> Iterator[Any]:
    """Yield a layer, or the layers of the model that it is or wraps."""
    inner = model_in(layer)
    if inner is None:
        yield layer
    else:
        yield from leaf_layers(inner)


class DuplicateName(ValueError):  # noqa: N818  # users see a ValueError
    """Two layers have the same name."""


def unique(named: Iterable[tuple[str, Named]]) -> dict[str, Named]:
    """Return named layers as a dict, or raise a DuplicateName if two have the same name."""
    by_name: dict[str, Named] = {}
    for name, layer in named:
        if name in by_name:
            msg = (
                "Layers must have names of their own for their weights to be found. Received: two "
                f"layers named {name!r}. Take one of the models inside after the other."
            )
            raise DuplicateName(msg)
        by_name[name] = layer
    return by_name


def weighted_layers(model: keras.Model) -> dict[str, Any]:
    """Return the leaf layers that have weights, by their names."""
    return unique((layer.name, layer) for layer in leaf_layers(model) if layer.weights)


def has_outputs(model: keras.Model) -> bool:
    """Tell whether layers know their outputs, unlike those of a subclassed model."""
    return all(map(was_called, leaf_layers(model)))


def was_called(operation: Any) -> bool:
    """Tell whether a layer or operation has been called on a symbolic tensor."""
    # Keras 3.12 to 3.15. Without it: whether `operation.output` raises an AttributeError.
    return bool(getattr(operation, "_inbound_nodes", ()))


def head_of(model: keras.Model) -> set[str]:
    """Return the names of the layers after the last feature maps."""
    if not has_outputs(model):
        return set()
    main = names_before(model.outputs[0])  # other outputs have heads of their own
    leaves = [layer for top in model.layers if top.name in main for layer in leaves_of(top)]
    maps = [place for place, layer in enumerate(leaves) if len(layer.output.shape) > 2]
    body = {layer.name for layer in leaves[: max(maps, default=-1) + 1]}
    return {layer.name for layer in leaf_layers(model)} - body


def model_in(layer: Any) -> keras.Model | None:
    """Return the model that a layer is, or that it wraps as TimeDistributed does."""
    inner = getattr(layer, "layer", layer)
    return inner if isinstance(inner, keras.Model) else None


def functional(model: keras.Model, name: str = "model") -> keras.Model:
    """Return a model's graph as a plain functional model that shares the layers.

    Args:
        model: The model.
        name: Name of the argument in the caller, for the error message.

    Raises:
        TypeError: If the model has no graph, for example a subclass of `keras.Model`.
    """
    if not is_graph(model) or not model.built:
        msg = (
            f"`{name}` must be a functional model, or a Sequential one that is built, so that its "
            f"graph can be read. Received: {type(model).__name__}."
        )
        raise TypeError(msg)
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    # Without its subclass and its compile settings.
    return keras.Model(inputs_of(model), outputs_of(model), name=model.name)


def inputs_of(model: keras.Model) -> Any:
    """Return the inputs of a functional model, in the structure that it takes."""
    # Keras 3.12 to 3.15. Without it: `model.inputs`, a list without the dict or nesting.
    return model._inputs_struct


def outputs_of(model: keras.Model) -> Any:
    """Return the outputs of a functional model, in the structure that it returns."""
    # Keras 3.12 to 3.15. Without it: `model.outputs`, a list without the dict or nesting.
    return model._outputs_struct


def is_graph(layer: Any) -> bool:
    """Tell whether a layer is a model that only runs its graph."""
    call = getattr(type(layer), "call", None)
    return getattr(call, "__qualname__", "") in ("Functional.call", "Sequential.call")


def nodes(model: keras.Model) -> Iterator[Any]:
    """Yield the calls that a functional model is made of, from the input on."""
    # Keras 3.12 to 3.15. Without it: `model.operations`, which are in this order, and the calls
    # of each between the model's inputs and outputs.
    by_depth = model._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        yield from by_depth[depth]


def place(tensor: Any) -> tuple[int, int, int]:
    """Return a key that identifies a symbolic tensor."""
    operation, node, output = _history(tensor)
    return id(operation), node, output


def _history(tensor: Any) -> tuple[Any, int, int]:
    """Return the operation that produced a symbolic tensor, and the number of call and output."""
    # Keras 3.12 to 3.15. Without it: a search through the calls of the model for this tensor.
    operation, node, output = tensor._keras_history
    return operation, node, output


def call_before(tensor: Any) -> tuple[Any, list[Any]]:
    """Return the operation that produced a symbolic tensor, and the inputs of that call."""
    operation, node, _ = _history(tensor)
    # Keras 3.12 to 3.15. Without it: as for `has_outputs`, and the operation's only input.
    return operation, operation._inbound_nodes[node].input_tensors


def names_before(x: Any) -> set[str]:
    """Return the names of all layers and operations that a symbolic tensor depends on."""
    names: set[str] = set()
    waiting = [x] if keras.backend.is_keras_tensor(x) else []
    while waiting:
        operation, inputs = call_before(waiting.pop())
        if operation.name not in names:
            names.add(operation.name)
            waiting += inputs
    return names
