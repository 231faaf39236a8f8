"""The parts that all networks share: input, optional scaling, and head."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from cnnkit._foundation.validation import check_one_of, check_whole_number, check_whole_numbers
from cnnkit._keras.graph import names_before
from cnnkit._keras.layers import drop, full_precision, scaled
from cnnkit.preprocess._scaling import scaling_for


def image_input(input_shape: Sequence[int | None], *, least_size: int = 1) -> Any:
    """Return an input tensor, or raise if images of this shape are too small for the network."""
    shape = tuple(input_shape) if hasattr(input_shape, "__iter__") else ()
    if len(shape) != 3 or shape[-1] is None:
        msg = (
            "`input_shape` must be (height, width, channels), for example (224, 224, 3); height "
            f"and width may be None. Received: input_shape={input_shape!r}."
        )
        raise ValueError(msg)
    if any(side is not None and side < least_size for side in shape[:2]):
        msg = (
            f"`input_shape` must be at least {least_size} pixels high and wide for this network. "
            f"Received: input_shape={input_shape!r}. Enlarge the images or use a smaller network, "
            "and check that the channels come last."
        )
        raise ValueError(msg)
    return keras.Input(shape)


def scaling_inside(x: Any, mode: str) -> Any:
    """Scale pixels in 0..255 with Keras layers, by a mode of `cnnkit.preprocess.scale`."""
    return scaled(x, scaling_for(mode, x.shape[-1]), f"scale_{mode}")


def feature_maps(x: Any) -> Any:
    """Return a tensor unchanged, or raise a ValueError unless it holds feature maps."""
    if len(x.shape) != 4:
        msg = (
            "`x` must hold feature maps (batch, height, width, channels). "
            f"Received: a tensor of shape {tuple(x.shape)}."
        )
        raise ValueError(msg)
    return x


def check_new_names(x: Any, name: str, argument: str, advice: str) -> None:
    """Raise a ValueError if layers before a tensor already have the name of a block."""
    if any(other == name or other.startswith(f"{name}_") for other in names_before(x)):
        msg = (
            f"`{argument}` must be unique in the network, because the layers are named after it. "
            f"Received: {name!r}, which is already in use. {advice}"
        )
        raise ValueError(msg)


def check_pooling(pooling: str | None) -> None:
    """Raise a ValueError if the pooling is unknown."""
    check_one_of("pooling", pooling, (None, "avg", "max"))


def pool(x: Any, pooling: str | None) -> Any:
    """Pool feature maps `(batch, height, width, channels)`; None returns them unchanged."""
    check_pooling(pooling)
    if pooling == "avg":
        return layers.GlobalAveragePooling2D(name="avg_pool")(x)
    if pooling == "max":
        return layers.GlobalMaxPooling2D(name="max_pool")(x)
    return x


def classify(
    x: Any,
    n_classes: int,
    *,
    hidden_units: Sequence[int] = (),
    dropout: float = 0.0,
    classifier_activation: str | None = "softmax",
    name: str = "predictions",
) -> Any:
    """Turn a vector `(batch, features)` into class probabilities `(batch, n_classes)`."""
    n_classes = check_whole_number("n_classes", n_classes)
    if n_classes == 1 and classifier_activation == "softmax":
        msg = (
            "`n_classes=1` needs classifier_activation='sigmoid': a softmax over one unit is "
            "always 1. Received: classifier_activation='softmax'. Or use n_classes=2."
        )
        raise ValueError(msg)
    for number, units in enumerate(check_whole_numbers("hidden_units", hidden_units), start=1):
        x = layers.Dense(units, activation="relu", name=f"fc{number}")(x)
        x = drop(x, dropout, f"fc{number}_dropout")
    return layers.Dense(
        n_classes, activation=classifier_activation, dtype=full_precision(), name=name
    )(x)
