"""Checks of training data against the model, before hours are spent on a mistake."""

import math
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from cnnkit.preprocess._modes import scales_inside


def count_batches(data: Any, batch_size: int) -> int:
    """Return the number of batches in an epoch of arrays, a dataset or a PyDataset."""
    if isinstance(data, tuple):
        return math.ceil(len(data[0]) / batch_size)
    try:
        return len(data)
    except TypeError:
        msg = (
            "`train` must know its number of batches. Received: a dataset of unknown cardinality. "
            "Use `tf.data.experimental.assert_cardinality`."
        )
        raise ValueError(msg) from None


def check_data(model: keras.Model, name: str, data: Any, batch_size: int) -> None:
    """Raise a ValueError unless the first batch fits the model's input, scaling and classes."""
    if count_batches(data, batch_size) == 0:
        msg = f"`{name}` must hold at least one image. Received: no batches."
        raise ValueError(msg)
    images, targets = _first_batch(data, batch_size)
    check_scaling(model, name, images)
    _check_targets(model, name, targets)


def check_scaling(model: keras.Model, name: str, images: NDArray[Any]) -> None:
    """Raise a ValueError if images are scaled already and the model scales too."""
    if not scales_inside(model) or np.issubdtype(images.dtype, np.integer):
        return
    low, high = float(images.min()), float(images.max())
    if low < 0 or 0 < high <= 1:
        msg = (
            f"`{name}` must give raw images, 0 to 255, because the model scales inside. "
            f"Received: values from {low:.3g} to {high:.3g}. Use mode='none' in the data."
        )
        raise ValueError(msg)


def _first_batch(data: Any, batch_size: int) -> tuple[NDArray[Any], NDArray[Any]]:
    if isinstance(data, tuple):
        images, targets = data[0][:batch_size], data[1][:batch_size]
    else:
        images, targets = next(iter(data))[:2]
    convert = keras.ops.convert_to_numpy
    return convert(images), convert(targets)


def _check_targets(model: keras.Model, name: str, targets: NDArray[Any]) -> None:
    units = model.output_shape[-1]
    one_hot = targets.ndim == 2 and targets.shape[1] > 1
    if one_hot and targets.shape[1] != units:
        msg = (
            f"`{name}` must have as many classes as the model has outputs, {units}. "
            f"Received: one-hot labels of {targets.shape[1]} classes. Build the model with "
            f"n_classes={targets.shape[1]}."
        )
        raise ValueError(msg)
    if not one_hot and units > 1 and targets.max() >= units:
        msg = (
            f"`{name}` must have labels below the number of the model's outputs, {units}. "
            f"Received: a label of {int(targets.max())}."
        )
        raise ValueError(msg)
    wants_one_hot = "categorical" in str(model.loss) and "sparse" not in str(model.loss)
    if wants_one_hot and not one_hot:
        msg = (
            f"`{name}` must have one-hot labels, because the model's loss is {model.loss!r}. "
            f"Received: labels of shape {targets.shape}. Use label_mode='categorical', or compile "
            "the model with loss='sparse_categorical_crossentropy'."
        )
        raise ValueError(msg)
