"""From folders to tables of images."""

import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path

import numpy as np
import pandas as pd

from cnnkit._foundation.journals import check_settled
from cnnkit.data._files.formats import ALL_SUFFIXES
from cnnkit.data._tables.names import normal
from cnnkit.data._tables.split import Split
from cnnkit.data._tables.tables import class_names_of, with_codes, with_targets

_SUFFIXES = frozenset(ALL_SUFFIXES)
PART_FOLDERS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid"),
    "test": ("test", "testing"),
}

Labels = str | re.Pattern[str] | Callable[[Path], str] | None


def list_images(
    directory: str | os.PathLike[str],
    *,
    labels: Labels = "folder",
    class_names: Sequence[str] | None = None,
) -> pd.DataFrame:
    r"""List the image files below a folder as a table.

    Image files are recognized by their extensions: jpg, jpeg, jpe, jfif, png, apng, gif, bmp, dib,
    tif, tiff, webp, ppm, pgm, pbm, pnm, avif, jp2, j2k, jpx and mpo, in upper or lower case. Other
    files, hidden files and hidden folders are skipped. The rows are sorted by name, on every file
    system.

    Args:
        directory: The folder.
        labels: Where the class of an image comes from. `"folder"`: the subfolder of `directory`
            that contains the image; images outside of subfolders are skipped. A compiled regular
            expression with one group: its match in the file name, for example
            `re.compile(r"^(cat|dog)\.")` for `cat.1006.jpg`. A function: its result for the path.
            None: the images have no labels.
        class_names: All class names, in the order of their numbers. Sorted by default.

    Returns:
        A DataFrame with a row for each image: `file_paths` (str), `target_names` (a Categorical
        whose categories are all class names in order) and `targets` (int, the class number). With
        `labels=None`, it has only `file_paths`.

    Raises:
        FileNotFoundError: If the folder does not exist.
        ValueError: If the folder contains no images or no class folders, a file name yields no
            class, or a class is missing from `class_names`.

    Example:
        >>> from pathlib import Path
        >>> from sklearn.datasets import load_sample_images
        >>> from cnnkit.data import list_images
        >>> folder = Path(load_sample_images().filenames[0]).parent
        >>> table = list_images(folder, labels=lambda path: path.stem)
        >>> table["target_names"].tolist(), table["targets"].tolist()
        (['china', 'flower'], [0, 1])
    """
    root = existing_folder(directory)
    check_settled(root)
    if labels == "folder":
        return _by_folder(root, class_names)
    paths = _image_files(os.fspath(root))
    if not paths:
        msg = (
            f"`directory` must hold images ({', '.join(ALL_SUFFIXES)}). "
            f"Received: {os.fspath(root)!r}, which holds none."
        )
        raise ValueError(msg)
    table = pd.DataFrame({"file_paths": paths})
    if labels is None:
        return table
    label = _labeller(labels)
    return with_targets(table, [_label(label, Path(path)) for path in paths], class_names)


def _by_folder(root: Path, class_names: Sequence[str] | None) -> pd.DataFrame:
    above = frozenset({_identity(os.fspath(root))})
    files = {folder.name: _image_files(folder.path, above) for folder in class_folders(root)}
    files = {name: paths for name, paths in files.items() if paths}
    if not files:
        raise ValueError(_no_class_folders(root))
    check_not_split(root, set(files))
    table = pd.DataFrame({"file_paths": [path for paths in files.values() for path in paths]})
    names, codes = np.unique([normal(name) for name in files], return_inverse=True)
    sizes = [len(paths) for paths in files.values()]
    return with_codes(table, names.tolist(), np.repeat(codes, sizes), class_names)


def list_splits(
    directory: str | os.PathLike[str], *, class_names: Sequence[str] | None = None
) -> Split[pd.DataFrame]:
    """List a folder that is already split into `train`, `validation` and `test` folders.

    Args:
        directory: The folder that contains `train/<class>/`, and `validation/` (also `val/`,
            `valid/`) or `test/`, or both.
        class_names: All class names, in the order of their numbers. Sorted by default. Pass them
            if `split_folder` wrote the folders from a table with another order.

    Returns:
        A `Split` of tables like those of `list_images`, all with the same class order. A part
        whose folder is missing is an empty table.

    Raises:
        FileNotFoundError: If the folder or its `train` folder does not exist.
        ValueError: If a part contains no images or no class folders, or a class is missing from
            `class_names`.

    Example:
        >>> import tempfile, PIL.Image
        >>> from pathlib import Path
        >>> from cnnkit.data import list_splits
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for folder in ("train/cat", "train/dog", "val/dog"):
        ...         Path(root, folder).mkdir(parents=True)
        ...         PIL.Image.new("RGB", (8, 8)).save(Path(root, folder, "1.png"))
        ...     [len(part) for part in list_splits(root)]
        [2, 1, 0]
    """
    root = existing_folder(directory)
    folders = {part: _part_folder(root, names) for part, names in PART_FOLDERS.items()}
    if folders["train"] is None:
        msg = (
            f"`directory` must hold a folder `train`. Received: {os.fspath(root)!r}. "
            "For a folder of class folders, use `list_images` and `split_table`."
        )
        raise FileNotFoundError(msg)
    tables = {part: list_images(path) for part, path in folders.items() if path is not None}
    if class_names is None:
        class_names = sorted({name for part in tables.values() for name in class_names_of(part)})
    empty = pd.DataFrame({"file_paths": pd.Series([], dtype=str)})
    return Split(
        *(
            with_targets(table[["file_paths"]], list(table.get("target_names", [])), class_names)
            for table in (tables.get(part, empty) for part in PART_FOLDERS)
        )
    )


