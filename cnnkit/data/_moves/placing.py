"""Writing a split to disk as folders that other programs can read."""

import csv
import errno
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from cnnkit._foundation.digests import digest
from cnnkit._foundation.validation import check_one_of, check_whole_number
from cnnkit._foundation.whole_files import PARTIAL, whole
from cnnkit.data._files.formats import ALL_SUFFIXES
from cnnkit.data._splits.splitting import split_table
from cnnkit.data._tables.listing import list_images
from cnnkit.data._tables.names import check_folder_names, free_names
from cnnkit.data._tables.split import PARTS, Split
from cnnkit.data._tables.tables import check_table, class_names_of

MANIFEST = "split.csv"


def split_folder(
    source: str | os.PathLike[str] | pd.DataFrame,
    destination: str | os.PathLike[str],
    *,
    how: str = "copy",
    validation_size: float = 0.2,
    test_size: float = 0.2,
    stratify: bool = True,
    groups: str | None = None,
    random_state: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Split images into the folders `train/<class>/`, `validation/<class>/` and `test/<class>/`.

    The originals do not change. If a run is interrupted, or even killed, the same call continues
    where it stopped. Existing files are kept. If a file differs from the one that belongs in its
    place, an error is raised before anything is written. At the end, the table is written to
    `split.csv`, with paths relative to that file.

    `list_splits` reads the folders back; pass it `class_names` if the table has its own class
    order. If you read `split.csv` with pandas, pass `keep_default_na=False`, because a class may be
    called "NA".

    Args:
        source: A folder that contains a folder for each class, or a table as returned by
            `list_images`.
        destination: The folder to write to. It is created if it does not exist. It must not lie in
            the source folder, and its part folders must not contain images of another split.
        how: `"copy"`, `"hardlink"` or `"symlink"`. A hard link is another name for the same file;
            it needs no space, but only works within one file system. A symbolic link points to the
            current path of the file.
        validation_size: As for `split_table`.
        test_size: As for `split_table`.
        stratify: If True, all parts have the same mix of classes.
        groups: As for `split_table`: a column, `"duplicates"` or `"near-duplicates"`.
        random_state: A seed. It can't be None, so that a repeated call makes the same split.
        progress: If True, show a progress bar.

    Returns:
        The table with the new `file_paths`, the old ones as `source_paths`, and `split`, a
        Categorical of "train", "validation" and "test". If files of one class have the same name, a
        number is added: `1.jpg`, `1_2.jpg`.

    Raises:
        FileNotFoundError: If the source folder or a file of the table does not exist.
        FileExistsError: If the part folders contain other images, or a file that differs from its
            source or was placed in another way.
        ValueError: As for `split_table`, or if `destination` lies in `source`, or a class name is
            not valid for a folder.
        OSError: If a file can't be placed, because of a lack of space or permission, or because a
            hard link would cross file systems. No incomplete file is left.

    Example:
        >>> import tempfile, PIL.Image
        >>> from pathlib import Path
        >>> from cnnkit.data import split_folder
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in ("cat", "dog"):
        ...         Path(root, "photos", name).mkdir(parents=True)
        ...         for number in range(5):
        ...             path = Path(root, "photos", name, f"{number}.png")
        ...             PIL.Image.new("RGB", (8, 8)).save(path)
        ...     table = split_folder(f"{root}/photos", f"{root}/parts", progress=False)
        ...     len(list(Path(root, "parts", "train").glob("*/*.png")))
        6
        >>> table["split"].value_counts().to_dict()
        {'train': 6, 'validation': 2, 'test': 2}
    """
    check_one_of("how", how, tuple(_WAYS))
    check_whole_number("random_state", random_state, least=0)
    root = Path(destination).absolute()
    if isinstance(source, pd.DataFrame):
        table = source
    else:
        _check_outside(root, Path(source))
        table = list_images(source)
    check_table(table)
    check_folder_names("target_names", class_names_of(table))
    split = split_table(
        table.reset_index(drop=True),
        validation_size=validation_size,
        test_size=test_size,
        stratify=stratify,
        groups=groups,
        random_state=random_state,
        progress=progress,
    )
    placed = _placed_table(table, split, root)
    _place_all(placed, root, how, progress)
    return placed


def _placed_table(table: pd.DataFrame, split: Split[pd.DataFrame], root: Path) -> pd.DataFrame:
    """Return the table that `split_folder` returns."""
    parts = pd.concat([pd.Series(part, index=rows.index) for part, rows in split._asdict().items()])
    parts = parts.sort_index()
    here = os.getcwd()
    sources = [os.path.join(here, path) for path in table["file_paths"]]
    names = free_names(table["target_names"], sources)
    folders = zip(parts, table["target_names"], names, strict=True)
    return table.assign(
        file_paths=[os.path.join(root, *steps) for steps in folders],
        split=pd.Categorical(parts, PARTS),
        source_paths=sources,
    )


def _check_outside(root: Path, source: Path) -> None:
    if root.resolve().is_relative_to(source.resolve()):
        msg = (
            "`destination` must not lie in `source`, where its folders would be classes. Received: "
            f"{os.fspath(root)!r} in {os.fspath(source)!r}. Use a folder beside it."
        )
        raise ValueError(msg)


def _place_all(placed: pd.DataFrame, root: Path, how: str, progress: bool) -> None:
    there = _files_in_parts(root)
    partial = {path for path in there if os.path.basename(path).startswith(PARTIAL)}
    partial.update(map(os.fspath, root.glob(f"{PARTIAL}*")))
    manifest = _manifest(placed, root)
    _check_sources(placed["source_paths"])
    _check_there(placed, there - partial, root, how, manifest)
    for path in partial:  # left by a killed run
        Path(path).unlink(missing_ok=True)
    for folder in {os.path.dirname(path) for path in placed["file_paths"]}:
        os.makedirs(folder, exist_ok=True)
    pairs = zip(placed["source_paths"], placed["file_paths"], strict=True)
    todo = [(old, new) for old, new in pairs if new not in there]
    for old, new in tqdm(todo, "placing images", unit="image", disable=not progress):
        try:
            _WAYS[how](old, new)
        except OSError as error:
            raise _not_placed(old, new, error) from error
    if not (root / MANIFEST).exists():
        whole(os.fspath(root / MANIFEST), lambda path: Path(path).write_bytes(manifest))


def _copy(old: str, new: str) -> None:
    whole(new, lambda partial: shutil.copy2(old, partial))


def _hardlink(old: str, new: str) -> None:
    os.link(os.path.realpath(old) if os.path.islink(old) else old, new)


_WAYS: dict[str, Callable[[str, str], None]] = {
    "copy": _copy,
    "hardlink": _hardlink,
    "symlink": os.symlink,
}


def _not_placed(old: str, new: str, error: OSError) -> OSError:
    reason = error.strerror or str(error)
    advice = "Once the cause is removed, repeat the call to go on from there"
    if error.errno == errno.EXDEV:
        advice = "Use how='copy'"
    return OSError(error.errno, f"Could not place {old!r} as {new!r}: {reason}. {advice}")


def _files_in_parts(root: Path) -> set[str]:
    """Return everything in the part folders that is not a folder, including hidden files."""
    parts = [os.path.join(root, part) for part in PARTS]
    found = [
        os.path.join(folder, name)
        for part in parts
        for folder, folders, names in os.walk(part)
        for name in names + folders
    ]
    return {
        path
        for path in found + parts
        if os.path.islink(path) or (os.path.lexists(path) and not os.path.isdir(path))
    }


def _check_sources(paths: Iterable[str]) -> None:
    missing = [path for path in paths if not os.path.exists(path)]
    if missing:
        msg = (
            f"Every file must exist. Received: {len(missing)} missing file(s), for example "
            f"{missing[0]!r}. Nothing was written. `check_images` finds all files that can't be "
            "read."
        )
        raise FileNotFoundError(msg)


def _check_there(
    placed: pd.DataFrame, there: set[str], root: Path, how: str, manifest: bytes
) -> None:
    """Raise a FileExistsError unless all existing images belong to this split."""
    pairs = zip(placed["source_paths"], placed["file_paths"], strict=True)
    source_of = {new: old for old, new in pairs if new in there}
    folders = {os.path.dirname(path) for path in placed["file_paths"]}
    folders |= {os.path.dirname(folder) for folder in folders}
    unknown = sorted(there - source_of.keys())
    others = [path for path in unknown if _is_visible_image(path) or path in folders]
    changed = [new for new, old in source_of.items() if not _is_same(old, new, how)]
    path = root / MANIFEST
    if others:
        reason = f"{len(others)} other file(s), for example {others[0]!r}"
    elif changed:
        reason = (
            f"{len(changed)} file(s) that differ from their sources or were not placed with "
            f"how={how!r}, for example {changed[0]!r}"
        )
    elif os.path.lexists(path) and not _holds(path, manifest):
        reason = f"a {MANIFEST} of another split"
    else:
        return
    msg = (
        "`destination` must hold no images of another split. Received: "
        f"{os.fspath(root)!r} with {reason}. Nothing was written. Use another folder, or the "
        "settings of the first run."
    )
    raise FileExistsError(msg)


def _is_visible_image(path: str) -> bool:
    name = os.path.basename(path)
    return not name.startswith(".") and name.lower().endswith(ALL_SUFFIXES)


def _is_same(old: str, new: str, how: str) -> bool:
    """Return whether the new file is what placing the old one with `how` makes."""
    if os.path.islink(new) or how == "symlink":
        return how == "symlink" and os.path.islink(new) and os.readlink(new) == old
    shared = os.path.samefile(old, new)
    return shared if how == "hardlink" else not shared and digest(old) == digest(new)


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _manifest(placed: pd.DataFrame, root: Path) -> bytes:
    table = placed.assign(
        file_paths=[path.removeprefix(f"{root}{os.sep}") for path in placed["file_paths"]]
    )
    text = table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    return text.encode(errors="surrogateescape")
