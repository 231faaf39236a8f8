"""Which layers train: set leaf by leaf, and never with a stale train step behind.

Keras compiles the set of trainable weights into the train step at the first `fit`. A layer frozen
after that goes on training, without a warning (keras#9550), unless the step is made anew.
"""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

import keras

from cnnkit._validation import check_whole_number


def freeze(
    model: keras.Model, *, first: int | None = None, names: Sequence[str] | None = None
) -> keras.Model:
    """Stop layers from training; with no argument, all of them.

    It adds to the present state: layers that are not named stay as they are. A compiled model gets
    a fresh optimizer of the same settings and a fresh train step; loss and metrics are kept.

    Args:
        model: A functional or Sequential model; models inside it are looked into.
        first: Number of layers to freeze from the input on, counted as in `model.layers`, with
            the layers of a nested model in its place.
        names: Names of the layers to freeze; the name of a nested model means all of it.

    Returns:
        The same model, changed in place.

    Raises:
        ValueError: If a name matches nothing or `first` is larger than the number of layers.

    Example:
        >>> from cnnkit.models import vggnet
        >>> from cnnkit.transfer import freeze
        >>> model = freeze(vggnet((32, 32, 3)), first=11)
        >>> [layer.name for layer in model.layers if layer.trainable and layer.weights][0]
        'block4_conv1'
    """
    leaves = list(leaf_layers(model))
    chosen = leaves if first is None and names is None else []
    if first is not None:
        chosen = leaves[: _count("first", first, leaves)]
    if names is not None:
        chosen = [*chosen, *_named(model, names)]
    _set_trainable(model, chosen, trainable=False)
    return model


def unfreeze(
    model: keras.Model,
    *,
    last: int | None = None,
    from_layer: str | None = None,
    names: Sequence[str] | None = None,
    batch_norm: bool = False,
) -> keras.Model:
    """Let layers train again; with no argument, all of them.

    BatchNormalization that has been trained before stays frozen unless `batch_norm=True`: with it
    live, a few batches of new data destroy the statistics that the backbone was trained with. One
    whose statistics are still at their start has nothing to lose and trains.

    Args:
        model: A functional or Sequential model; models inside it are looked into.
        last: Number of layers to unfreeze, counted from the output.
        from_layer: Name of the first layer to unfreeze; all after it follow.
        names: Names of the layers to unfreeze; the name of a nested model means all of it.
        batch_norm: If True, unfreeze trained BatchNormalization too.

    Returns:
        The same model, changed in place, with a fresh train step as in `freeze`.

    Raises:
        ValueError: If a name matches nothing or `last` is larger than the number of layers.

    Example:
        >>> from cnnkit.models import vggnet
        >>> from cnnkit.transfer import freeze, unfreeze
        >>> model = unfreeze(freeze(vggnet((32, 32, 3))), from_layer="block5_conv1")
        >>> [layer.name for layer in model.layers if layer.trainable and layer.weights][0]
        'block5_conv1'
    """
    leaves = list(leaf_layers(model))
    chosen = leaves if last is None and from_layer is None and names is None else []
    if last is not None:
        chosen = leaves[len(leaves) - _count("last", last, leaves) :]
    if from_layer is not None:
        start = leaves.index(_named(model, [from_layer])[0])
        chosen = [*chosen, *leaves[start:]]
    if names is not None:
        chosen = [*chosen, *_named(model, names)]
    if not batch_norm:
        chosen = [layer for layer in chosen if not _is_trained_batch_norm(layer)]
    _set_trainable(model, chosen, trainable=True)
    return model


def leaf_layers(model: keras.Model) -> Iterator[Any]:
    """Yield the layers of a model and of the models inside it, from the input on."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaf_layers(layer)
        else:
            yield layer


def renew_train_step(model: keras.Model, optimizer: Any = None) -> None:
    """Give a compiled model a fresh optimizer and a train step that knows what is trainable.

    `compile_from_config` can't restore a lambda or local loss; assigning the optimizer keeps it.
    """
    if not model.compiled:
        return
    scaled = keras.optimizers.LossScaleOptimizer  # what mixed_float16 wraps around an optimizer
    if optimizer is None:
        optimizer = type(model.optimizer).from_config(model.optimizer.get_config())
    elif isinstance(model.optimizer, scaled):
        optimizer = scaled(optimizer)
    model.optimizer = optimizer
    model.make_train_function(force=True)


def _count(name: str, value: int, leaves: Sequence[Any]) -> int:
    count = check_whole_number(name, value, least=0)
    if count > len(leaves):
        msg = (
            f"`{name}` must be at most the number of layers, {len(leaves)}. "
            f"Received: {name}={value!r}."
        )
        raise ValueError(msg)
    return count


def _named(model: keras.Model, names: Sequence[str]) -> list[Any]:
    """Return the leaves that are called `names` or lie in models called so, in the given order."""
    leaves: dict[str, list[Any]] = {}
    for name, layer in _names_and_leaves(model):
        leaves.setdefault(name, []).append(layer)
    unknown = [name for name in names if name not in leaves]
    if unknown:
        near = get_close_matches(unknown[0], leaves, n=3)
        hint = f"The closest: {', '.join(near)}." if near else "See `model.summary()`."
        msg = f"`names` must be names of layers of the model. Received: {unknown!r}. {hint}"
        raise ValueError(msg)
    return [layer for name in names for layer in leaves[name]]


def _names_and_leaves(model: keras.Model) -> Iterator[tuple[str, Any]]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from ((layer.name, leaf) for leaf in leaf_layers(layer))
            yield from _names_and_leaves(layer)
        else:
            yield layer.name, layer


def _is_trained_batch_norm(layer: Any) -> bool:
    if not isinstance(layer, keras.layers.BatchNormalization) or not layer.built:
        return False
    mean, variance = map(keras.ops.convert_to_numpy, (layer.moving_mean, layer.moving_variance))
    return bool((mean != 0).any() or (variance != 1).any())


def _set_trainable(model: keras.Model, chosen: Sequence[Any], *, trainable: bool) -> None:
    """Set the chosen leaves, keep all others, and open the models that hold them.

    A frozen model hides the state of its layers, and setting it sets all of them: so the leaves'
    states are noted first and set again after.
    """
    states = {id(layer): layer.trainable for layer in leaf_layers(model)}
    states.update({id(layer): trainable for layer in chosen})
    for container in _containers(model):
        if not container.trainable:
            container.trainable = True
    for layer in leaf_layers(model):
        if layer.trainable != states[id(layer)]:
            layer.trainable = states[id(layer)]
    renew_train_step(model)


def _containers(model: keras.Model) -> Iterator[keras.Model]:
    yield model
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _containers(layer)
