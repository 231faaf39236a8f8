"""What splitting returns."""

from typing import Generic, NamedTuple, TypeVar

Part = TypeVar("Part")

PARTS = ("train", "validation", "test")


class Split(NamedTuple, Generic[Part]):
    """Three disjoint parts of the same kind.

    Attributes:
        train: What the model learns from.
        validation: What decides between models and epochs.
        test: What is looked at once, at the end.
    """

    train: Part
    validation: Part
    test: Part
