"""The parts of layers, and layers that models of several kinds use."""

from typing import Any

import keras
import numpy as np
from keras import layers

# The rates of dropout in layers: dropout, attention (Keras 3.12 to 3.15 keeps its rate private;
# without it: the rate in its configuration), cells, and whole paths.
_RATES = ("rate", "dropout", "_dropout", "recurrent_dropout", "drop_path_rate")


def parts_of(layer: Any) -> list[Any]:
    """Return a layer and the layers inside it, from the outside in."""
    # Keras 3.12 to 3.15; plain operations have none. Without it: the public attributes of a layer
    # that are layers themselves, or lists of them.
    flatten = getattr(layer, "_flatten_layers", None)
    return [] if flatten is None else list(flatten())


def draws_in_training(layer: Any) -> bool:
    """Tell whether a layer draws at random in training, unless its rate is 0."""
    # Keras 3.12 to 3.15. Without it: a `seed` or `seed_generator` among the layer's attributes.
    seeded = hasattr(layer, "seed") or bool(getattr(layer, "_seed_generators", ()))
    rates = [getattr(layer, name, None) for name in _RATES]
    rates = [rate for rate in rates if isinstance(rate, int | float)]
    # Keras's StochasticDepth has no seed of its own.
    return (seeded or hasattr(layer, "drop_path_rate")) and (not rates or any(rates))


def scaled(x: Any, scaling: Any, name: str) -> Any:
    """Scale pixels of 0..255 inside a model, with Keras's own layers.

    Args:
        x: A tensor `(batch, height, width, channels)`.
        scaling: The scaling of a mode, from `cnnkit.preprocess`.
        name: Name of the layer. A scaling that changes nothing adds no layer.
    """
    if scaling == type(scaling)():
        return x
    if scaling.reverse_channels:
        x = keras.ops.flip(x, axis=-1)
    mean, deviation = np.broadcast_arrays(scaling.mean, scaling.deviation)
    factors = (1 / (scaling.divisor * deviation)).tolist()
    offsets = (-mean / deviation).tolist()
    if len(factors) == 1:  # one value for any number of channels
        factors, offsets = factors[0], offsets[0]
    return layers.Rescaling(factors, offsets, dtype=full_precision(), name=name)(x)


def drop(x: Any, dropout: float, name: str) -> Any:
    """Add a dropout layer, or none if the rate is 0."""
    return layers.Dropout(dropout, name=name)(x) if dropout else x


def full_precision() -> str:
    """Return the dtype of weights under the current policy: float32 with mixed precision.

    Pixels and probabilities use it, because half precision loses small differences.
    """
    return str(keras.config.dtype_policy().variable_dtype)
