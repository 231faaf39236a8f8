"""The arithmetic of splitting: how many of each class go where, one by one or in groups."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

_TRIES = 20


def class_counts(class_sizes: NDArray[np.intp], sizes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Share out each class over the parts: `(classes, parts)` counts.

    Both margins are exact and every count is within one of its exact share. A class's images
    that are left after rounding down go to the parts that want most (Ryser's construction of a
    0/1 matrix with given margins), among equals to the largest remainder.
    """
    shares = np.outer(class_sizes, sizes)
    counts, remainders = np.divmod(shares, sizes.sum())
    wanted = sizes - counts.sum(axis=0)
    for row, left in enumerate(class_sizes - counts.sum(axis=1)):
        order = np.lexsort((-remainders[row], -wanted))[:left]
        counts[row, order] += 1
        wanted[order] -= 1
    return counts


def shuffled_parts(
    codes: NDArray[np.intp], counts: NDArray[np.intp], generator: np.random.Generator
) -> Iterator[Sequence[NDArray[np.intp]]]:
    """Yield the rows of each class, in parts of the wanted sizes, at random."""
    for code, row in enumerate(counts):
        shuffled = generator.permutation(np.flatnonzero(codes == code))
        yield np.split(shuffled, np.cumsum(row)[:-1])


def grouped_parts(
    codes: NDArray[np.intp],
    groups: NDArray[np.intp],
    counts: NDArray[np.intp],
    generator: np.random.Generator,
) -> NDArray[np.intp]:
    """Return the part of each row, so that groups stay whole and `counts` is nearly met.

    scikit-learn's splitters with groups make equal folds or ignore the classes. Here as in its
    `StratifiedGroupKFold` the largest groups choose first, each the part that lacks most of what
    the group has. Of several orders among equals the one that comes nearest wins.

    Args:
        codes: The class of each row.
        groups: The group of each row, from 0.
        counts: `(classes, parts)`, how many rows are wanted.
        generator: Where chance comes from.
    """
    rows = np.argsort(groups, kind="stable")
    members = np.split(rows, np.flatnonzero(np.diff(groups[rows])) + 1)
    best = _greedy_parts(codes, members, counts, generator)
    for _ in range(_TRIES):
        if _distance(codes, best, counts) == (0, 0):
            break
        other = _greedy_parts(codes, members, counts, generator)
        best = min(best, other, key=lambda parts: _distance(codes, parts, counts))
    return best


def _greedy_parts(
    codes: NDArray[np.intp],
    members: Sequence[NDArray[np.intp]],
    counts: NDArray[np.intp],
    generator: np.random.Generator,
) -> NDArray[np.intp]:
    wanted_parts = np.flatnonzero(counts.sum(axis=0))
    lacking = counts.copy()
    parts = np.empty(len(codes), dtype=np.intp)
    sizes = np.array([len(rows) for rows in members])
    order = generator.permutation(len(members))
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        classes = codes[members[group]]
        part = wanted_parts[lacking[classes].sum(axis=0)[wanted_parts].argmax()]
        parts[members[group]] = part
        np.subtract.at(lacking[:, part], classes, 1)
    return parts


def counts_of(
    codes: NDArray[np.intp], parts: NDArray[np.intp], shape: tuple[int, ...]
) -> NDArray[np.intp]:
    """Return how many rows of each class stand in each part: `(classes, parts)`."""
    counts = np.zeros(shape, dtype=np.intp)
    np.add.at(counts, (codes, parts), 1)
    return counts


def _distance(
    codes: NDArray[np.intp], parts: NDArray[np.intp], wanted: NDArray[np.intp]
) -> tuple[int, int]:
    """Return what makes one assignment worse than another: empty places first."""
    counts = counts_of(codes, parts, wanted.shape)
    empty = ((counts == 0) & (wanted > 0)).sum()
    return int(empty), int(np.square(counts - wanted).sum())
