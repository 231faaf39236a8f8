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


class ImageTransform:
    """A transform of one uint8 image `(height, width, channels)`, whatever form it came in.

    Args:
        transform: Anything with albumentations' protocol, `transform(image=array)["image"]`, or a
            function of an array.
    """

    def __init__(self, transform: Transform) -> None:
        if is_keras_layer(transform):
            msg = (
                "`transform` must be a function of one uint8 image. Received: a Keras layer. Pass "
                "it to `image_dataset`, or put it into the model, for example "
                "`simple_cnn(…, augmentation=layer)`."
            )
            raise TypeError(msg)
        self._transform = transform
        self._by_name = _takes_image_by_name(transform)

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the transformed image; the given one stays as it is."""
        copy = image.copy()  # some transforms write into their input
        result = self._transform(image=copy) if self._by_name else self._transform(copy)
        pixels = np.asarray(result["image"] if isinstance(result, Mapping) else result)
        if pixels.dtype != np.uint8:
            msg = (
                "`transform` must give uint8 pixels in 0..255. "
                f"Received: {pixels.dtype}. Leave the scaling to `mode`."
            )
            raise ValueError(msg)
        return pixels

    def reseed(self, key: Sequence[int]) -> None:
        """Make the next draw depend on `key` alone.

        One generator is shared by all transforms of a Compose: with albumentations' own seeding
        each child starts from the same number, so that a horizontal and a vertical flip always
        come together.
        """
        if hasattr(self._transform, "set_random_state"):
            generator = np.random.default_rng(key)
            python = random.Random(int(generator.integers(2**63)))
            self._transform.set_random_state(generator, python)


def is_keras_layer(transform: object) -> bool:
    """Tell whether a transform is a Keras layer, which works on float batches in a model."""
    return hasattr(transform, "call") and hasattr(transform, "trainable")


def check_same_shape(before: Sequence[int], after: Sequence[int]) -> None:
    """Raise a ValueError if a transform has changed the shape of an image."""
    if before != after:
        msg = (
            "`transform` must keep the shape of the image, so that images can form a batch. "
            f"Received: {before} became {after}. End it with a resize, for example "
            f"albumentations.Resize({before[0]}, {before[1]})."
        )
        raise ValueError(msg)


def _takes_image_by_name(transform: Transform) -> bool:
    try:
        parameters = inspect.signature(transform).parameters
    except ValueError:  # some functions written in C have no signature
        return False
    kinds = {part.kind for part in parameters.values()}
    by_place = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    return "image" in parameters or (
        inspect.Parameter.VAR_KEYWORD in kinds and not kinds & by_place
    )
