"""Going on with a run of several stages that was killed, by Keras's own backups."""

from collections.abc import Sequence
from pathlib import Path

import keras

_SETTINGS = ("save_freq", "double_checkpoint", "delete_checkpoint")
_WEIGHTS, _EPOCH = "latest.weights.h5", "training_metadata.json"  # Keras writes them in this order


def callbacks_of_stage(
    callbacks: Sequence[keras.callbacks.Callback], stage: str
) -> list[keras.callbacks.Callback]:
    """Return the callbacks for a stage, with backups in a folder of its own.

    A backup holds the optimizer's state, which the other stage's optimizer can't take.
    """
    return [_in_folder(x, stage) if _is_backup(x) else x for x in callbacks]


def has_backup(callbacks: Sequence[keras.callbacks.Callback], stage: str) -> bool:
    """Tell whether a run was killed in a stage; Keras removes the files when `fit` ends."""
    return any(Path(x.backup_dir, stage, _EPOCH).exists() for x in callbacks if _is_backup(x))


def _is_backup(callback: keras.callbacks.Callback) -> bool:
    return isinstance(callback, keras.callbacks.BackupAndRestore)


def _in_folder(
    callback: keras.callbacks.BackupAndRestore, stage: str
) -> keras.callbacks.BackupAndRestore:
    folder = Path(callback.backup_dir, stage)
    if not (folder / _EPOCH).exists():  # killed in the first backup, of which nothing can be used
        (folder / _WEIGHTS).unlink(missing_ok=True)
    settings = {key: getattr(callback, key) for key in _SETTINGS if hasattr(callback, key)}
    return type(callback)(str(folder), **settings)
