"""Applying image transforms in the same way wherever one is accepted.

Transforms are duck-typed: neither albumentations nor Keras is imported.
"""

import inspect
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Transform = Callable[..., Any]


class ImageTransform:
    """A transform of one uint8 image `(height, width, channels)`, with a common interface.

    Args:
        transform: A transform of albumentations, or anything that is called like one,
            `transform(image=array)["image"]`; or a function of an array.
    """

    def __init__(self, transform: Transform) -> None:
        if not callable(transform):
            msg = (
                "`transform` must be a function of one uint8 image, or a transform of "
                f"albumentations. Received: {type(transform).__name__}. Combine several with "
                "albumentations.Compose([...])."
            )
            raise TypeError(msg)
        if is_keras_layer(transform):
            msg = (
                "`transform` must be a function of one uint8 image. Received: a Keras layer. Pass "
                "it to `image_dataset`, or put it into the model, for example "
                "`simple_cnn(…, augmentation=layer)`."
            )
            raise TypeError(msg)
        self._transform: Any = transform
        self._generator = np.random.Generator(np.random.Philox(key=0))
        self._python = random.Random(0)
        self._by_name = _takes_image_by_name(transform)

    @property
    def is_function(self) -> bool:
        return inspect.isroutine(self._transform)

    @property
    def can_be_reseeded(self) -> bool:
        return hasattr(self._transform, "set_random_state")

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the transformed image; the given one is not changed."""
        copy = image.copy()  # some transforms write into their input
        result = self._transform(image=copy) if self._by_name else self._transform(copy)
        pixels = np.asarray(result["image"] if isinstance(result, Mapping) else result)
        if pixels.dtype != np.uint8:
            msg = (
                "`transform` must give uint8 pixels in 0..255. Received: "
                f"{pixels.dtype if pixels.ndim else type(result).__name__}. "
                "Leave scaling out of it, for example A.Normalize."
            )
            raise ValueError(msg)
        return pixels

    def reseed(self, seed: int, epoch: int, place: int) -> None:
        """Make the next random draw depend on these numbers only.

        All transforms of a Compose share one generator. With albumentations' own seeding, every
        transform starts from the same number, so a horizontal and a vertical flip always happen
        together. The generator is counter-based (Philox; Salmon et al. 2011). Setting its counter
        is faster than making a new generator for each image.
        """
        if not self.can_be_reseeded:
            return
        bits = self._generator.bit_generator
        state: dict[str, Any] = bits.state  # type: ignore[assignment]  # typed for all bit generators
        if seed >= 2**64:  # a word of the key has 64 bits
            seed = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])
        state["state"]["key"][:] = seed, epoch
        state["state"]["counter"][:] = 0, 0, place, 0  # the low half counts the draws
        state |= {"buffer_pos": 4, "has_uint32": 0}
        bits.state = state
        self._python.seed(int(self._generator.integers(2**63)))
        self._transform.set_random_state(self._generator, self._python)


def is_keras_layer(transform: object) -> bool:
    """Tell whether a transform is a Keras layer, which takes batches of floats in a model."""
    return hasattr(transform, "call") and hasattr(transform, "trainable")


def check_same_shape(before: Sequence[int], after: Sequence[int]) -> None:
    """Raise a ValueError if a transform has changed the shape of an image."""
    if before != after:
        advice = (
            f"End it with a resize, for example albumentations.Resize({before[0]}, {before[1]})."
        )
        if tuple(before[:2]) == tuple(after):  # OpenCV drops a single channel
            advice = "Give the channel back: image[..., None]."
        msg = (
            "`transform` must keep the shape of the image, so that images can form a batch. "
            f"Received: {before} became {after}. {advice}"
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
