"""The arithmetic of splitting: how many of each class go where, one by one or in groups."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TRIES = 50


def class_counts(class_sizes: NDArray[np.intp], sizes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Share out each class over the parts: `(classes, parts)` counts.

    Both margins are exact and every count is its exact share, rounded down or up. Among all such
    tables it is one that leaves the fewest places empty, and of these the one that rounds up the
    largest remainders. (A linear program; with margins given, its solution is whole.)
    """
    from scipy.optimize import linprog

    classes, parts = len(class_sizes), len(sizes)
    total = max(int(sizes.sum()), 1)
    counts, remainders = np.divmod(np.outer(class_sizes, sizes), total)
    if not remainders.any():
        return counts
    gain = remainders / total + classes * parts * ((counts == 0) & (remainders > 0))
    margins = np.vstack(
        [np.kron(np.eye(classes), np.ones(parts)), np.kron(np.ones(classes), np.eye(parts))]
    )
    wanted = np.concatenate([class_sizes - counts.sum(axis=1), sizes - counts.sum(axis=0)])
    bounds = [(0, float(remainder > 0)) for remainder in remainders.ravel()]
    solution: Any = linprog(-gain.ravel(), A_eq=margins, b_eq=wanted, bounds=bounds)
    rounded_up: NDArray[np.intp] = np.rint(solution.x).astype(np.intp).reshape(counts.shape)
    return counts + rounded_up


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
    members = np.split(codes[rows], np.flatnonzero(np.diff(groups[rows])) + 1)
    contents = [np.unique(classes, return_counts=True) for classes in members]
    best = _greedy_parts(contents, counts, generator)
    for _ in range(_TRIES):
        if _distance(codes, best[groups], counts) == (0, 0):
            break
        other = _greedy_parts(contents, counts, generator)
        best = min(best, other, key=lambda parts: _distance(codes, parts[groups], counts))
    return best[groups]


def _greedy_parts(
    contents: Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]],
    wanted: NDArray[np.intp],
    generator: np.random.Generator,
) -> NDArray[np.intp]:
    """Return the part of each group, from the classes in it and how many images of each."""
    lacking = wanted.copy()
    groups_left = np.zeros(len(wanted), dtype=np.intp)
    for classes, _ in contents:
        groups_left[classes] += 1
    places = generator.permutation(np.flatnonzero(wanted.sum(axis=0)))  # the first wins a tie
    parts = np.empty(len(contents), dtype=np.intp)
    sizes = np.array([counts.sum() for _, counts in contents])
    order = generator.permutation(len(contents))
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        classes, counts = contents[group]
        gain = (counts @ lacking[classes]).astype(np.float64)
        empty = (lacking[classes] == wanted[classes]) & (wanted[classes] > 0)
        last = groups_left[classes] <= empty.sum(axis=1)  # else an empty part would stay so
        if last.any():
            gain[~empty[last].any(axis=0)] = -np.inf
        part = places[gain[places].argmax()]
        parts[group] = part
        lacking[classes, part] -= counts
        groups_left[classes] -= 1
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
