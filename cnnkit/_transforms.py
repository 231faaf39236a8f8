"""Applying an image transform, the same way wherever one is accepted.

A transform is known by what it can do; neither albumentations nor Keras is imported.
"""

import inspect
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Transform = Callable[..., Any]


def apply_transform(transform: Transform, image: NDArray[np.uint8]) -> NDArray[Any]:
    """Transform one uint8 image `(height, width, channels)`; the image itself stays as it is.

    The transform has albumentations' protocol, `transform(image=array)["image"]`, or is a function
    of an array.
    """
    copy = image.copy()  # some transforms write into their input
    result = transform(image=copy) if _takes_image_by_name(transform) else transform(copy)
    return np.asarray(result["image"] if isinstance(result, Mapping) else result)


def is_keras_layer(transform: object) -> bool:
    """Tell whether a transform is a Keras layer, which works on float batches in a model."""
    return hasattr(transform, "call") and hasattr(transform, "trainable")


def reseed(transform: Transform, key: Sequence[int]) -> None:
    """Make the next draw of a transform depend on `key` alone.

    One generator is shared by all transforms of a Compose: with albumentations' own seeding each
    child starts from the same number, so that a horizontal and a vertical flip always come
    together.
    """
    if hasattr(transform, "set_random_state"):
        generator = np.random.default_rng(key)
        transform.set_random_state(generator, random.Random(int(generator.integers(2**63))))


def check_same_shape(before: NDArray[Any], after: NDArray[Any]) -> None:
    """Raise a ValueError if a transform has changed the shape of an image."""
    if before.shape != after.shape:
        msg = (
            "`transform` must keep the shape of the image, so that images can form a batch. "
            f"Received: {before.shape} became {after.shape}. End it with a resize, for example "
            f"albumentations.Resize({before.shape[0]}, {before.shape[1]})."
        )
        raise ValueError(msg)


def _takes_image_by_name(transform: Transform) -> bool:
    try:
        parameters = inspect.signature(transform).parameters.values()
    except ValueError:  # some functions written in C have no signature
        return False
    return any(part.name == "image" or part.kind is part.VAR_KEYWORD for part in parameters)
