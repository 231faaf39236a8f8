"""Targets of images in the form that a loss expects."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LABEL_MODES = ("categorical", "int", "binary", None)


@dataclass
class TargetMaker:
    """A function from row positions to targets, in the form that a loss expects.

    Attributes:
        numbers: The class number of each image.
        classes: The number of classes.
        label_mode: "categorical" for one-hot rows, "int", or "binary" for a column of 0 and 1.
    """

    numbers: NDArray[Any]
    classes: int
    label_mode: str

    def __post_init__(self) -> None:
        if self.label_mode == "binary" and self.classes != 2:
            msg = (
                "Binary labels need two classes. "
                f"Received: {self.classes} classes. Use 'categorical'."
            )
            raise ValueError(msg)

    @property
    def shape(self) -> tuple[int, ...]:
        return {"categorical": (self.classes,), "int": (), "binary": (1,)}[self.label_mode]

    @property
    def dtype(self) -> type[np.generic]:
        return np.int32 if self.label_mode == "int" else np.float32

    def __call__(self, places: NDArray[np.int64]) -> NDArray[Any]:
        """Return the targets `(len(places), *shape)`."""
        numbers = self.numbers[places]
        if self.label_mode == "categorical":
            numbers = numbers[:, None] == np.arange(self.classes)
        targets: NDArray[Any] = numbers.astype(self.dtype)
        return targets.reshape(len(places), *self.shape)


def flat_targets(targets: NDArray[Any]) -> NDArray[Any]:
    """Return a class for each image, from a column, from one-hot rows, or from flat targets."""
    if targets.ndim == 2:
        return targets[:, 0] if targets.shape[1] == 1 else targets.argmax(axis=1)
    return targets
