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

from cnnkit._foundation.validation import listed
from cnnkit.data._files.reading import read_image
from cnnkit.preprocess import scale
from cnnkit.preprocess._modes import check_mode_of_model

Image = ArrayLike | str | os.PathLike[str]


def model_input(model: Any, image: Image, mode: str) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Return the image as it is to be seen `(height, width, channels)`, and as the model wants it.

    A file is seen in its own size and proportions. The batch is `(1, height, width, channels)`,
    float32.
    """
    height, width, channels = _input_shape(model)
    if isinstance(image, str | os.PathLike):
        size = None if None in (height, width) else (height, width)
        color_mode = "grayscale" if channels == 1 else "rgb"
        picture = read_image(image, size, color_mode=color_mode)
        seen = read_image(image, color_mode=color_mode)
    else:
        picture = seen = np.asarray(image)
    fits = picture.ndim == 3 and all(
        wanted in (None, given)
        for wanted, given in zip((height, width, channels), picture.shape, strict=True)
    )
    if not fits or picture.dtype != np.uint8:
        msg = (
            "`image` must be a file, or a uint8 array of the model's size, "
            f"{(height, width, channels)}. Received: {picture.dtype} of shape {picture.shape}. "
            "Give a file, which is read at that size, or raw pixels of one image."
        )
        raise ValueError(msg)
    check_mode_of_model(model, mode)
    return seen, scale(picture[None], mode)


def _input_shape(model: Any) -> tuple[Any, ...]:
    """Return height, width and channels of the images that a model takes."""
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4:
        msg = (
            "`model` must be a built Sequential or functional model of one batch of images. "
            f"Received: {type(model).__name__} with the input shape {shape}. "
            "Begin it with a keras.Input; a subclassed model has no graph to look into."
        )
        raise ValueError(msg)
    return shape[1:]


def layer_named(model: Any, name: str | None) -> Any:
    """Return a layer with feature maps, or a model inside the model; by default the last."""
    layers = {layer.name: layer for layer in _with_maps(model)}
    if layers and name is None:
        name = next(reversed(layers))
    if name not in layers:
        near = get_close_matches(str(name), layers)
        others = f"The last of them are {listed(list(layers)[-4:])}." if layers else "It has none."
        msg = (
            "`layer` must name a layer that gives feature maps, (batch, height, width, channels). "
            f"Received: layer={name!r}. {f'Did you mean {listed(near)}?' if near else others}"
        )
        raise ValueError(msg)
    return layers[name]


def _with_maps(model: Any) -> Iterator[Any]:
    """Yield what gives feature maps: a model's layers, and those of the models inside it."""
    from cnnkit._keras.graph import was_called  # Keras loads here, not with cnnkit.viz

    for operation in getattr(model, "operations", model.layers):
        is_input = type(operation).__name__ == "InputLayer"
        if (
            was_called(operation)
            and not is_input
            and len(getattr(operation.output, "shape", ())) == 4
        ):
            yield operation
        if hasattr(operation, "layers"):
            yield from _with_maps(operation)


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
