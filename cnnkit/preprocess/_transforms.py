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
        if not callable(transform):
            msg = (
                "`transform` must be a function of one uint8 image, or a transform of "
                f"albumentations. Received: {type(transform).__name__}. Several of them make one "
                "by albumentations.Compose([...])."
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
        """Return the transformed image; the given one stays as it is."""
        copy = image.copy()  # some transforms write into their input
        result = self._transform(image=copy) if self._by_name else self._transform(copy)
        pixels = np.asarray(result["image"] if isinstance(result, Mapping) else result)
        if pixels.dtype != np.uint8:
            msg = (
                "`transform` must give uint8 pixels in 0..255. Received: "
                f"{pixels.dtype if pixels.ndim else type(result).__name__}. "
                "Leave scaling out of it, A.Normalize for one."
            )
            raise ValueError(msg)
        return pixels

    def reseed(self, seed: int, epoch: int, place: int) -> None:
        """Make the next draw depend on these numbers alone.

        One generator is shared by all transforms of a Compose: with albumentations' own seeding
        each child starts from the same number, so that a horizontal and a vertical flip always
        come together. The generator counts (Philox; Salmon et al. 2011), so that setting its
        counter is enough: a new one for each image takes more time.
        """
        if not self.can_be_reseeded:
            return
        bits = self._generator.bit_generator
        state: dict[str, Any] = bits.state  # type: ignore[assignment]  # typed for any generator
        if seed >= 2**64:  # a key has no room for more
            seed = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])
        state["state"]["key"][:] = seed, epoch
        state["state"]["counter"][:] = 0, 0, place, 0  # the low half counts what is drawn
        state |= {"buffer_pos": 4, "has_uint32": 0}
        bits.state = state
        self._python.seed(int(self._generator.integers(2**63)))
        self._transform.set_random_state(self._generator, self._python)


def is_keras_layer(transform: object) -> bool:
    """Tell whether a transform is a Keras layer, which works on float batches in a model."""
    return hasattr(transform, "call") and hasattr(transform, "trainable")


def check_same_shape(before: Sequence[int], after: Sequence[int]) -> None:
    """Raise a ValueError if a transform has changed the shape of an image."""
    if before != after:
        advice = (
            f"End it with a resize, for example albumentations.Resize({before[0]}, {before[1]})."
        )
        if tuple(before[:2]) == tuple(after):  # OpenCV drops the only channel
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
