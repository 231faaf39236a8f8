"""Renaming class folders and numbering their files."""

import ast
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import pandas as pd

from cnnkit._foundation.journals import check_settled, renamed, settle
from cnnkit._foundation.validation import listed
from cnnkit.data._files.decoding import format_of
from cnnkit.data._files.formats import SUFFIXES
from cnnkit.data._tables.listing import (
    check_not_split,
    class_folders,
    existing_folder,
    image_entries,
)
from cnnkit.data._tables.names import check_folder_names, normal

Value = TypeVar("Value")


def rename_classes(
    directory: str | os.PathLike[str],
    mapping: Mapping[str, str] | str | os.PathLike[str],
    *,
    dry_run: bool = False,
) -> pd.DataFrame:
    """Rename the class folders in a folder, either all or none.

    The mapping works in both directions: if no folder has the name of a key, folders are renamed
    from the values to the keys. So a second call renames them back. If names are both keys and
    values, each folder is looked up among the keys first. Folders that are not in the mapping keep
    their names.

    If a new name is taken, an error is raised before anything is renamed. If renaming fails midway,
    it is undone at once. If the process is killed, some folders may keep hidden names until the
    next call of this function or of `renumber_files`, which first undoes the interrupted renaming.

    Args:
        directory: The folder that contains a folder for each class.
        mapping: A dictionary from old to new names, or the path of a text file that contains one,
            as a Python literal (`translate = {"cane": "dog"}`) or as JSON. The file is parsed, but
            never executed.
        dry_run: If True, only return what would be renamed.

    Returns:
        A DataFrame with a row for each folder that gets a new name: `old_paths`, `new_paths`.

    Raises:
        FileNotFoundError: If the folder or the file of the mapping does not exist.
        FileExistsError: If a new name is taken, or two folders would get the same name.
        ValueError: If the mapping names none of the folders or gives two names to one, a new name
            is not valid for a folder, or the file does not contain a dictionary of names.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from cnnkit.data import rename_classes
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in ("cane", "gatto"):
        ...         Path(root, name).mkdir()
        ...     moves = rename_classes(root, {"cane": "dog", "gatto": "cat"})
        ...     sorted(path.name for path in Path(root).iterdir())
        ['cat', 'dog']
    """
    root = existing_folder(directory)
    names = dict(mapping) if isinstance(mapping, Mapping) else _literal_mapping(Path(mapping))
    (check_settled if dry_run else settle)(root)
    entries = class_folders(root)
    folders = _by_normal_name("directory", [(entry.name, Path(entry.path)) for entry in entries])
    check_folder_names("mapping", [name for move in names.items() for name in move])
    wanted = _by_normal_name("mapping", [(old, normal(new)) for old, new in names.items()])
    new_names = _new_names(list(folders), wanted, root)
    moves = {folders[old]: root / new for old, new in new_names.items() if old != new}
    return renamed(root, moves, dry_run=dry_run)


def renumber_files(directory: str | os.PathLike[str], *, dry_run: bool = False) -> pd.DataFrame:
    """Number the images of each class folder: `cat1.png`, `cat2.jpg`, …

    Files are numbered in the natural order of their names, with `2` before `10`, so that a second
    call changes nothing. An extension that does not match the content is corrected. Other files,
    and folders inside a class folder, are left alone. Taken names and interruptions are handled as
    in `rename_classes`.

    Args:
        directory: The folder that contains a folder for each class.
        dry_run: If True, only return what would be renamed.

    Returns:
        A DataFrame with a row for each file that gets a new name: `old_paths`, `new_paths`.

    Raises:
        FileNotFoundError: If the folder does not exist.
        FileExistsError: If a new name is taken by something that is not an image.
        ValueError: If the folder contains no class folders, or the parts of a split.

    Example:
        >>> import tempfile, PIL.Image
        >>> from pathlib import Path
        >>> from cnnkit.data import renumber_files
        >>> with tempfile.TemporaryDirectory() as root:
        ...     Path(root, "cat").mkdir()
        ...     for name in ("IMG_7.png", "cat1.png"):
        ...         PIL.Image.new("RGB", (8, 8)).save(Path(root, "cat", name))
        ...     moves = renumber_files(root)
        ...     sorted(path.name for path in Path(root, "cat").iterdir())
        ['cat1.png', 'cat2.png']
    """
    root = existing_folder(directory)
    (check_settled if dry_run else settle)(root)
    folders = class_folders(root)
    if not folders or len({Path(folder).resolve() for folder in folders}) < len(folders):
        reason = "two names of one folder" if folders else "no folders"
        msg = (
            "`directory` must hold a folder for each class. "
            f"Received: {os.fspath(root)!r} with {reason}."
        )
        raise ValueError(msg)
    moves = {}
    check_not_split(root, {folder.name for folder in folders})
    for folder in folders:
        names = sorted((entry.name for entry in image_entries(folder.path)), key=_natural_order)
        for number, name in enumerate(names, start=1):
            old = Path(folder.path, name)
            new = old.with_name(f"{folder.name}{number}{_true_suffix(old)}")
            if old != new:
                moves[old] = new
    return renamed(root, moves, dry_run=dry_run)


