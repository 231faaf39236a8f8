"""Listening to a layer while the whole model runs.

So it may stand anywhere, also in a model inside the model, whose graph would have to be taken apart
otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnkit.data._reading import read_image
from cnnkit.preprocess import scale
from cnnkit.preprocess._modes import check_mode_of_model, leaf_operations

Image = ArrayLike | str | os.PathLike[str]


def model_input(model: Any, image: Image, mode: str) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Return the image as it is to be seen `(height, width, channels)`, and as the model wants it.

    The batch is `(1, height, width, channels)`, float32.
    """
    check_mode_of_model(model, mode)
    height, width, channels = model.input_shape[1:]
    if isinstance(image, str | os.PathLike):
        size = None if None in (height, width) else (height, width)
        picture = read_image(image, size, color_mode="grayscale" if channels == 1 else "rgb")
    else:
        picture = np.asarray(image)
    fits = picture.ndim == 3 and all(
        wanted in (None, given)
        for wanted, given in zip((height, width, channels), picture.shape, strict=True)
    )
    if not fits or picture.dtype != np.uint8:
        msg = (
            "`image` must be a file, or a uint8 array of the model's size, "
            f"{(height, width, channels)}. Received: {picture.dtype} of shape {picture.shape}. "
            "Give the file, which is read at that size."
        )
        raise ValueError(msg)
    return picture, scale(picture[None], mode).astype(np.float32, copy=False)


def layer_named(model: Any, name: str) -> Any:
    layers = {layer.name: layer for layer in leaf_operations(model)}
    if name not in layers:
        near = get_close_matches(str(name), layers) or list(layers)[-4:]
        msg = (
            f"`layer` must name a layer of the model. Received: layer={name!r}. "
            f"There are {', '.join(near)} and others."
        )
        raise ValueError(msg)
    return layers[name]


@contextmanager
def replaced(layer: Any, **attributes: Any) -> Iterator[None]:
    """Give a layer other attributes of its own for a while."""
    before = {name: vars(layer)[name] for name in attributes if name in vars(layer)}
    vars(layer).update(attributes)
    try:
        yield
    finally:
        for name in attributes:
            del vars(layer)[name]
        vars(layer).update(before)


def heard_by(hear: Any, call: Any) -> Any:
    def listened(*args: Any, **options: Any) -> Any:
        outputs = call(*args, **options)
        hear(outputs)
        return outputs

    return listened


def maps_of(layer: Any, heard: list[Any]) -> NDArray[Any]:
    """Return the maps `(1, height, width, channels)` that a layer was heard to give."""
    shape = tuple(heard[-1].shape) if heard else ()
    if len(shape) != 4:
        msg = (
            "`layer` must give feature maps, (batch, height, width, channels). "
            f"Received: layer={layer.name!r}, "
            f"{f'which gives {shape}' if heard else 'which the model does not call'}."
        )
        raise ValueError(msg)
    import keras

    maps: NDArray[Any] = keras.ops.convert_to_numpy(heard[-1])
    return maps
