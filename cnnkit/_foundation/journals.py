"""Renaming many files without losing any to a collision, a failure or a killed process.

Every path is first renamed to a hidden name in the same folder, and from there to its new name.
So names can be swapped and passed on. A journal records how to recover after a kill. While it says
"out", a path without a hidden name still has its old name; once it says "in", such a path already
has its new name.
"""

import errno
import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from cnnkit._foundation.kept_files import naming
from cnnkit._foundation.validation import listed

JOURNAL = ".cnnkit-moves.json"
_PARTIAL = f"{JOURNAL}.partial"

Moves = Mapping[Path, Path]


def renamed(root: Path, moves: Moves, *, dry_run: bool) -> pd.DataFrame:
    """Check a plan, carry it out unless `dry_run`, and return it as a table.

    Args:
        root: The folder that contains all paths.
        moves: The new path for each old one, in the same folder. Paths that do not change are left
            out.
        dry_run: If True, change nothing.
    """
    _check(moves)
    table = pd.DataFrame(
        {
            "old_paths": pd.Series(map(str, moves.keys()), dtype=str),
            "new_paths": pd.Series(map(str, moves.values()), dtype=str),
        }
    )
    if moves and not dry_run:
        _move(root, moves)
    return table


def check_settled(root: Path) -> None:
    """Raise a ValueError if a renaming was interrupted in this folder."""
    if (root / JOURNAL).exists():
        msg = (
            "The folder must not contain an unfinished renaming. Received: "
            f"{os.fspath(root)!r}, where a renaming was interrupted and some files have hidden "
            "names. Call `renumber_files` or `rename_classes` without dry_run=True; they undo it "
            "first."
        )
        raise ValueError(msg)


def settle(root: Path) -> None:
    """Undo a renaming that was interrupted."""
    if (root / JOURNAL).exists():
        _undo(root)
    (root / _PARTIAL).unlink(missing_ok=True)


def _check(moves: Moves) -> None:
    wanted = Counter(moves.values())
    taken = [
        new
        for new, times in wanted.items()
        if times > 1 or (os.path.lexists(new) and not _leaves(new, moves))
    ]
    taken += [hidden for _, hidden, _ in _steps(moves) if os.path.lexists(hidden)]
    if taken:
        msg = (
            "New names must be free. Received: "
            f"{listed(repr(os.fspath(path)) for path in taken[:5])}, which another file or folder "
            "already has or would also get. Nothing was renamed. Move that one away first."
        )
        raise FileExistsError(msg)


def _leaves(path: Path, moves: Moves) -> bool:
    """Return whether the file at a path is itself renamed, also where `Cat` and `cat` are equal."""
    if path in moves:
        return True
    same = (old for old in moves if old.name.casefold() == path.name.casefold())
    return any(old.parent == path.parent and old.samefile(path) for old in same)


def _move(root: Path, moves: Moves) -> None:
    try:
        _write_journal(root, "out", moves)
        for old, hidden, _ in _steps(moves):
            _rename(old, hidden)
        _write_journal(root, "in", moves)
        for _, hidden, new in _steps(moves):
            _rename(hidden, new)
        (root / JOURNAL).unlink()
    except BaseException:
        settle(root)
        raise


def _undo(root: Path) -> None:
    phase, moves = _read_journal(root)
    if phase == "in":
        for _, hidden, new in _steps(moves):
            if os.path.lexists(new) and not os.path.lexists(hidden):
                _rename(new, hidden)
        _write_journal(root, "out", moves)
    for old, hidden, _ in _steps(moves):
        if os.path.lexists(hidden):
            _rename(hidden, old)
    (root / JOURNAL).unlink()


def _steps(moves: Moves) -> list[tuple[Path, Path, Path]]:
    return [
        (old, old.with_name(f".cnnkit-move-{number}"), new)
        for number, (old, new) in enumerate(moves.items())
    ]


def _rename(old: Path, new: Path) -> None:
    if os.path.lexists(new):  # a rename would overwrite a file
        msg = (
            f"{os.fspath(old)!r} can't be renamed, because {os.fspath(new)!r} already exists. "
            "Move that away and repeat the call, which undoes the unfinished renaming."
        )
        raise FileExistsError(errno.EEXIST, msg)
    old.rename(new)


def _write_journal(root: Path, phase: str, moves: Moves) -> None:
    """Write the journal completely or not at all."""
    names = [[os.path.relpath(path, root) for path in move] for move in moves.items()]
    partial = root / _PARTIAL
    with naming(partial):
        partial.write_text(json.dumps({"phase": phase, "moves": names}), encoding="ascii")
    partial.replace(root / JOURNAL)


def _read_journal(root: Path) -> tuple[str, Moves]:
    """Return the phase and the moves of an interrupted renaming.

    The journal is checked, because it may have come with a downloaded folder.
    """
    path = root / JOURNAL
    try:
        journal = json.loads(path.read_text(encoding="ascii"))
        moves = {Path(old): Path(new) for old, new in journal["moves"]}
        phase = journal["phase"]
    except (KeyError, TypeError, ValueError):
        phase, moves = "", {}
    leaving = [
        move
        for move in moves.items()
        if move[0].parent != move[1].parent or not all(map(_stays, move))
    ]
    if phase not in ("out", "in") or leaving:
        msg = (
            "The journal of a renaming must be as it was written, with names inside its folder. "
            f"Received: {os.fspath(path)!r}. Nothing was renamed; if it came with the images, "
            "delete it."
        )
        raise ValueError(msg)
    return phase, {root / old: root / new for old, new in moves.items()}


def _stays(path: Path) -> bool:
    """Return whether a path stays inside the folder that it is relative to."""
    return path.name != "" and not path.is_absolute() and ".." not in path.parts