def _natural_order(name: str) -> tuple[list[tuple[bool, int, str]], str]:
    """Return a key that puts `cat2` before `cat10`."""
    parts = re.findall(r"([0-9]+)|([^0-9]+)", name)
    return [(bool(text), int(digits or 0), text) for digits, text in parts], name


def _true_suffix(path: Path) -> str:
    """Return the extension of a file, corrected if it does not match the content."""
    known = SUFFIXES.get(format_of(path) or "", (path.suffix.lower(),))
    return path.suffix if path.suffix.lower() in known else known[0]


def _new_names(names: list[str], mapping: Mapping[str, str], root: Path) -> dict[str, str]:
    """Return the new name of each folder in the mapping, used in the direction that matches."""
    backward = {new: old for old, new in mapping.items()}
    if mapping.keys() & backward.keys():
        new_names = {**backward, **mapping}
    else:
        new_names = dict(mapping) if mapping.keys() & set(names) else backward
    if new_names.keys() - mapping.keys():
        _check_distinct(set(names) - mapping.keys(), mapping)
    found = {name: new_names[name] for name in names if name in new_names}
    if not found:
        msg = (
            "`mapping` must name a folder. Received: names "
            f"{listed(map(repr, list(mapping)[:5]))}; the folders in {os.fspath(root)!r} are "
            f"{listed(map(repr, names[:5]))}."
        )
        raise ValueError(msg)
    return found


def _check_distinct(names: Iterable[str], mapping: Mapping[str, str]) -> None:
    counts = Counter(mapping.values())
    twice = [name for name in names if counts[name] > 1]
    if twice:
        msg = (
            "`mapping` must give one name for each folder. Received: several keys for "
            f"{listed(map(repr, twice))}."
        )
        raise ValueError(msg)


def _by_normal_name(argument: str, pairs: Sequence[tuple[str, Value]]) -> dict[str, Value]:
    values = {normal(name): value for name, value in pairs}
    if len(values) < len(pairs):
        msg = (
            f"`{argument}` must not hold two names that differ only in Unicode normalization. "
            f"Received: {listed(sorted(repr(name) for name, _ in pairs))}."
        )
        raise ValueError(msg)
    return values


def _literal_mapping(path: Path) -> dict[str, str]:
    """Parse the only dictionary in a file, without executing anything."""
    try:
        mapping = _literal(path.read_text(encoding="utf-8-sig"))
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        msg = (
            "`mapping` must be a UTF-8 file with one dictionary of plain names. "
            f"Received: {os.fspath(path)!r}: {error}."
        )
        raise ValueError(msg) from error
    return mapping


def _literal(text: str) -> dict[str, str]:
    try:
        mapping = json.loads(text)
    except ValueError:
        statements = ast.parse(text).body
        values = [getattr(statement, "value", None) for statement in statements]
        nodes = [node for node in values if isinstance(node, ast.Dict)]
        if len(nodes) != 1:
            msg = f"it holds {len(nodes)} dictionaries"
            raise ValueError(msg) from None
        mapping = ast.literal_eval(nodes[0])
    return dict(mapping)
