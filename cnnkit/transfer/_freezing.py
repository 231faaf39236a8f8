"""Freezing and unfreezing of layers, always with a new train step.

Keras compiles the set of trainable weights into the train step at the first `fit`. A layer that is
frozen later continues to train, without a warning (keras#9550), unless the step is made again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import keras

from cnnkit._foundation.validation import check_whole_number
from cnnkit._keras.compiling import fresh_optimizer, renew_train_step
from cnnkit._keras.graph import is_graph, leaf_layers, model_in
from cnnkit._keras.layers import parts_of
from cnnkit.transfer._blocks import blocks_of


def freeze(
    model: keras.Model,
    *,
    first: int | None = None,
    names: Sequence[str] | None = None,
    blocks: Sequence[str] | None = None,
) -> keras.Model:
    """Freeze layers, or all layers if none are chosen.

    Layers that aren't chosen keep their state. A compiled model gets a new optimizer with the same
    settings and a new train step; loss and metrics are kept.

    Args:
        model: The model that is trained, functional or Sequential. Nested models are searched, too.
            Freezing a backbone doesn't update the train step of a model around it.
        first: Number of layers to freeze from the input on, counted as in `model.layers`, where
            the layers of a nested model count in its place.
        names: Names of the layers to freeze. The name of a nested model stands for all its layers.
        blocks: Names of the blocks to freeze, from `list_blocks`.

    Returns:
        The same model, changed in place.

    Raises:
        TypeError: If `model` is not a Keras model, or if `blocks` is given for a model without a
            graph, for example a subclass of `keras.Model`.
        ValueError: If the model isn't built, if a name matches nothing, if `first` is larger than
            the number of layers, or if the choice leaves nothing to train.

    Example:
        >>> from cnnkit.models import vggnet
        >>> from cnnkit.transfer import freeze
        >>> model = freeze(vggnet((32, 32, 3)), first=11)
        >>> [layer.name for layer in model.layers if layer.trainable and layer.weights][0]
        'block4_conv1'
    """
    check_built(model)
    leaves = list(leaf_layers(model))
    chosen = leaves[: 0 if first is None else _count("first", first, leaves)]
    chosen = [*chosen, *_named(model, "names", names), *_in_blocks(model, blocks)]
    if first is None and names is None and blocks is None:
        chosen = leaves
    else:
        _check_leaves_some(leaves, chosen)
    _set_trainable(model, _parts(chosen), trainable=False)
    return model


def unfreeze(
    model: keras.Model,
    *,
    last: int | None = None,
    from_layer: str | None = None,
    names: Sequence[str] | None = None,
    blocks: Sequence[str] | None = None,
    batch_norm: bool = False,
) -> keras.Model:
    """Unfreeze layers, or all layers if none are chosen.

    BatchNormalization with trained statistics stays frozen, inside other layers too, unless
    `batch_norm=True`. Otherwise a few batches of new data would destroy the statistics that the
    backbone was trained with. BatchNormalization whose statistics still have their initial values
    is unfrozen. If the BatchNormalization of a head was trained and then frozen, name the layers of
    the head and pass `batch_norm=True`.

    Args:
        model: The model that is trained, functional or Sequential. Nested models are searched, too.
        last: Number of layers to unfreeze, counted from the output.
        from_layer: Name of the first layer to unfreeze; all layers after it are unfrozen, too.
        names: Names of the layers to unfreeze. The name of a nested model stands for all its
            layers.
        blocks: Names of the blocks to unfreeze, from `list_blocks`.
        batch_norm: If True, unfreeze trained BatchNormalization too.

    Returns:
        The same model, changed in place, with a new train step as in `freeze`.

    Raises:
        TypeError: If `model` is not a Keras model, or if `blocks` is given for a model without a
            graph, for example a subclass of `keras.Model`.
        ValueError: If the model isn't built, if a name matches nothing, or if `last` is larger than
            the number of layers.

    Example:
        >>> from cnnkit.models import vggnet
        >>> from cnnkit.transfer import freeze, unfreeze
        >>> model = unfreeze(freeze(vggnet((32, 32, 3))), from_layer="block5_conv1")
        >>> [layer.name for layer in model.layers if layer.trainable and layer.weights][0]
        'block5_conv1'
    """
    check_built(model)
    leaves = list(leaf_layers(model))
    asked = (last, from_layer, names, blocks)
    chosen = leaves if all(choice is None for choice in asked) else []
    if last is not None:
        chosen = leaves[len(leaves) - _count("last", last, leaves) :]
    if from_layer is not None:
        start = leaves.index(_named(model, "from_layer", [from_layer])[0])
        chosen = [*chosen, *leaves[start:]]
    chosen = [*chosen, *_named(model, "names", names), *_in_blocks(model, blocks)]
    parts = _parts(chosen)
    if not batch_norm:
        parts = [part for part in parts if not _is_trained_batch_norm(part)]
    _set_trainable(model, parts, trainable=True)
    return model


def check_built(model: keras.Model) -> None:
    """Raise an error unless `model` is a built Keras model."""
    if not isinstance(model, keras.Model):
        msg = (
            f"`model` must be a Keras model. Received: {type(model).__name__}. Pass the model "
            "itself, not a layer or a file."
        )
        raise TypeError(msg)
    if not model.built:
        msg = (
            "`model` must be built. Received: a model without weights. Add a keras.Input, or call "
            "the model once."
        )
        raise ValueError(msg)


def _check_leaves_some(leaves: Sequence[Any], chosen: Sequence[Any]) -> None:
    """Raise a ValueError if the choice includes every layer that trains."""
    frozen = {id(layer) for layer in chosen}
    trains = [layer for layer in leaves if layer.trainable_weights]
    if trains and all(id(layer) in frozen for layer in trains):
        msg = (
            "The layers to freeze must leave something to train. Received: a choice of all "
            f"{len(trains)} layers that train. Choose fewer, or freeze all with `freeze(model)` "
            "and then `unfreeze` some."
        )
        raise ValueError(msg)


def _count(name: str, value: int, leaves: Sequence[Any]) -> int:
    count = check_whole_number(name, value, least=0)
    if count > len(leaves):
        msg = (
            f"`{name}` must be at most the number of layers, {len(leaves)}. "
            f"Received: {name}={value!r}. See `model.summary()`."
        )
        raise ValueError(msg)
    return count


def _named(model: keras.Model, argument: str, names: Sequence[str] | None) -> list[Any]:
    """Return the leaves with these names, or in models with these names, in the given order."""
    leaves: dict[str, list[Any]] = {}
    for name, layer in _names_and_leaves(model) if names is not None else ():
        leaves.setdefault(name, []).append(layer)
    if names is not None and not isinstance(names, str):
        _check_no_block(model, argument, [name for name in names if name not in leaves])
    return _picked(leaves, argument, names, "layers of the model", "model.summary()")


def _check_no_block(model: keras.Model, argument: str, unknown: Sequence[str]) -> None:
    """Raise a ValueError if an unknown layer name is the name of a block."""
    if unknown and is_graph(model) and unknown[0] in blocks_of(model):
        msg = (
            f"`{argument}` must name layers of the model. Received: {unknown!r}, where "
            f"{unknown[0]!r} is a block. Write blocks=[{unknown[0]!r}]."
        )
        raise ValueError(msg)


def _in_blocks(model: keras.Model, blocks: Sequence[str] | None) -> list[Any]:
    """Return the leaves of the blocks with these names."""
    known = blocks_of(model) if blocks is not None else {}
    picked = _picked(known, "blocks", blocks, "blocks of the model", "list_blocks(model)")
    return [layer for layer in picked if hasattr(layer, "trainable")]


def _picked(
    groups: Mapping[str, list[Any]],
    argument: str,
    names: Sequence[str] | None,
    what: str,
    where: str,
) -> list[Any]:
    """Return all members of the named groups."""
    if isinstance(names, str):
        msg = (
            f"`{argument}` must be a list of names. "
            f"Received: {argument}={names!r}. Write [{names!r}]."
        )
        raise TypeError(msg)
    chosen = [] if names is None else list(names)
    unknown = [name for name in chosen if name not in groups]
    if unknown:
        near = get_close_matches(str(unknown[0]), groups, n=3)
        hint = f"The closest: {', '.join(near)}." if near else f"See `{where}`."
        msg = f"`{argument}` must name {what}. Received: {unknown!r}. {hint}"
        raise ValueError(msg)
    return [layer for name in chosen for layer in groups[name]]


def _names_and_leaves(model: keras.Model) -> Iterator[tuple[str, Any]]:
    for layer in model.layers:
        inner = model_in(layer)
        if inner is None:
            yield layer.name, layer
        else:
            yield from ((layer.name, leaf) for leaf in leaf_layers(inner))
            yield from _names_and_leaves(inner)


def _is_trained_batch_norm(layer: Any) -> bool:
    if not isinstance(layer, keras.layers.BatchNormalization) or not layer.built:
        return False
    mean, variance = map(keras.ops.convert_to_numpy, (layer.moving_mean, layer.moving_variance))
    return bool((mean != 0).any() or (variance != 1).any())


def _parts(leaves: Iterable[Any]) -> list[Any]:
    """Return the leaves, each followed by the layers inside it."""
    return [part for leaf in leaves for part in parts_of(leaf)]


def _set_trainable(model: keras.Model, chosen: Sequence[Any], *, trainable: bool) -> None:
    """Set `trainable` of the chosen parts only, and unfreeze the models that contain them.

    A frozen model hides the state of its layers. Setting `trainable` of a model, or of a layer that
    contains others, also sets it for everything inside. So all states are recorded first and set
    again afterward.
    """
    optimizer = None
    if model.compiled:  # made first, so that an error changes nothing
        optimizer = fresh_optimizer(model)
    parts = _parts(leaf_layers(model))
    states = {id(part): part.trainable for part in parts}
    states.update({id(part): trainable for part in chosen})
    for container in _containers(model):
        if not container.trainable:
            container.trainable = True
    for part in parts:
        if part.trainable != states[id(part)]:
            part.trainable = states[id(part)]
    if optimizer is not None:
        renew_train_step(model, optimizer)


def _containers(model: keras.Model) -> Iterator[Any]:
    """Yield a model and, from the outside in, everything inside it that contains layers."""
    yield model
    for layer in model.layers:
        inner = model_in(layer)
        if inner is not None:
            yield layer
            yield from _containers(inner)
