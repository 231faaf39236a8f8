"""State that `fit` keeps on a model between calls."""

import keras


def first_epoch(model: keras.Model) -> int | None:
    """Return the epoch at which `fit` resumes, as `BackupAndRestore` set it, or None."""
    # Keras 3.12 to 3.15. Without it: the number in the callback's own file of metadata.
    epoch: int | None = model._initial_epoch
    return epoch


def set_first_epoch(model: keras.Model, epoch: int | None) -> None:
    """Set the epoch at which the next `fit` begins; Keras keeps that of a resumed run."""
    # Keras 3.12 to 3.15. Without it: `fit(initial_epoch=)`.
    model._initial_epoch = epoch
