"""Cutting a model in two, so that the frozen part runs once."""

from difflib import get_close_matches
from typing import Any

import keras

from cnnkit._keras.distribution import scope_of
from cnnkit._keras.graph import functional, inputs_of, is_graph, outputs_of
from cnnkit.transfer._blocks import blocks_of, cut_points


def split_model(model: keras.Model, at: str) -> tuple[keras.Model, keras.Model]:
    """Cut a model in two behind a layer or a block.

    Both parts share all layers with the model: what trains in a part has trained in the model.

    Args:
        model: A functional or Sequential model; models inside it are looked into.
        at: Name of the last layer of the first part or, where no layer is called so, of a block
            of `list_blocks`, or of a model inside. All that follows must come from its output
            alone.

    Returns:
        The part from the inputs to the cut, and the part from the cut to the outputs.

    Raises:
        TypeError: If the model has no graph, as one that is a class of its own.
        ValueError: If there is no such layer, or the model can't be cut there.

    Example:
        >>> from cnnkit.models import resnet
        >>> from cnnkit.transfer import split_model
        >>> bottom, top = split_model(resnet((32, 32, 3), depth=18), at="conv3_block2")
        >>> bottom.output_shape, top.output_shape
        ((None, 4, 4, 128), (None, 10))
    """
    with scope_of(model):
        flat = flattened(model)
        cut = _cut_tensor(flat, at, _models_inside(model))
        bottom = keras.Model(inputs_of(flat), cut, name=f"{model.name}_bottom")
        return bottom, keras.Model(cut, outputs_of(flat), name=f"{model.name}_top")


def flattened(model: keras.Model) -> keras.Model:
    """Return the model without models inside: their layers, called one by one."""
    graph = functional(model)
    if not any(map(is_graph, graph.layers)):
        return graph

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        # `call` of a functional model runs its layers one by one, where calling it would nest it.
        return (flattened(layer).call if is_graph(layer) else layer)(*inputs, **options)

    return keras.models.clone_model(graph, clone_function=lambda layer: layer, call_function=call)


def _models_inside(model: keras.Model) -> dict[str, str]:
    """Return the last operation of each model inside, by the model's name."""
    inside: dict[str, str] = {}
    for layer in filter(is_graph, functional(model).layers):
        inside |= {**_models_inside(layer), layer.name: flattened(layer).operations[-1].name}
    return inside


def _cut_tensor(model: keras.Model, at: str, inside: dict[str, str]) -> Any:
    """Return the output of a layer or block, or raise unless the model can be cut there."""
    pieces = list(cut_points(model))
    cuts = {piece[-1].name: x for piece, x in pieces[:-1] if x is not None}
    blocks = {name: layers[-1].name for name, layers in blocks_of(model).items()} | inside
    name = at if at in cuts else blocks.get(at, at)
    if name in cuts:
        return cuts[name]
    operations = [operation.name for piece, _ in pieces for operation in piece]
    if name not in operations:
        near = get_close_matches(str(at), [*operations, *blocks], n=3)
        msg = (
            f"`at` must name a layer or a block of the model. Received: at={at!r}. "
            f"The closest: {', '.join(near) or 'none'}."
        )
        raise ValueError(msg)
    place = operations.index(name)
    before = [cut for cut in cuts if operations.index(cut) < place][-1:]
    after = [cut for cut in cuts if operations.index(cut) > place][:1]
    why = "nothing follows" if name == operations[-1] else "others bypass"
    msg = (
        f"`at` must be a place that all that follows comes from. Received: at={at!r}, which "
        f"{why}. The nearest such places: {', '.join([*before, *after]) or 'none'}."
    )
    raise ValueError(msg)
