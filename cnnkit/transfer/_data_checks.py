"""Checks of the data against the model, which run before training starts."""

import math
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from cnnkit._keras.class_names import class_names_in
from cnnkit._keras.distribution import check_batches
from cnnkit.preprocess._modes import scales_inside

_ENOUGH = 16  # images: in random order, all are of one class of two once in 30,000 times
_INFINITE = -1  # tf.data.INFINITE_CARDINALITY; TensorFlow is not imported here


def count_batches(train: Any, batch_size: int) -> int:
    """Return the number of batches in an epoch of arrays, a dataset or a PyDataset."""
    if isinstance(train, tuple):
        return math.ceil(len(train[0]) / batch_size)
    try:
        return len(train)
    except TypeError:
        msg = (
            "`train` must know its number of batches. Received: "
            f"{type(train).__name__} of unknown length. Use "
            "`tf.data.experimental.assert_cardinality`."
        )
        raise ValueError(msg) from None


def batch_size_of(train: Any, batch_size: int) -> int:
    """Return the batch size: as given for arrays, otherwise that of the first batch."""
    if isinstance(train, tuple):
        return batch_size
    return len(check_not_empty("train", train, batch_size)[0])


def count_images(data: Any) -> int | None:
    """Return the number of images in an epoch, or None if it is unknown."""
    images = data[0] if isinstance(data, tuple) else getattr(data, "file_paths", None)
    return None if images is None else len(images)


def fit_arguments(train: Any, batch_size: int) -> dict[str, Any]:
    """Return the arguments of `fit` for training data of any kind."""
    if isinstance(train, tuple):
        return {"x": train[0], "y": train[1], "batch_size": batch_size}
    if hasattr(train, "element_spec"):
        # A tf.data.Dataset has its own order, and Keras warns if it is to shuffle one.
        return {"x": train, "shuffle": False}
    return {"x": train}


def batches_of(data: Any, batch_size: int) -> Iterator[tuple[Any, ...]]:
    """Yield the batches of one pass over arrays, a dataset or a PyDataset, as arrays."""
    if isinstance(data, tuple):
        for start in range(0, len(data[0]), batch_size):
            yield tuple(part[start : start + batch_size] for part in data)
        return
    given: Any = data
    if hasattr(data, "__getitem__"):  # iterating over a PyDataset never ends
        given = (data[place] for place in range(len(data)))
    for batch in given:
        yield keras.tree.map_structure(_as_array, batch)


def pairs_of(name: str, data: Any, batch_size: int) -> Iterator[tuple[Any, Any]]:
    """Yield batches of images and targets, or raise a ValueError if they have more parts."""
    for batch in batches_of(data, batch_size):
        if len(batch) != 2:
            msg = (
                f"`{name}` must yield images and targets only. Received: batches of "
                f"{len(batch)} parts. Leave sample weights out."
            )
            raise ValueError(msg)
        yield batch[0], batch[1]


def _as_array(part: Any) -> Any:
    """Return a tensor as an array, because Keras on JAX doesn't take TensorFlow's tensors."""
    is_ready = part is None or isinstance(part, np.ndarray)
    return part if is_ready else keras.ops.convert_to_numpy(part)


def check_data(model: keras.Model, name: str, data: Any, batch_size: int) -> None:
    """Raise a ValueError unless the data fits the model's scaling and classes."""
    images, targets = check_inputs(model, name, data, batch_size)
    check_batches(model, name, len(images), count_images(data))
    targets = keras.ops.convert_to_numpy(targets)
    check_targets(model, name, targets)
    _check_form_of_labels(model, name, targets)
    if name == "train" and not isinstance(data, tuple):  # `fit` shuffles arrays
        _warn_of_order(targets)


