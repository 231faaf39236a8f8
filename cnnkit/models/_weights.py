"""Loading weights: all of them, into the right layers, or an error."""

import math
import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from cnnkit._keras.graph import has_outputs, head_of, weighted_layers
from cnnkit.models._weight_files import Layers, SourceLayer, layers_of_model, read_layers

# What changes the result without changing the shape of a weight. The stride tells the two versions
# of ResNet apart, the epsilon of BatchNorm the notes' ResNet from the published one.
_TOLD_BY_CONFIG = ("strides", "dilation_rate", "padding", "groups", "epsilon")

_WITHOUT_HEAD = "`load_weights(..., skip_head=True)` leaves the head out."
_ANOTHER = "Build the model that the weights belong to."


class LoadedWeights(NamedTuple):
    """What `load_weights` has done.

    Attributes:
        loaded: Names of the layers whose weights were loaded.
        skipped: Names of the model's layers that kept their weights: its head.
        unused: Names of the source's layers that went nowhere: its head.
    """

    loaded: list[str]
    skipped: list[str]
    unused: list[str]


def load_weights(
    model: keras.Model, source: str | PathLike[str] | keras.Model, *, skip_head: bool = False
) -> LoadedWeights:
    """Load weights by the names of layers, all or none.

    Keras's own `load_weights` goes by order, or by name without a word about what doesn't match.
    Here every layer must find its weights, and the weights their layer. Where the source tells how
    its layers work (a model, a `.keras` file, a whole model in `.h5`), strides, padding and the
    epsilon of BatchNorm must agree too.

    Args:
        model: The model, changed in place.
        source: Another model, or a file: `.keras`, `.weights.h5`, an `.h5` of keras.applications,
            or the state dict of torchvision's googlenet as `.pth` (needs torch), `.safetensors`
            (needs safetensors) or `.npz`, for `googlenet(variant="torchvision")`.
        skip_head: If True, the head keeps its weights, and that of the source isn't used. The head
            is what comes after the feature maps.

    Returns:
        The names of the layers that were loaded, skipped and not used.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If `model` is no model, or `source` neither a model nor a path.
        ImportError: If reading the file needs a package that isn't installed.
        ValueError: If a layer finds no weights or weights no layer, if a shape or a setting
            differs, or if the file can't be read. The model is unchanged then.

    Example:
        >>> from cnnkit.models import load_weights, simple_cnn
        >>> trained = simple_cnn((32, 32, 3), 10)
        >>> model = simple_cnn((32, 32, 3), 3)
        >>> load_weights(model, trained, skip_head=True).skipped
        ['fc1', 'predictions']
    """
    if not isinstance(model, keras.Model) or not isinstance(source, keras.Model | str | PathLike):
        msg = (
            "`model` must be a Keras model, and `source` another or the path of a file. Received: "
            f"model={type(model).__name__}, source={type(source).__name__}."
        )
        raise TypeError(msg)
    is_model = isinstance(source, keras.Model)
    found = layers_of_model(source) if is_model else read_layers(Path(source))
    ours = weighted_layers(model)
    head = head_of(model) & ours.keys() if skip_head else set()
    if skip_head and not head and not has_outputs(model):
        msg = (
            "`skip_head=True` needs a model whose graph tells where the head begins. "
            f"Received: {type(model).__name__}, a class of its own."
        )
        raise ValueError(msg)
    wanted = {name: layer for name, layer in ours.items() if name not in head}
    unused = [name for name in found if name not in wanted]
    too_many = [name for name in unused if not (skip_head and _is_head(found, name))]
    _check_names(model, wanted, found, too_many)
    for name, layer in wanted.items():
        _check_layer(model, layer, found[name])
    for name, layer in wanted.items():
        layer.set_weights(found[name].arrays)
        if hasattr(layer, "finalize_state"):  # Normalization works with a copy of its weights
            layer.finalize_state()
    return LoadedWeights(list(wanted), [name for name in ours if name in head], unused)


def _is_head(found: Layers, name: str) -> bool:
    """Tell whether a layer of the source is of its head, or may be: a dense one."""
    layer = found[name]
    if layer.in_head is not None:
        return layer.in_head
    is_auxiliary = re.match(r"aux\d_", name) is not None  # GoogLeNet's, convolutions too
    return is_auxiliary or max(array.ndim for array in layer.arrays) == 2


def _check_names(
    model: keras.Model, wanted: Mapping[str, Any], found: Layers, unused: list[str]
) -> None:
    missing = [name for name in wanted if name not in found]
    if wanted and not missing and not unused:
        return
    some = len(missing) < len(wanted)
    received = [
        f"{_few(names)} {what}"
        for names, what in ((missing, "without weights"), (unused, "without a layer"))
        if names
    ]
    is_head = some and all(_is_head(found, name) for name in unused)
    is_head = is_head and set(missing) <= head_of(model)
    advice = _WITHOUT_HEAD if is_head else _ANOTHER
    rule = "Every layer must find its weights, and all weights their layer"
    problem = "; ".join(received) or "nothing but a head"
    msg = f"{rule}{'' if some else ', but no name fits'}. Received: {problem}. {advice}"
    raise ValueError(msg)


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _check_layer(model: keras.Model, layer: Any, source: SourceLayer) -> None:
    ours, theirs = [tuple(w.shape) for w in layer.weights], [x.shape for x in source.arrays]
    if ours != theirs:
        is_head = layer.name in head_of(model)
        msg = (
            f"The weights of {layer.name!r} must have the shapes {ours}. Received: {theirs}. "
            f"{_WITHOUT_HEAD if is_head else _ANOTHER}"
        )
        raise ValueError(msg)
    config = source.config
    for key, value in layer.get_config().items():
        if key in _TOLD_BY_CONFIG and key in config and not _same(value, config[key]):
            msg = (
                f"The weights of {layer.name!r} must come from a layer with {key}={value!r}: with "
                f"another, the same weights compute something else. Received: {config[key]!r}. "
                f"{_ANOTHER}"
            )
            raise ValueError(msg)


def _same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float):
        return math.isclose(ours, theirs, rel_tol=0.01)
    return bool(np.array_equal(ours, theirs))