def existing_folder(directory: str | os.PathLike[str]) -> Path:
    """Return the path of an existing folder, or raise a FileNotFoundError."""
    root = Path(directory)
    if not root.is_dir():
        msg = f"`directory` must be an existing folder. Received: {os.fspath(root)!r}."
        raise FileNotFoundError(msg)
    return root


def _part_folder(root: Path, names: Sequence[str]) -> Path | None:
    """Return the only folder with one of the names, or None."""
    present = [entry.name for entry in class_folders(root) if entry.name.casefold() in names]
    if len(present) > 1:
        msg = (
            "`directory` must hold one folder for each part. Received: "
            f"{' and '.join(map(repr, present))} in {os.fspath(root)!r}. Merge them or move one "
            "away."
        )
        raise ValueError(msg)
    return root / present[0] if present else None


def class_folders(root: Path) -> list[os.DirEntry[str]]:
    """Return the direct subfolders of a folder, sorted by name."""
    return [entry for entry in _visible(os.fspath(root)) if _is_folder(entry)]


def image_entries(folder: str) -> list[os.DirEntry[str]]:
    """Return the image files directly in a folder, sorted by name."""
    return [entry for entry in _visible(folder) if _is_image(entry) and not _is_folder(entry)]


def _is_image(entry: os.DirEntry[str]) -> bool:
    return entry.name[entry.name.rfind(".") :].lower() in _SUFFIXES


def _visible(folder: str) -> list[os.DirEntry[str]]:
    """Return the entries of a folder that are not hidden, sorted by name."""
    with os.scandir(folder) as scan:
        entries = sorted(scan, key=attrgetter("name"))
    return [entry for entry in entries if not entry.name.startswith(".")]


def _image_files(folder: str, above: frozenset[tuple[int, int]] = frozenset()) -> list[str]:
    """Return the image files below a folder, without following links to a parent folder."""
    here = _identity(folder)
    if here in above:
        return []
    paths = []
    for entry in _visible(folder):
        if _is_folder(entry):
            paths += _image_files(entry.path, above | {here})
        elif (
            entry.name[entry.name.rfind(".") :].lower() in _SUFFIXES
        ):  # inlined, as function calls are slow
            paths.append(entry.path)
    return paths


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _no_class_folders(root: Path) -> str:
    advice = (
        "Its images are not in class folders: pass a regular expression or a function as `labels`, "
        "or labels=None."
        if _image_files(os.fspath(root))
        else "It holds no images."
    )
    return (
        "`directory` must hold a folder of images for each class. "
        f"Received: {os.fspath(root)!r}. {advice}"
    )


def check_not_split(root: Path, folders: set[str]) -> None:
    """Raise a ValueError if the folders are the parts of a split instead of classes."""
    parts = {name for names in PART_FOLDERS.values() for name in names}
    lower = {folder.casefold() for folder in folders}
    if lower <= parts and lower & set(PART_FOLDERS["train"]):
        msg = (
            "`directory` must hold a folder for each class. Received: "
            f"{os.fspath(root)!r}, which is split into {', '.join(sorted(folders))}. Use "
            "`list_splits`, or pass one of its folders."
        )
        raise ValueError(msg)


def _labeller(labels: Labels) -> Callable[[Path], str]:
    """Return the function that maps a path to its class."""
    if isinstance(labels, re.Pattern) and labels.groups == 1:
        return partial(_searched, re.compile(normal(labels.pattern), labels.flags))
    if callable(labels):
        return labels
    msg = (
        "`labels` must be 'folder', a compiled regular expression with one group, a function of "
        f"the path or None. Received: labels={labels!r}."
    )
    raise ValueError(msg)


def _searched(labels: re.Pattern[str], path: Path) -> str:
    match = labels.search(normal(path.name))
    if match is None:
        msg = (
            "`labels` must match every file name. "
            f"Received: {labels.pattern!r}, which does not match {os.fspath(path)!r}."
        )
        raise ValueError(msg)
    return match.group(1)


def _label(label: Callable[[Path], str], path: Path) -> str:
    name = label(path)
    if not isinstance(name, str):
        msg = (
            f"`labels` must give a str for every path. Received: {name!r} for {os.fspath(path)!r}."
        )
        raise TypeError(msg)
    return normal(name)