def check_inputs(
    model: keras.Model, name: str, data: Any, batch_size: int
) -> tuple[NDArray[Any], Any]:
    """Raise a ValueError unless images and class names fit the model.

    Returns:
        Some images, and the targets of all arrays or of the first batch.
    """
    check_kind(name, data)
    images, targets = _sample(name, data, batch_size)
    _check_shape(model, name, images)
    _check_scaling(model, name, images)
    _check_class_names(model, name, data)
    return images, targets


def check_same_classes(train: Any, validation: Any) -> None:
    """Raise a ValueError if training and validation data number their classes differently."""
    first, second = (getattr(data, "class_names", None) or () for data in (train, validation))
    # One may have fewer, if its arrays lack the last class; the numbers still agree.
    if any(mine != other for mine, other in zip(first, second, strict=False)):
        msg = (
            "`validation` must have the classes of `train`, in their order: "
            f"{', '.join(map(str, first))}. Received: {', '.join(map(str, second))}. "
            "Make both from one table, or pass the same `class_names` to both."
        )
        raise ValueError(msg)


def check_kind(name: str, data: Any) -> None:
    """Raise a ValueError unless data is a pair of arrays or yields a finite number of batches."""
    if hasattr(data, "cardinality") and int(data.cardinality()) == _INFINITE:
        msg = f"`{name}` must be finite. Received: an endless dataset. Leave `.repeat()` out."
        raise ValueError(msg)
    if hasattr(data, "__next__") and not hasattr(data, "__getitem__"):
        msg = (
            f"`{name}` must be iterable more than once. Received: {type(data).__name__}, which "
            "can be read only once. Use a keras.utils.PyDataset or a tf.data.Dataset."
        )
        raise ValueError(msg)
    is_pair = isinstance(data, tuple) and len(data) == 2
    if is_pair and isinstance(data[0], list | tuple | dict):
        msg = (
            f"The images of `{name}` must be one array. Received: {type(data[0]).__name__}. Stack "
            "them with np.stack; for several inputs, use a dataset."
        )
        raise ValueError(msg)
    gives_batches = hasattr(data, "__iter__") and not isinstance(data, tuple | list | dict | str)
    if is_pair or (gives_batches and not hasattr(data, "shape")):
        return
    size = f" of {len(data)}" if isinstance(data, tuple | list) else ""
    msg = (
        f"`{name}` must be a pair of arrays (images, targets), a dataset or a PyDataset. "
        f"Received: {type(data).__name__}{size}. `cnnkit.data.image_dataset` makes a dataset from "
        "a table. For sample weights, use a dataset."
    )
    raise ValueError(msg)


def check_not_empty(name: str, data: Any, batch_size: int) -> Any:
    """Return the first batch of data, or raise a ValueError if there is none."""
    batch = next(batches_of(data, batch_size), None)
    if batch is None or not len(batch[0]):
        msg = f"`{name}` must hold at least one image. Received: none."
        raise ValueError(msg)
    return batch


def _sample(name: str, data: Any, batch_size: int) -> tuple[NDArray[Any], Any]:
    """Return some images, and the targets of all arrays or of the first batch."""
    batch = check_not_empty(name, data, batch_size)
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        msg = (
            f"`{name}` must yield images and targets. Received: images only. Leave "
            "label_mode=None out."
        )
        raise ValueError(msg)
    targets = data[1] if isinstance(data, tuple) else batch[1]
    return keras.ops.convert_to_numpy(keras.tree.flatten(batch[0])[0]), targets


def _check_shape(model: keras.Model, name: str, images: NDArray[Any]) -> None:
    """Raise a ValueError if images don't have the input shape of a model with one input."""
    wanted = getattr(model, "input_shape", None)
    if isinstance(wanted, tuple) and not _fits(images.shape[1:], wanted[1:]):
        msg = (
            f"`{name}` must yield batches of images with the model's input shape, {wanted}. "
            f"Received: {images.shape}."
        )
        raise ValueError(msg)


