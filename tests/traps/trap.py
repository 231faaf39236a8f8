"""One row of the table."""

from typing import NamedTuple


class Trap(NamedTuple):
    """A trap, the naive way and ours, and whether ours holds.

    Attributes:
        title: What goes wrong.
        figure: What is measured.
        naive: The figure of the code that people paste.
        ours: The figure of cnnkit on the same work.
        holds: Whether the naive way goes wrong here and ours does not.
        met: Where users met it.
    """

    title: str
    figure: str
    naive: str
    ours: str
    holds: bool
    met: str
