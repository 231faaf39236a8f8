"""Reading the output of a layer while the whole model runs.

This way, the layer may be anywhere, also in a nested model. Otherwise, the graph of the nested
model would have to be rebuilt.
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
    """Return the image to show, `(height, width, channels)`, and the batch for the model.

    A file is shown in its own size and proportions. The batch is `(1, height, width, channels)`,
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
            "Pass the path of a file, which is read at that size, or the raw pixels of one image."
        )
        raise ValueError(msg)
    check_mode_of_model(model, mode)
    return seen, scale(picture[None], mode)


def _input_shape(model: Any) -> tuple[Any, ...]:
    """Return the height, width and channels of a model's input."""
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4:
        msg = (
            "`model` must be a built Sequential or functional model that takes a batch of images. "
            f"Received: {type(model).__name__} with the input shape {shape}. "
            "Start it with a keras.Input. A subclassed model has no graph to look into."
        )
        raise ValueError(msg)
    return shape[1:]


def layer_named(model: Any, name: str | None) -> Any:
    """Return a layer with feature maps or a nested model, by default the last one."""
    layers = {layer.name: layer for layer in _with_maps(model)}
    if layers and name is None:
        name = next(reversed(layers))
    if name not in layers:
        near = get_close_matches(str(name), layers)
        others = (
            f"The last ones are {listed(list(layers)[-4:])}." if layers else "The model has none."
        )
        msg = (
            "`layer` must name a layer that gives feature maps, (batch, height, width, channels). "
            f"Received: layer={name!r}. {f'Did you mean {listed(near)}?' if near else others}"
        )
        raise ValueError(msg)
    return layers[name]


def _with_maps(model: Any) -> Iterator[Any]:
    """Yield the layers that output feature maps, including those of nested models."""
    from cnnkit._keras.graph import was_called  # Keras loads here, not with cnnkit.viz

    for operation in getattr(model, "operations", model.layers):
        is_input = type(operation).__name__ == "InputLayer"
        called = was_called(operation) and not is_input
        if called and len(getattr(operation.output, "shape", ())) == 4:
            yield operation
        if hasattr(operation, "layers"):
            yield from _with_maps(operation)


@contextmanager
def replaced(layer: Any, **attributes: Any) -> Iterator[None]:
    """Replace attributes of a layer for the length of a `with` block."""
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
