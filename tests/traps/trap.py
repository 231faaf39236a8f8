"""One row of the table."""

from typing import NamedTuple


class Trap(NamedTuple):
    """A trap: the naive way, our way, and whether the comparison holds.

    Attributes:
        title: What goes wrong.
        figure: What is measured.
        naive: The result of the code that people copy.
        ours: The result of cnnkit for the same work.
        holds: Whether the naive way goes wrong and ours does not.
        met: Where users met the trap.
    """

    title: str
    figure: str
    naive: str
    ours: str
    holds: bool
    met: str
