"""The table of images: a pandas DataFrame with a row for each file."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from cnnkit._validation import listed
from cnnkit.data._split import Split

_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
    *(".webp", ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k"),
)
_SPLIT_FOLDERS = {
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

    Files are known by their extensions; hidden files and folders are left out. The order is that
    of the names, on every file system.

    Args:
        directory: The folder.
        labels: Where the class of an image comes from: `"folder"` (the folder below `directory`
            that it lies in; images that lie in no such folder are left out), a compiled regular
            expression with one group that is searched in the file's name
            (`re.compile(r"^(cat|dog)\.")` for `cat.1006.jpg`), a function of the path, or None
            for an unlabelled folder.
        class_names: All classes in the order that their numbers shall have; sorted by default.

    Returns:
        A DataFrame with a row for each image: `file_paths` (str), `target_names` (a Categorical
        whose categories are all class names in order) and `targets` (int, the class's number);
        only `file_paths` with `labels=None`.

    Raises:
        FileNotFoundError: If the folder does not exist.
        ValueError: If it holds no images or no class folders, a name yields no class, or a class
            is missing in `class_names`.

    Example:
        >>> from pathlib import Path
        >>> from sklearn.datasets import load_sample_images
        >>> from cnnkit.data import list_images
        >>> folder = Path(load_sample_images().filenames[0]).parent
        >>> table = list_images(folder, labels=lambda path: path.stem)
        >>> table["target_names"].tolist(), table["targets"].tolist()
        (['china', 'flower'], [0, 1])
    """
    root = _existing(directory)
    paths = list(_image_paths(root))
    if labels == "folder":
        paths = [path for path in paths if len(path.relative_to(root).parts) > 1]
        _check_class_folders(root, paths)
        _check_not_split(root, {path.relative_to(root).parts[0] for path in paths})
    elif not paths:
        msg = (
            f"`directory` must hold images ({', '.join(_SUFFIXES)}). "
            f"Received: {os.fspath(root)!r}, which holds none."
        )
        raise ValueError(msg)
    table = pd.DataFrame({"file_paths": [str(path) for path in paths]})
    if labels is None:
        return table
    label = _labeller(labels, root)
    return with_targets(table, [_label(label, path) for path in paths], class_names)


