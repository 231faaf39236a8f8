"""Resuming a run of several stages that was killed, from Keras's own backups."""

import itertools
import json
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

import keras

_SETTINGS = ("save_freq", "double_checkpoint", "delete_checkpoint")
_WEIGHTS, _EPOCH = "latest.weights.h5", "training_metadata.json"  # Keras writes them in this order


def callbacks_of_stage(
    callbacks: Sequence[keras.callbacks.Callback], stage: str
) -> list[keras.callbacks.Callback]:
    """Return the callbacks for a stage, with its backups in a separate folder.

    A backup holds the state of the optimizer, which the optimizer of the other stage can't load.
    """
    return [_in_folder(x, stage) if _is_backup(x) else x for x in callbacks]


def has_backup(callbacks: Sequence[keras.callbacks.Callback], stage: str) -> bool:
    """Tell whether a run was killed in a stage: Keras removes the files when `fit` ends."""
    files = [Path(x.backup_dir, stage, _EPOCH) for x in callbacks if _is_backup(x)]
    return any(_is_whole(file) or _is_whole(_earlier(file)) for file in files)


def _is_backup(callback: keras.callbacks.Callback) -> bool:
    return isinstance(callback, keras.callbacks.BackupAndRestore)


def _in_folder(
    callback: keras.callbacks.BackupAndRestore, stage: str
) -> keras.callbacks.BackupAndRestore:
    folder = Path(callback.backup_dir, stage)
    if not _is_whole(folder / _EPOCH):
        if (folder / _EPOCH).exists() and not callback.double_checkpoint:
            _keep_weights(folder / _WEIGHTS)  # they needn't be of the first epoch
        _back_to_earlier(folder)
    settings = {key: getattr(callback, key) for key in _SETTINGS if hasattr(callback, key)}
    return type(callback)(str(folder), **settings)


def _back_to_earlier(folder: Path) -> None:
    """Replace an incomplete backup with the previous one."""
    for file in (folder / _WEIGHTS, folder / _EPOCH):
        file.unlink(missing_ok=True)
        if _earlier(file).exists():
            shutil.copyfile(_earlier(file), file)


def _keep_weights(weights: Path) -> None:
    """Rename weights whose epoch number is lost."""
    if not weights.exists():
        return
    names = (weights.with_name(f"of_no_epoch_{n}.weights.h5") for n in itertools.count(1))
    kept = next(name for name in names if not name.exists())
    weights.rename(kept)
    warnings.warn(
        f"The backup in {str(weights.parent)!r} is incomplete: the number of its epoch is missing, "
        f"and training starts again. Its weights are in {kept.name!r} until this stage ends. "
        "`double_checkpoint=True` also keeps the previous backup.",
        UserWarning,
        stacklevel=2,
    )


def _earlier(file: Path) -> Path:
    """Return where `double_checkpoint=True` keeps the previous backup."""
    return file.with_name(f"{file.name}.bkp")


def _is_whole(file: Path) -> bool:
    """Tell whether a backup is complete: the number of its epoch is written last."""
    try:
        json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    return True
