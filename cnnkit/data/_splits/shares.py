"""The arithmetic of splitting: how many images of each class go to each part."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TRIES = 50


def class_counts(class_sizes: NDArray[np.intp], sizes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Distribute each class over the parts and return the counts `(classes, parts)`.

    Both margins are exact, and every count is its exact share rounded down or up. Among all such
    tables, the result has the fewest empty cells and, among these, rounds up the largest
    remainders. (This is a linear program. Because both margins are integers, so is its solution.)
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
    """Yield the shuffled rows of each class, cut into parts of the given sizes."""
    for code, row in enumerate(counts):
        shuffled = generator.permutation(np.flatnonzero(codes == code))
        yield np.split(shuffled, np.cumsum(row)[:-1])


def grouped_parts(
    codes: NDArray[np.intp],
    groups: NDArray[np.intp],
    counts: NDArray[np.intp],
    generator: np.random.Generator,
) -> NDArray[np.intp]:
    """Return the part of each row, so that groups stay whole and the counts are nearly met.

    scikit-learn's splitters with groups make equal folds or ignore the classes. As in its
    `StratifiedGroupKFold`, the groups are assigned from the largest to the smallest, each to the
    part that lacks most of the group's classes. Groups of equal size are tried in several random
    orders, and the closest result is kept.

    Args:
        codes: The class of each row.
        groups: The group of each row, from 0.
        counts: The wanted number of rows `(classes, parts)`.
        generator: The random generator.
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
    """Return the part of each group, given its classes and its number of images of each."""
    lacking = wanted.copy()
    groups_left = np.zeros(len(wanted), dtype=np.intp)
    for classes, _ in contents:
        groups_left[classes] += 1
    places = generator.permutation(
        np.flatnonzero(wanted.sum(axis=0))
    )  # in a tie, the first one is taken
    parts = np.empty(len(contents), dtype=np.intp)
    sizes = np.array([counts.sum() for _, counts in contents])
    order = generator.permutation(len(contents))
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        classes, counts = contents[group]
        gain = (counts @ lacking[classes]).astype(np.float64)
        empty = (lacking[classes] == wanted[classes]) & (wanted[classes] > 0)
        last = groups_left[classes] <= empty.sum(
            axis=1
        )  # they must go to an empty part, or it stays empty
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
    """Return how many rows of each class are in each part, `(classes, parts)`."""
    counts = np.zeros(shape, dtype=np.intp)
    np.add.at(counts, (codes, parts), 1)
    return counts


def _distance(
    codes: NDArray[np.intp], parts: NDArray[np.intp], wanted: NDArray[np.intp]
) -> tuple[int, int]:
    """Return a key for comparing assignments (lower is better): empty cells, then deviations."""
    counts = counts_of(codes, parts, wanted.shape)
    empty = ((counts == 0) & (wanted > 0)).sum()
    return int(empty), int(np.square(counts - wanted).sum())