def _fits(given: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    if wanted[-1:] == (1,) and len(given) == len(wanted) - 1:
        given = (*given, 1)  # Keras adds a missing channel axis, or drops one
    elif given[-1:] == (1,) and len(given) == len(wanted) + 1:
        given = given[:-1]
    return len(given) == len(wanted) and all(
        side in (None, size) for size, side in zip(given, wanted, strict=True)
    )


def _check_scaling(model: keras.Model, name: str, images: NDArray[Any]) -> None:
    """Raise a ValueError if images are already scaled and the model would scale them again."""
    are_images = images.ndim > 2
    if np.issubdtype(images.dtype, np.integer) or not (are_images and scales_inside(model)):
        return
    low, high = float(images.min()), float(images.max())
    if low < 0 or 0 < high <= 1:
        msg = (
            f"`{name}` must contain raw images, 0 to 255, because the model scales them. "
            f"Received: values from {low:.3g} to {high:.3g}. Use mode='none' in the dataset, or "
            "don't divide the arrays."
        )
        raise ValueError(msg)


def _check_class_names(model: keras.Model, name: str, data: Any) -> None:
    """Raise a ValueError if the data has other class names than the model, or another order."""
    kept, given = class_names_in(model), getattr(data, "class_names", None)
    if kept is not None and given is not None and kept != list(given):
        msg = (
            f"`{name}` must have the classes of the model, in their order: {', '.join(kept)}. "
            f"Received: {', '.join(map(str, given))}. Build the model with `train.class_names`."
        )
        raise ValueError(msg)


def _is_one_hot(targets: NDArray[Any]) -> bool:
    return targets.ndim == 2 and targets.shape[1] > 1


def check_targets(model: keras.Model, name: str, targets: NDArray[Any]) -> None:
    """Raise a ValueError unless the targets match the model's classes."""
    units = model.output_shape[-1]
    one_hot = _is_one_hot(targets)
    if one_hot and targets.shape[1] != units:
        advice = (
            "Use label_mode='binary' for one output."
            if units == 1
            else f"Build the model for {targets.shape[1]} classes."
        )
        msg = (
            f"`{name}` must have as many classes as the model has outputs, {units}. "
            f"Received: one-hot labels of {targets.shape[1]} classes. {advice}"
        )
        raise ValueError(msg)
    if not one_hot and (targets.min() < 0 or targets.max() > max(1, units - 1)):
        msg = (
            f"`{name}` must have labels from 0 to {max(1, units - 1)}, because the model has "
            f"{units} output(s). Received: labels from {targets.min():g} to {targets.max():g}."
        )
        raise ValueError(msg)


def _check_form_of_labels(model: keras.Model, name: str, targets: NDArray[Any]) -> None:
    """Raise a ValueError if the loss expects one-hot labels but gets numbers, or vice versa."""
    loss = _plain_name(model.loss)
    if loss.startswith("sparse") and _is_one_hot(targets):
        msg = (
            f"`{name}` must have class numbers as labels, because the model's loss is {loss!r}. "
            f"Received: labels of shape {targets.shape}. Use label_mode='int', or compile the "
            "model with loss='categorical_crossentropy'."
        )
        raise ValueError(msg)
    if loss.startswith("categorical") and not _is_one_hot(targets):
        msg = (
            f"`{name}` must have one-hot labels, because the model's loss is {loss!r}. "
            f"Received: labels of shape {targets.shape}. Use label_mode='categorical', or compile "
            "the model with loss='sparse_categorical_crossentropy'."
        )
        raise ValueError(msg)


def _warn_of_order(targets: NDArray[Any]) -> None:
    """Warn if a batch of enough images holds one class only, as with a sorted table."""
    if len(targets) >= _ENOUGH and (targets == targets[0]).all():
        warnings.warn(
            f"All {len(targets)} images in the first batch of `train` have the same class. Unless "
            "nearly all images have it, shuffle them: image_dataset(..., shuffle=True).",
            stacklevel=5,
        )


def _plain_name(loss: Any) -> str:
    """Return the name of a loss given as a string, a function or an object, in lower case."""
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    return name.lower()
