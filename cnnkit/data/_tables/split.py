"""The type that splitting returns."""

from typing import Generic, NamedTuple, TypeVar

Part = TypeVar("Part")

PARTS = ("train", "validation", "test")


class Split(NamedTuple, Generic[Part]):
    """Three disjoint parts of the same kind.

    Attributes:
        train: The data that the model learns from.
        validation: The data that models and epochs are chosen by.
        test: The data for the final evaluation, to be used once.
    """

    train: Part
    validation: Part
    test: Part
