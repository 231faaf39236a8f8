"""The blocks of a model, found from its graph."""

import itertools
import math
import re
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import pandas as pd

from cnnkit._keras.graph import functional, is_graph, model_in, nodes, place

_GATE = "Multiply"  # joins a branch that weights channels or activates: no block of its own
_HEAD, _BRANCHED = "head", "branched"
_SCALING = ("Rescaling", "Normalization")
Layers = list[Any]
_Key = str | int | None


def list_blocks(model: keras.Model) -> pd.DataFrame:
    """List the blocks of a model, from the input to the output.

    A model can be cut at a tensor that everything after it depends on. Branches that fork and join
    between two such tensors form a block. Consecutive layers form a block if their names begin
    alike (`block_16_expand`, `block_16_project`) or, if Keras numbered the layers, if their feature
    maps have the same size. Everything after the feature maps is the block `"head"`.

    Args:
        model: A functional or Sequential model. Nested models are searched, too.

    Returns:
        A table with a row for each block: `name`; `layers`, the names of its layers;
        `output_shape`; `parameters`; and `trainable`, the number of parameters that train.

    Raises:
        TypeError: If the model has no graph, for example a subclass of `keras.Model`.

    Warns:
        UserWarning: If the model can't be cut between its blocks. In NASNet, for example, each cell
            takes the outputs of the last two. Its blocks are then the layers of each image size.

    Example:
        >>> from cnnkit.models import resnet
        >>> from cnnkit.transfer import list_blocks
        >>> list_blocks(resnet((32, 32, 3), depth=18, stem="cifar"))["name"].tolist()[:3]
        ['conv1', 'conv2_block1', 'conv2_block2']
    """
    blocks = blocks_of(model)
    return pd.DataFrame(
        {
            "name": list(blocks),
            "layers": [[layer.name for layer in layers] for layers in blocks.values()],
            "output_shape": [_output_shape(layers[-1]) for layers in blocks.values()],
            "parameters": [_count(layers, "weights") for layers in blocks.values()],
            "trainable": [_count(layers, "trainable_weights") for layers in blocks.values()],
        }
    )


def blocks_of(model: keras.Model) -> dict[str, Layers]:
    """Return the leaf layers of each block, by the name of the block."""
    blocks: dict[str, Layers] = {}
    graph = functional(model)
    height = graph.inputs[0].shape[1]
    for key, operations in _joined(_pieces(graph, height)):
        name = _name(key, operations)
        number = next(n for n in itertools.count(1) if _numbered(name, n) not in blocks)
        blocks[_numbered(name, number)] = list(
            itertools.chain.from_iterable(map(_leaves, operations))
        )
    return blocks


def _leaves(operation: Any) -> Iterator[Any]:
    inner = model_in(operation)
    if inner is None or not is_graph(inner):
        yield operation
        return
    for layer in inner.layers:
        if not isinstance(layer, keras.layers.InputLayer):
            yield from _leaves(layer)


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}_{number}"


def cut_points(model: keras.Model) -> Iterator[tuple[Layers, Any]]:
    """Yield the operations up to each cut point, and the tensor there.

    A cut point is a tensor that all later operations depend on. Operations after the last one are
    yielded with None.
    """
    calls = [node for node in nodes(model) if node.input_tensors]
    last = {place(x): step for step, node in enumerate(calls) for x in node.input_tensors}
    last |= {place(x): len(calls) for x in model.outputs}
    live = {place(x) for x in model.inputs}
    piece: Layers = []
    for step, node in enumerate(calls):
        made = {place(x): x for x in node.outputs}
        live |= made.keys()
        live = {x for x in live if last.get(x, -1) > step}
        if node.operation not in piece:
            piece.append(node.operation)
        if len(live) == 1:
            yield piece, made.get(next(iter(live)))
            piece = []
    if piece:
        yield piece, None