def list_splits(directory: str | os.PathLike[str]) -> Split[pd.DataFrame]:
    """List a folder that is split already, into `train`, `validation` and `test` folders.

    Args:
        directory: The folder that holds `train/<class>/`, and `validation/` (also `val/`,
            `valid/`) or `test/`, or both.

    Returns:
        A `Split` of tables as `list_images` gives them, with one class order for all; a part
        whose folder is missing is an empty table.

    Raises:
        FileNotFoundError: If the folder or its `train` folder does not exist.
        ValueError: If a part holds no images or no class folders.

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
    root = _existing(directory)
    folders = {part: _part_folder(root, names) for part, names in _SPLIT_FOLDERS.items()}
    if folders["train"] is None:
        msg = (
            f"`directory` must hold a folder `train`. Received: {os.fspath(root)!r}. "
            "For a folder of class folders use `list_images` and `split_table`."
        )
        raise FileNotFoundError(msg)
    tables = {part: list_images(path) for part, path in folders.items() if path is not None}
    class_names = sorted({name for table in tables.values() for name in class_names_of(table)})
    empty = pd.DataFrame({"file_paths": pd.Series([], dtype=str)})
    return Split(
        *(
            with_targets(table[["file_paths"]], list(table.get("target_names", [])), class_names)
            for table in (tables.get(part, empty) for part in _SPLIT_FOLDERS)
        )
    )


def class_names_of(table: pd.DataFrame) -> list[str]:
    """Return all class names of a table, in the order of their numbers."""
    return list(table["target_names"].cat.categories)


def with_targets(
    table: pd.DataFrame, names: Sequence[str], class_names: Sequence[str] | None
) -> pd.DataFrame:
    """Add the two target columns to a table of files."""
    categories = sorted(set(names)) if class_names is None else list(class_names)
    unknown = sorted(set(names) - set(categories))
    if unknown:
        msg = (
            f"`class_names` must name every class. Received: class_names={categories!r}, but there "
            f"are images of {listed(map(repr, unknown))}."
        )
        raise ValueError(msg)
    target_names = pd.Categorical(pd.Series(names, dtype=str), categories=categories)
    return table.assign(target_names=target_names, targets=target_names.codes.astype("int64"))


def check_table(table: object, *, labelled: bool = True) -> None:
    """Raise an error unless `table` is a table of images."""
    columns = ["file_paths", "target_names", "targets"] if labelled else ["file_paths"]
    if not isinstance(table, pd.DataFrame) or not set(columns) <= set(table.columns):
        received = list(table.columns) if isinstance(table, pd.DataFrame) else type(table).__name__
        msg = (
            f"`table` must be a DataFrame with the columns {', '.join(columns)}. "
            f"Received: {received}. `list_images` makes one."
        )
        raise ValueError(msg)
    if labelled:
        _check_numbers(table)


def _check_numbers(table: pd.DataFrame) -> None:
    """Raise a ValueError unless the numbers of the classes are the codes of their names."""
    names = table["target_names"]
    categorical = isinstance(names.dtype, pd.CategoricalDtype)
    if categorical and names.notna().all() and (names.cat.codes == table["targets"]).all():
        return
    received = "numbers that are not the codes of the names" if categorical else "plain names"
    if names.isna().any():
        received = "rows without a class"
    msg = (
        "`table` must have Categorical `target_names`, and `targets` that are their codes. "
        f"Received: {received}. Renew both: names = table['target_names'].astype('category'); "
        "table.assign(target_names=names, targets=names.cat.codes)."
    )
    raise ValueError(msg)


def _existing(directory: str | os.PathLike[str]) -> Path:
    root = Path(directory)
    if not root.is_dir():
        msg = f"`directory` must be an existing folder. Received: {os.fspath(root)!r}."
        raise FileNotFoundError(msg)
    return root


def _part_folder(root: Path, names: Sequence[str]) -> Path | None:
    """Return the one folder that bears one of the names, or None."""
    present = [name for name in names if (root / name).is_dir()]
    if len(present) > 1:
        msg = (
            "`directory` must hold one folder for each part. Received: "
            f"{' and '.join(map(repr, present))} in {os.fspath(root)!r}. Merge them or move one "
            "away."
        )
        raise ValueError(msg)
    return root / present[0] if present else None


def _image_paths(folder: Path) -> Iterator[Path]:
    """Yield image files below a folder in the order of their names."""
    with os.scandir(folder) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _image_paths(Path(entry.path))
        elif entry.name.lower().endswith(_SUFFIXES):
            yield Path(entry.path)


def _check_class_folders(root: Path, paths: Sequence[Path]) -> None:
    if paths:
        return
    loose = any(_image_paths(root))
    advice = (
        "Its images lie side by side: use `labels=` with a regular expression or a function, or "
        "labels=None."
        if loose
        else "It holds no images."
    )
    msg = (
        "`directory` must hold a folder of images for each class. "
        f"Received: {os.fspath(root)!r}. {advice}"
    )
    raise ValueError(msg)


def _check_not_split(root: Path, folders: set[str]) -> None:
    """Raise a ValueError if the folders are parts of a split and not classes."""
    parts = {name for names in _SPLIT_FOLDERS.values() for name in names}
    if "train" in folders and folders <= parts:
        msg = (
            "`directory` must hold a folder for each class. Received: "
            f"{os.fspath(root)!r}, which is split into {', '.join(sorted(folders))}. Use "
            "`list_splits`, or list one of its folders."
        )
        raise ValueError(msg)


def _labeller(labels: Labels, root: Path) -> Callable[[Path], str]:
    """Return the function that gives the class of a path."""
    if labels == "folder":
        return lambda path: path.relative_to(root).parts[0]
    if isinstance(labels, re.Pattern) and labels.groups == 1:
        return partial(_searched, labels)
    if callable(labels):
        return labels
    msg = (
        "`labels` must be 'folder', a compiled regular expression with one group, a function of "
        f"the path or None. Received: labels={labels!r}."
    )
    raise ValueError(msg)


def _searched(labels: re.Pattern[str], path: Path) -> str:
    match = labels.search(path.name)
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
    return name
