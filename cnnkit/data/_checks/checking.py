"""Checks of the images of a table before training."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cnnkit.data._checks.duplicates import Codes, identical, looks_of, members, similar
from cnnkit.data._files.decoding import DECODING_ERRORS, orientation_of
from cnnkit.data._files.formats import SUFFIXES
from cnnkit.data._files.parallel import parallel_map
from cnnkit.data._tables.tables import check_table, check_unique_index
from cnnkit.exceptions import ImageReadError

# problem -> severity, the worst first
_PROBLEMS = {
    "unreadable": "error",
    "not an image": "error",
    "damaged": "error",
    "conflicting labels": "error",
    "duplicate": "copy",
    "conflicting near-duplicate": "likeness",
    "near-duplicate": "likeness",
    "blank": "note",
    "wrong extension": "note",
    "rotated": "note",
    "animated": "note",
    "unusual mode": "note",
    "tiny": "note",
    "extreme aspect ratio": "note",
}
_SEVERITIES = tuple(dict.fromkeys(_PROBLEMS.values()))
_TINY = 32  # pixels; ImageNet backbones reduce them to one
_EXTREME = 4  # long side over short side
_MODES = {
    "1": "black and white",
    "L": "gray",
    "LA": "gray with transparency",
    "P": "palette",
    "PA": "palette with transparency",
    "RGBA": "transparency",
    "I;16": "16-bit gray",
    "I;16B": "16-bit gray",
    "I": "32-bit integers",
    "F": "floats",
}


class _Finding(NamedTuple):
    problem: str
    explanation: str
    same_as: str | None = None


class _Inspected(NamedTuple):
    findings: list[_Finding]
    looks: NDArray[np.int8] | None


class _Header(NamedTuple):
    """The properties that an image file declares."""

    suffix: str
    form: str
    mode: str
    size: tuple[int, int]
    frames: int
    orientation: int

    @property
    def pixels(self) -> str:
        return "x".join(map(str, self.size))


def check_images(
    table: pd.DataFrame,
    *,
    near_duplicates: bool = True,
    workers: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Check every image of a table and return the problems found.

    A problem has one of four severities:

    - `"error"`: The file can't be read, is not an image, is damaged, or has the same bytes as a
      file of another class.
    - `"copy"`: The file has the same bytes as an earlier one.
    - `"likeness"`: The image looks nearly the same as another one, which may be resized,
      recompressed or a little brighter.
    - `"note"`: `read_image` reads the file, but other programs may not, or it may be a mistake: an
      image of nearly a single gray level, an extension that does not match the content, an EXIF
      orientation, several frames, a mode other than RGB (CMYK, transparency, palette, 16-bit gray,
      gray), a side shorter than 32 pixels, or a side more than four times as long as the other.

    Images are compared by a perceptual hash. It is made for photos: drawn symbols, such as scanned
    digits, look alike to it. Every pair of images is compared, so the time grows with the square of
    their number.

    Args:
        table: A table as returned by `list_images`, labelled or not. Its index must be unique.
        near_duplicates: If False, only files with the same bytes are copies.
        workers: The number of threads. By default, the number of processors.
        progress: If True, show a progress bar.

    Returns:
        A DataFrame with a row for each problem, the worst first, indexed by the image's index in
        the table: `problem` and `severity` (ordered Categoricals), `explanation`, `same_as` (the
        first file that is the same or looks the same, for conflicts the first one in another class;
        or None) and `file_paths`.

    Raises:
        ValueError: If the table has no column `file_paths` or its index is not unique.

    Example:
        >>> import tempfile, PIL.Image
        >>> from pathlib import Path
        >>> from cnnkit.data import check_images, list_images
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in ("cat", "dog"):
        ...         Path(root, name).mkdir()
        ...         Path(root, name, "1.jpg").write_text(f"a {name}, but no image") and None
        ...     PIL.Image.radial_gradient("L").convert("RGB").save(Path(root, "dog", "2.png"))
        ...     table = list_images(root)
        ...     problems = check_images(table, progress=False)
        >>> problems["problem"].value_counts()[lambda counts: counts > 0].to_dict()
        {'not an image': 2}
        >>> clean = table.drop(problems.query("severity in ['error', 'copy']").index)
        >>> [Path(path).name for path in clean["file_paths"]]
        ['2.png']
    """
    check_table(table, labelled=None)
    check_unique_index(table)
    paths = list(table["file_paths"])
    inspected = parallel_map(_inspect, paths, "checking images", workers, progress)
    found = [(row, finding) for row, image in enumerate(inspected) for finding in image.findings]
    codes = identical(paths, workers, progress)
    groups = similar([image.looks for image in inspected], codes) if near_duplicates else codes
    found += _copies(table, codes, groups)
    return _as_table(table, found)


