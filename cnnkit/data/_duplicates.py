"""Which files are copies of each other, byte by byte or by their looks."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnnkit.data._parallel import parallel_map
from cnnkit.data._reading import read_image
from cnnkit.exceptions import ImageReadError

Codes = NDArray[np.intp]

# Of 255 bits. `nox -s bench -- near_duplicates` shows what this finds and what it mistakes.
NEAR = 56


def looks_of(path: str) -> NDArray[np.int8] | None:
    """Return 255 signs that tell how an image looks, or None for a blank one.

    They are the signs of the lowest frequencies of the discrete cosine transform of the 32x32
    gray image, its mean left out (the perceptual hash of Zauner, "Implementation and benchmarking
    of perceptual image hash functions", 2010, with more bits and without the median). They stay
    when an image is resized, compressed again or made brighter.

    Raises:
        ImageReadError: If the file can't be read.
    """
    gray = read_image(path, (32, 32), color_mode="grayscale")[..., 0].astype(np.float32)
    if gray.std() < 1:
        return None
    frequencies = cv2.dct(gray)[:16, :16].ravel()[1:]
    return np.where(frequencies > 0, 1, -1).astype(np.int8)


def identical(paths: Sequence[str]) -> Codes:
    """Return a number for each file, the same for files with the same bytes."""
    sizes = pd.Series([_size(path) for path in paths], dtype="int64")
    shared = sizes.duplicated(keep=False) & (sizes >= 0)
    digests = [
        digest(path) if is_shared else str(place)
        for place, (path, is_shared) in enumerate(zip(paths, shared, strict=True))
    ]
    return pd.factorize(np.asarray(digests, dtype=object))[0]


def similar(looks: Iterable[NDArray[np.int8] | None], codes: Codes) -> Codes:
    """Return a number for each image, the same for images that look alike or have one code.

    Two images look alike if at most `NEAR` of their signs differ; what looks like one of a group
    belongs to the group. Images without looks are like their identical copies only.
    """
    from sklearn.cluster import DBSCAN

    table = pd.DataFrame({"code": codes, "looks": pd.Series(list(looks), dtype=object)})
    known = table.dropna().drop_duplicates("code")
    if known.empty:
        return codes
    signs = np.stack(list(known["looks"])).astype(np.float32)
    # With one sample a core, DBSCAN's clusters are the connected components. Of two vectors of
    # signs the squared Euclidean distance is four times the number of signs that differ.
    radius = 2 * np.sqrt(NEAR + 0.5)
    groups = DBSCAN(eps=radius, min_samples=1, algorithm="brute").fit_predict(signs)
    group_of = dict(zip(known["code"], groups.tolist(), strict=True))
    names = [str(group_of.get(code, f"alone {code}")) for code in codes.tolist()]
    return pd.factorize(np.asarray(names, dtype=object))[0]


def members(groups: Codes) -> Iterator[list[int]]:
    """Yield the rows of each group that has more than one."""
    rows = pd.Series(np.arange(len(groups)))[np.bincount(groups)[groups] > 1]
    for _, shared in rows.groupby(groups[rows], sort=True):
        yield shared.tolist()


def copies(
    paths: Sequence[str], *, near: bool, workers: int | None, progress: bool
) -> tuple[Codes, Codes]:
    """Return `identical` numbers and, with `near`, `similar` ones; else the former twice."""
    codes = identical(paths)
    if not near:
        return codes, codes
    looks = parallel_map(_looks_if_readable, paths, "comparing images", workers, progress)
    return codes, similar(looks, codes)


def _looks_if_readable(path: str) -> NDArray[np.int8] | None:
    """Return `looks_of` a file, or None if it can't be read."""
    try:
        return looks_of(path)
    except ImageReadError:
        return None


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return -1


def digest(path: str) -> str:
    """Return the SHA-256 of a file, or its path if it can't be read."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return path
