"""What `fit` keeps on a model from one call to the next."""

import keras


def first_epoch(model: keras.Model) -> int | None:
    """Return the epoch that `fit` resumes a run at, as `BackupAndRestore` has set it, or None."""
    # Keras 3.12 to 3.15. Without it: the number in the callback's own file of metadata.
    epoch: int | None = model._initial_epoch
    return epoch


def set_first_epoch(model: keras.Model, epoch: int | None) -> None:
    """Set the epoch that the next `fit` begins with; Keras keeps that of a resumed one."""
    # Keras 3.12 to 3.15. Without it: `fit(initial_epoch=)`.
    model._initial_epoch = epoch
