"""Which files are copies of each other, by their bytes or by what the images look like."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnnkit._foundation.digests import digest
from cnnkit.data._files.parallel import parallel_map
from cnnkit.data._files.reading import read_image
from cnnkit.exceptions import ImageReadError

Codes = NDArray[np.intp]

# Of 255 bits. `nox -s bench -- near_duplicates` shows how many copies this finds and misses.
NEAR = 56
_BLOCK = 256


def looks_of(path: str) -> NDArray[np.int8] | None:
    """Return 255 signs that describe what an image looks like, or None for a blank image.

    They are the signs of the lowest frequencies of the discrete cosine transform of the 32x32
    gray image, without its mean. This is the perceptual hash of Zauner, "Implementation and
    benchmarking of perceptual image hash functions", 2010, with more bits and without the median:
    with 64 bits, as common libraries use, unrelated images count as copies. The signs hardly change
    when an image is resized, recompressed or made brighter.

    Raises:
        ImageReadError: If the file can't be read.
    """
    gray = read_image(path, (32, 32), color_mode="grayscale")[..., 0].astype(np.float32)
    if gray.std() < 1:
        return None
    frequencies = cv2.dct(gray)[:16, :16].ravel()[1:]
    return np.where(frequencies > 0, 1, -1).astype(np.int8)


def identical(paths: Sequence[str], workers: int | None, progress: bool) -> Codes:
    """Return a number for each file, equal for files with the same bytes."""
    sizes = pd.Series([_size(path) for path in paths], dtype="int64")
    shared = np.flatnonzero(sizes.duplicated(keep=False) & (sizes >= 0)).tolist()
    marks = np.array([str(place) for place in range(len(paths))], dtype=object)
    same_size = [paths[place] for place in shared]
    marks[shared] = parallel_map(digest, same_size, "comparing files", workers, progress)
    return pd.factorize(marks)[0]


def similar(looks: Iterable[NDArray[np.int8] | None], codes: Codes) -> Codes:
    """Return a number for each image, equal for images that look alike or have the same code.

    Two images look alike if at most `NEAR` of their signs differ. An image that looks like any
    member of a group belongs to the group. Images without signs only match identical copies.
    """
    table = pd.DataFrame({"code": codes, "looks": pd.Series(list(looks), dtype=object)})
    known = table.dropna().drop_duplicates("code")
    if known.empty:
        return codes
    group_of = np.arange(len(table))
    group_of[known["code"]] = known["code"].to_numpy()[_groups(np.stack(list(known["looks"])))]
    return pd.factorize(group_of[codes])[0]


def _groups(signs: NDArray[np.int8]) -> Codes:
    """Return for each row the first row of its group.

    Every row takes the smallest number among its near rows, until nothing changes. This needs
    memory for one block of pairs only, where a list of all pairs may not fit.
    """
    signs = signs.astype(np.float32)
    least = signs.shape[1] - 2 * NEAR  # the product is the number of equal signs minus the others
    groups = np.arange(len(signs))
    before = np.full_like(groups, -1)
    while (groups != before).any():
        before = groups.copy()
        for start in range(0, len(signs), _BLOCK):
            block = slice(start, start + _BLOCK)
            near = signs[block] @ signs.T >= least
            groups[block] = np.where(near, groups, len(groups)).min(axis=1)
    return groups


def members(groups: Codes) -> Iterator[list[int]]:
    """Yield the rows of each group with more than one row."""
    rows = pd.Series(np.arange(len(groups)))[np.bincount(groups)[groups] > 1]
    for _, shared in rows.groupby(groups[rows], sort=True):
        yield shared.tolist()


def copies(
    paths: Sequence[str], *, near: bool, workers: int | None, progress: bool
) -> tuple[Codes, Codes]:
    """Return the numbers of `identical` and, with `near`, of `similar`; else the former twice."""
    codes = identical(paths, workers, progress)
    if not near:
        return codes, codes
    looks = parallel_map(_looks_if_readable, paths, "comparing images", workers, progress)
    return codes, similar(looks, codes)


def _looks_if_readable(path: str) -> NDArray[np.int8] | None:
    """Return `looks_of` for a file, or None if the file can't be read."""
    try:
        return looks_of(path)
    except ImageReadError:
        return None


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return -1
