"""Loading weights by layer name: all of them into the right layers, or an error."""

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

# Settings that change the output but not the shapes of the weights. The two versions of ResNet
# differ in their strides; the ResNet of course notes and the published one differ in the epsilon of
# BatchNorm.
_CHECKED_SETTINGS = ("strides", "dilation_rate", "padding", "groups", "epsilon")

_WITHOUT_HEAD = "`load_weights(..., skip_head=True)` leaves the head out."
_ANOTHER = "Build the model that the weights belong to."


class LoadedWeights(NamedTuple):
    """The layers that `load_weights` loaded and left out.

    Attributes:
        loaded: Names of the layers whose weights were loaded.
        skipped: Names of the model's layers that kept their weights: those of its head.
        unused: Names of the source's layers that were not used: those of its head.
    """

    loaded: list[str]
    skipped: list[str]
    unused: list[str]


def load_weights(
    model: keras.Model, source: str | PathLike[str] | keras.Model, *, skip_head: bool = False
) -> LoadedWeights:
    """Load weights by layer name, all or none.

    Keras's own `load_weights` either goes by the order of the layers, or by name and silently
    ignores names that do not match. Here every layer of the model must get weights, and all weights
    of the source must belong to a layer of the model. If the source contains the configuration of
    its layers (a model, a `.keras` file, or a whole model in `.h5`), the strides, padding and
    BatchNorm epsilon must match too.

    Args:
        model: The model to load the weights into. It is changed in place.
        source: Another model, or the path of a file: `.keras`, `.weights.h5`, an `.h5` file of
            keras.applications, or the state dict of torchvision's googlenet as `.pth` (needs
            torch), `.safetensors` (needs safetensors) or `.npz`, for
            `googlenet(variant="torchvision")`.
        skip_head: If True, the head of the model keeps its weights and the head of the source is
            not used. The head is everything after the last feature maps.

    Returns:
        The names of the layers that were loaded, skipped and not used.

    Raises:
        FileNotFoundError: If the file does not exist.
        TypeError: If `model` is not a model, or `source` is neither a model nor a path.
        ImportError: If a package that reads this kind of file is not installed.
        ValueError: If a layer gets no weights, if weights belong to no layer, if a shape or a
            setting differs, or if the file cannot be read. The model is then unchanged.

    Example:
        >>> from cnnkit.models import load_weights, simple_cnn
        >>> trained = simple_cnn((32, 32, 3), 10)
        >>> model = simple_cnn((32, 32, 3), 3)
        >>> load_weights(model, trained, skip_head=True).skipped
        ['fc1', 'predictions']
    """
    if not isinstance(model, keras.Model) or not isinstance(source, keras.Model | str | PathLike):
        msg = (
            "`model` must be a Keras model, and `source` a Keras model or a path. Received: "
            f"model={type(model).__name__}, source={type(source).__name__}."
        )
        raise TypeError(msg)
    is_model = isinstance(source, keras.Model)
    found = layers_of_model(source) if is_model else read_layers(Path(source))
    ours = weighted_layers(model)
    head = head_of(model) & ours.keys() if skip_head else set()
    if skip_head and not head and not has_outputs(model):
        msg = (
            "`skip_head=True` needs a functional or Sequential model, whose graph shows where the "
            f"head begins. Received: {type(model).__name__}, a subclassed model."
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
        if hasattr(layer, "finalize_state"):  # Normalization computes with copies of its weights
            layer.finalize_state()
    return LoadedWeights(list(wanted), [name for name in ours if name in head], unused)


def _is_head(found: Layers, name: str) -> bool:
    """Tell whether a layer of the source belongs to its head.

    If the source does not say, dense layers and auxiliary classifiers count as the head.
    """
    layer = found[name]
    if layer.in_head is not None:
        return layer.in_head
    # The auxiliary heads of GoogLeNet contain convolutions too.
    is_auxiliary = re.match(r"aux\d_", name) is not None
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
    rule = "Every layer must get weights, and all weights must belong to a layer"
    problem = "; ".join(received) or "a model that is only a head"
    msg = f"{rule}{'' if some else ', but no layer name matches'}. Received: {problem}. {advice}"
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
        if key in _CHECKED_SETTINGS and key in config and not _same(value, config[key]):
            msg = (
                f"The weights of {layer.name!r} must come from a layer with {key}={value!r}, "
                "because with another value they compute something else. "
                f"Received: {config[key]!r}. "
                f"{_ANOTHER}"
            )
            raise ValueError(msg)


def _same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float):
        return math.isclose(ours, theirs, rel_tol=0.01)
    return bool(np.array_equal(ours, theirs))