def _pieces(model: keras.Model, height: int | None) -> Iterator[tuple[_Key, Layers]]:
    """Yield the layers between two cut points, in nested models too, with a key to join them by."""
    for piece, _ in cut_points(model):
        inner = model_in(piece[0])
        stages = {_stage(layer, height) for layer in piece if hasattr(layer, "kernel")}
        if len(piece) == 1 and is_graph(inner) and not _is_row(inner):
            yield from _pieces(functional(inner), height)
        elif len(stages) > 2:
            yield from _by_stage(piece, height)
        elif len(_output_shape(piece[-1])) < 3:
            yield _HEAD, piece
        elif len(piece) > 1 and type(piece[-1]).__name__ != _GATE:
            yield _BRANCHED, piece
        else:
            yield _key(piece, height), piece


def _is_row(inner: Any) -> bool:
    """Tell whether a model is a plain sequence of layers, such as ConvNeXt's downsampling."""
    return isinstance(inner, keras.Sequential) and not any(map(model_in, inner.layers))


def _by_stage(piece: Layers, height: int | None) -> Iterator[tuple[_Key, Layers]]:
    warnings.warn(
        "The model can't be cut between its blocks, so its blocks are the layers of each image "
        f"size. Received: {len(piece)} layers between two cut points.",
        stacklevel=2,
    )
    stages = [_stage(layer, height) for layer in piece]
    for stage in sorted(set(stages)):
        yield stage, [layer for layer, own in zip(piece, stages, strict=True) if own == stage]


def _joined(pieces: Iterable[tuple[_Key, Layers]]) -> Iterator[tuple[_Key, Layers]]:
    """Join pieces into blocks: those without weights to the one before, others by their keys."""
    block: Layers = []
    joint: _Key = None
    for key, piece in pieces:
        normalizes = _is_batch_norm(piece[0]) and block and hasattr(block[-1], "kernel")
        new = None if len(piece) == 1 and normalizes else key
        if joint is not None and new is not None and (new != joint or new == _BRANCHED):
            yield joint, block
            block = []
        block = [*block, *piece]
        joint = joint if new is None else new
    yield joint, block


def _is_batch_norm(layer: Any) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization)


def _key(piece: Layers, height: int | None) -> _Key:
    """Return the key that consecutive layers are joined by, or None for layers without weights."""
    weighted = _weighted(piece)
    if not weighted:
        return None
    names = [layer.name for layer in weighted if not _is_numbered_by_keras(layer)]
    if not names:
        return _stage(weighted[0], height)
    return names[0] if model_in(weighted[0]) else _stem(names[0])


def _weighted(layers: Layers) -> Layers:
    return [x for x in layers if getattr(x, "weights", ()) and type(x).__name__ not in _SCALING]


def _is_numbered_by_keras(layer: Any) -> bool:
    """Tell whether Keras named a layer after its class: `conv2d_5`, `re_lu`."""
    plain = re.sub(r"_\d+$", "", layer.name).replace("_", "")
    return plain == type(layer).__name__.lower()


def _stem(name: str) -> str:
    """Return the beginning of a name up to its first number, or its first word."""
    match = re.match(r".*?\d+[a-z]?(?=_|$)", name)
    return match[0] if match else name.split("_", maxsplit=1)[0]


def _output_shape(layer: Any) -> tuple[int | None, ...]:
    """Return the output shape of a layer, or of its last output if it has several."""
    return tuple(keras.tree.flatten(layer.output)[-1].shape)


def _stage(layer: Any, height: int | None) -> int:
    """Return how many times the image size has been halved."""
    own = layer.output.shape[1]
    return round(math.log2(height / own)) if height and own else 0


def _name(key: _Key, layers: Layers) -> str:
    """Return the name of a block."""
    if isinstance(key, int):
        return f"stage{key}"
    if key == _HEAD or (key is not None and re.search(r"\d", key)):
        return str(key)
    names = [layer.name for layer in _weighted(layers) if not _is_numbered_by_keras(layer)]
    words = zip(*(name.split("_") for name in names), strict=False)
    common = [word[0] for word in itertools.takewhile(lambda word: len(set(word)) == 1, words)]
    return "_".join(common) or layers[-1].name


def _count(layers: Layers, kind: str) -> int:
    weights = {id(w): w for layer in layers for w in getattr(layer, kind, ())}
    return sum(math.prod(weight.shape) for weight in weights.values())
