"""Names of classes, folders and files."""

import os
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path


def normal(name: str) -> str:
    """Return the composed form (Unicode NFC) of a name.

    Archives made on macOS contain decomposed names: the same name then has other characters.
    """
    return unicodedata.normalize("NFC", name)


def check_folder_names(argument: str, names: Iterable[object]) -> None:
    """Raise a ValueError unless every name is valid for a visible folder."""
    for name in names:
        parts = Path(name).parts if isinstance(name, str) else ()
        if parts != (name,) or str(name).startswith(".") or set("/\\\0") & set(str(name)):
            msg = (
                f"`{argument}` must hold names that a folder can have, without separators and "
                f"leading dots. Received: {name!r}."
            )
            raise ValueError(msg)


def free_names(class_names: Iterable[str], sources: Sequence[str]) -> list[str]:
    """Return the file names, with a number added where two names in a class would collide.

    Some file systems treat names as equal that differ only in case or in Unicode composition.
    """
    names = [os.path.basename(path) for path in sources]
    keys = [(label, _key(name)) for label, name in zip(class_names, names, strict=True)]
    taken = set(keys)
    if len(taken) == len(keys):
        return names
    seen: set[tuple[str, str]] = set()
    for row in sorted(range(len(names)), key=sources.__getitem__):
        label, key = keys[row]
        if (label, key) in seen:
            stem, suffix = os.path.splitext(names[row])
            numbered = (f"{stem}_{number}{suffix}" for number in count(2))
            names[row] = next(n for n in numbered if (label, _key(n)) not in taken)
            taken.add((label, _key(names[row])))
        seen.add((label, key))
    return names


def _key(name: str) -> str:
    return normal(name).casefold()