def _inspect(path: str) -> _Inspected:
    try:
        looks = looks_of(path)
    except ImageReadError as error:
        return _Inspected([_unread(error)], None)
    header = _read_header(path)
    findings = [
        _Finding(problem, str(explanation))
        for problem, look in _LOOKS_AT_HEADER.items()
        if (explanation := look(header))
    ]
    if looks is None:
        findings.append(_Finding("blank", "nearly a single gray level"))
    return _Inspected(findings, looks)


def _unread(error: ImageReadError) -> _Finding:
    cause = error.__cause__
    if isinstance(cause, UnidentifiedImageError):
        return _Finding("not an image", error.reason)
    if isinstance(cause, Image.DecompressionBombError) or getattr(cause, "errno", None):
        return _Finding("unreadable", error.reason)
    return _Finding("damaged", error.reason)


def _read_header(path: str) -> _Header:
    with Image.open(path) as image:
        return _Header(
            suffix=Path(path).suffix.lower(),
            form=image.format or "",
            mode=image.mode,
            size=image.size,
            frames=_frames(image),
            orientation=orientation_of(image),
        )


def _frames(image: Image.Image) -> int:
    """Count the frames. Damage after the first frame does not matter, as only that one is read."""
    try:
        return getattr(image, "n_frames", 1)
    except DECODING_ERRORS:
        return 1


def _wrong_extension(header: _Header) -> str:
    known = SUFFIXES.get(header.form, (header.suffix,))
    return "" if header.suffix in known else f"{header.form} as {header.suffix!r}"


def _unusual_mode(header: _Header) -> str:
    return "" if header.mode == "RGB" else _MODES.get(header.mode, header.mode)


def _several_frames(header: _Header) -> str:
    several = header.frames > 1 and header.form != "MPO"  # a camera's preview is not a frame
    return f"{header.frames} frames, of which the first is read" if several else ""


def _extreme_aspect(header: _Header) -> str:
    long, short = max(header.size), min(header.size)
    return f"{header.pixels} pixels" if long > _EXTREME * short else ""


_LOOKS_AT_HEADER: dict[str, Callable[[_Header], str | bool]] = {
    "wrong extension": _wrong_extension,
    "rotated": lambda header: header.orientation > 1 and f"EXIF orientation {header.orientation}",
    "animated": _several_frames,
    "unusual mode": _unusual_mode,
    "tiny": lambda header: min(header.size) < _TINY and f"{header.pixels} pixels",
    "extreme aspect ratio": _extreme_aspect,
}


def _copies(table: pd.DataFrame, codes: Codes, groups: Codes) -> Iterator[tuple[int, _Finding]]:
    """Yield the copies by their bytes, then those by their looks among distinct files."""
    paths = list(table["file_paths"])
    names = list(table.get("target_names", [None] * len(table)))
    first_of_code = set(np.unique(codes, return_index=True)[1].tolist())
    by_looks = ([row for row in rows if row in first_of_code] for rows in members(groups))
    for sets, likeness, problem, conflict in (
        (members(codes), "the same bytes", "duplicate", "conflicting labels"),
        (by_looks, "looks nearly the same", "near-duplicate", "conflicting near-duplicate"),
    ):
        for row, other in (pair for rows in sets for pair in _pairs(rows, names)):
            if names[row] == names[other]:
                yield row, _Finding(problem, likeness, paths[other])
            else:
                explanation = f"{likeness} as a {names[other]!r}"
                yield row, _Finding(conflict, explanation, paths[other])


def _pairs(rows: list[int], names: list[str | None]) -> Iterator[tuple[int, int]]:
    """Pair each row with the first of another class, or, in one class, with the first row."""
    first = rows[0]
    other_class = next((row for row in rows if names[row] != names[first]), None)
    for row in rows:
        if other_class is not None and names[row] == names[first]:
            yield row, other_class
        elif row != first:
            yield row, first


def _as_table(table: pd.DataFrame, found: list[tuple[int, _Finding]]) -> pd.DataFrame:
    rank = {problem: place for place, problem in enumerate(_PROBLEMS)}
    found = sorted(found, key=lambda item: (rank[item[1].problem], item[0]))
    rows = [row for row, _ in found]
    problems = [finding.problem for _, finding in found]
    severities = [_PROBLEMS[problem] for problem in problems]
    index = table.index[rows]
    return pd.DataFrame(
        {
            "problem": pd.Categorical(problems, list(_PROBLEMS), ordered=True),
            "severity": pd.Categorical(severities, list(_SEVERITIES), ordered=True),
            "explanation": pd.Series(
                [finding.explanation for _, finding in found], index, dtype=str
            ),
            "same_as": pd.Series([finding.same_as for _, finding in found], index, dtype=object),
            "file_paths": table["file_paths"].iloc[rows],
        },
        index=index,
    )
