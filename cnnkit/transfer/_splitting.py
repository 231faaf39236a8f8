"""Splitting a model in two, so that the frozen part needs to run only once."""

from difflib import get_close_matches
from typing import Any

import keras

from cnnkit._keras.distribution import scope_of
from cnnkit._keras.graph import functional, inputs_of, is_graph, outputs_of
from cnnkit.transfer._blocks import blocks_of, cut_points


def split_model(model: keras.Model, at: str) -> tuple[keras.Model, keras.Model]:
    """Split a model in two after a layer or a block.

    Both parts share their layers with the model, so training a part trains the model.

    Args:
        model: A functional or Sequential model. Nested models are searched, too.
        at: Name of the last layer of the first part. If no layer has this name, it can be the name
            of a block from `list_blocks` or of a nested model. Everything after it must depend on
            its output alone.

    Returns:
        The part from the inputs to the cut, and the part from the cut to the outputs.

    Raises:
        TypeError: If the model has no graph, for example a subclass of `keras.Model`.
        ValueError: If there is no such layer, or if the model can't be cut there.

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
    """Return the model with every nested model replaced by its layers."""
    graph = functional(model)
    if not any(map(is_graph, graph.layers)):
        return graph

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        # `call` of a functional model runs its layers one by one; calling the model nests it.
        return (flattened(layer).call if is_graph(layer) else layer)(*inputs, **options)

    return keras.models.clone_model(graph, clone_function=lambda layer: layer, call_function=call)


def _models_inside(model: keras.Model) -> dict[str, str]:
    """Return the name of the last operation of each nested model, by the model's name."""
    inside: dict[str, str] = {}
    for layer in filter(is_graph, functional(model).layers):
        inside |= {**_models_inside(layer), layer.name: flattened(layer).operations[-1].name}
    return inside


def _cut_tensor(model: keras.Model, at: str, inside: dict[str, str]) -> Any:
    """Return the output of a layer or block, or raise a ValueError if no cut is possible there."""
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
    why = "has nothing after it" if name == operations[-1] else "other connections bypass"
    msg = (
        f"`at` must name a place that everything after it depends on. Received: at={at!r}, which "
        f"{why}. The nearest such places: {', '.join([*before, *after]) or 'none'}."
    )
    raise ValueError(msg)
