"""The scaling mode that the published weights of a network expect.

This module does not import Keras. It recognizes a model by the names and types of its layers.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from cnnkit._foundation.validation import check_one_of
from cnnkit.preprocess._scaling import MODES

_SCALING_LAYERS = frozenset({"Rescaling", "Normalization"})
_ADVICE = "Pass the mode yourself: mode='tf', 'torch', 'caffe', 'unit' or 'none'."


class _Family(NamedTuple):
    """A family of networks: a pattern of its names, its mode, and a layer that only it has."""

    pattern: str
    mode: str
    layer: str


# The modes are those of `preprocess_input` in each module of keras.applications. "none" means that
# the network scales its input. If a model of such a family has no scaling layer, it was built with
# `include_preprocessing=False`, and nothing tells which scaling it was trained with.
_FAMILIES = (
    _Family(r"vgg(16|19)", "caffe", "block5_conv3"),
    _Family(r"resnet(50|101|152)", "caffe", "conv5_block3_3_bn"),
    _Family(r"resnet(50|101|152)v2", "tf", "conv5_block3_3_conv"),
    _Family(r"xception", "tf", "block14_sepconv2"),
    _Family(r"inceptionv3", "tf", "mixed10"),
    _Family(r"inceptionresnetv2", "tf", "conv_7b"),
    _Family(r"mobilenet(\d[\d.]*(none)?)?", "tf", "conv_pw_13"),
    _Family(r"mobilenetv2(\d[\d.]*(none)?)?", "tf", "block_16_project"),
    _Family(r"nasnet(mobile|large)?", "tf", "stem_conv1"),
    _Family(r"densenet(121|169|201)", "torch", "conv5_block16_concat"),
    _Family(r"efficientnetb[0-7]", "none", ""),
    _Family(r"efficientnetv2(b[0-3]|s|m|l)", "none", ""),
    _Family(r"convnext(tiny|small|base|large|xlarge)", "none", ""),
    _Family(r"mobilenetv3(small|large)", "none", ""),
)


def mode_for(architecture: Any) -> str:
    """Return the scaling mode that the published weights of a keras.applications network expect.

    Args:
        architecture: A name (`"ResNet50"`), a builder (`keras.applications.ResNet50`) or a model.
            The mode of a model with scaling layers before its first weights is `"none"`. Any other
            model is recognized by its name and by a layer that only its family has.

    Returns:
        One of the modes of `scale`.

    Raises:
        ValueError: If the network is unknown, or if its training is unknown: it was trained from
            scratch, or built with `include_preprocessing=False`.

    Example:
        >>> from cnnkit.preprocess import mode_for
        >>> mode_for("ResNet50"), mode_for("MobileNetV2"), mode_for("EfficientNetB0")
        ('caffe', 'tf', 'none')
    """
    if hasattr(architecture, "layers"):
        return _mode_of_model(architecture)
    name = architecture if isinstance(architecture, str) else getattr(architecture, "__name__", "")
    family = _family(name)
    if family is None:
        msg = (
            "`architecture` must be a network of keras.applications. "
            f"Received: architecture={name or architecture!r}. {_ADVICE}"
        )
        raise ValueError(msg)
    return family.mode


def _mode_of_model(model: Any) -> str:
    if scales_inside(model):
        return "none"
    family = _family(model.name)
    names = {layer.name for layer in leaf_operations(model)}
    unclear = any(map(_may_scale, _front(model)))
    if family is None or family.layer not in names or unclear:
        front = "with operations that may scale its input" if unclear else "without scaling layers"
        msg = (
            "`architecture` must be a network of keras.applications or a model that scales its "
            f"input. Received: a model named {model.name!r} {front}. {_ADVICE}"
        )
        raise ValueError(msg)
    return family.mode


def _family(name: str) -> _Family | None:
    """Return the family of a name such as `ResNet50`, `inception_v3` or `mobilenetv2_1.00_224`."""
    plain = re.sub(r"[-_]", "", name.lower())
    return next((row for row in _FAMILIES if re.fullmatch(row.pattern, plain)), None)


def scales_inside(model: Any) -> bool:
    """Tell whether a model has scaling layers before its first weights."""
    return any(type(layer).__name__ in _SCALING_LAYERS for layer in _front(model))


def check_mode_of_model(model: Any, mode: str) -> None:
    """Raise a ValueError if the mode is unknown, or if the images would be scaled twice."""
    check_one_of("mode", mode, MODES)
    if mode != "none" and scales_inside(model):
        msg = (
            "`mode` must be 'none' for a model that scales inside, or images would be scaled "
            f"twice. Received: mode={mode!r}."
        )
        raise ValueError(msg)


def _front(model: Any) -> Iterator[Any]:
    """Yield the layers before the first weights. The weights of scaling layers do not count."""
    for layer in leaf_operations(model):
        if getattr(layer, "weights", ()) and type(layer).__name__ not in _SCALING_LAYERS:
            return
        yield layer


def _may_scale(layer: Any) -> bool:
    """Tell whether a layer is a Lambda or a bare operation, as `preprocess_input` adds."""
    return type(layer).__name__ == "Lambda" or not hasattr(layer, "weights")


def leaf_operations(model: Any) -> Iterator[Any]:
    """Yield the layers and bare operations of a model and of the models inside it."""
    # Only functional models have bare operations, such as `x / 255`.
    for layer in getattr(model, "operations", model.layers):
        if hasattr(layer, "layers"):
            yield from leaf_operations(layer)
        else:
            yield layer
