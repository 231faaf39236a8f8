"""Features: the outputs of the frozen part of a model, computed once."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO, Protocol

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cnnkit._foundation.kept_files import HEADER, checked_path, kept_file
from cnnkit._foundation.validation import check_whole_number
from cnnkit._keras.distribution import forward
from cnnkit._keras.graph import leaf_layers
from cnnkit._keras.layers import draws_in_training, parts_of
from cnnkit.transfer._blocks import cut_points
from cnnkit.transfer._data_checks import pairs_of
from cnnkit.transfer._splitting import flattened, split_model

_TITLE = b"cnnkit cache of features\n"
Images = NDArray[Any]


class FixedImages(Protocol):
    """Images that are the same in every epoch: the attribute `fixed_images` of a dataset.

    Attributes:
        key: A digest that tells these images from others.
    """

    key: str

    def __len__(self) -> int:
        """Return the number of images."""

    def __iter__(self) -> Iterator[Images]:
        """Yield the batches, in an order that stays."""

    def replaced_by(self, arrays: Images) -> Any:
        """Return a dataset like this one, with a row of `arrays` in place of each image."""


def cache_features(
    model: keras.Model,
    data: Any,
    *,
    at: str | None = None,
    cache: str | os.PathLike[str] = "memory",
    fixed: bool = False,
    batch_size: int = 32,
    progress: bool = True,
) -> Any:
    """Run the frozen part of a model once over all images, to train the rest on its features.

    Training the second part of `split_model` on the features trains the model, because they share
    their layers. Every loss is the same as with the whole model, but the frozen part doesn't run in
    each epoch. (A dataset counts its epochs over all its uses, and each epoch has its own order. To
    compare two trainings, give each a new dataset.)

    Args:
        model: A model whose layers up to the cut are frozen.
        data: Arrays `(images, targets)`; or a dataset of `cnnkit.data.image_dataset` without a
            transform, whose `fixed_images` gives them in the table's order (`.take()`,
            `.map()`, and the like lose it). The images of any other dataset or PyDataset may differ
            from epoch to epoch, so it needs `fixed=True`.
        at: Where to cut, as in `split_model`; by default as late as everything before the cut is
            frozen.
        cache: `"memory"`, or a file for the features, which also serves later runs. It is made anew
            if the weights or the images have changed.
        fixed: If True, accept any data and use the images of a single pass, in its order.
        batch_size: Images per batch, for arrays.
        progress: If True, show a progress bar.

    Returns:
        Arrays `(features, targets)`; for a dataset of `image_dataset`, a dataset with the same
        batches, order, and seed, and features in place of images.

    Raises:
        ValueError: If the model can't be cut there, if something before the cut trains or is
            random, or if the data may change from epoch to epoch.

    Example:
        >>> import numpy as np
        >>> from cnnkit.models import simple_cnn
        >>> from cnnkit.transfer import build_classifier, cache_features, freeze, split_model
        >>> backbone = freeze(simple_cnn((8, 8, 1), 2, filters=(4,), include_top=False))
        >>> model = build_classifier(backbone, 2, mode="unit")
        >>> images = np.zeros((6, 8, 8, 1), dtype=np.uint8)
        >>> data = images, np.eye(2)[[0, 1] * 3]
        >>> features, targets = cache_features(model, data, progress=False)
        >>> features.shape
        (6, 4)
    """
    check_whole_number("batch_size", batch_size)
    bottom, _ = split_model(model, last_frozen(model) if at is None else at)
    _check_frozen(bottom)
    run = partial(_run, bottom, cache=cache, progress=progress)
    if isinstance(data, tuple):
        return run(_slices(data[0], batch_size), len(data[0]), _key_of(data[0])), data[1]
    images = fixed_images(data)
    if images is not None:
        return images.replaced_by(run(iter(images), len(images), images.key))
    if not fixed:
        msg = (
            "`data` must be arrays or a dataset of `image_dataset` without a transform, because "
            f"others don't tell whether their images stay the same. Received: {type(data).__name__}"
            " (`.take()`, `.map()`, and the like give one that doesn't tell). If they do, pass "
            "fixed=True."
        )
        raise ValueError(msg)
    if cache != "memory":
        msg = (
            "`cache` must be 'memory' for data that has no key to recognize it by. "
            f"Received: cache={cache!r}."
        )
        raise ValueError(msg)
    return _one_pass(bottom, data, batch_size, progress)


def random_layers(model: keras.Model) -> list[str]:
    """Return the names of the layers that draw at random in training."""
    return [layer.name for layer in leaf_layers(model) if _is_random(layer)]


def fixed_images(data: Any) -> FixedImages | None:
    """Return the images of a dataset that tells that they stay the same, or None."""
    images: FixedImages | None = getattr(data, "fixed_images", None)
    return images


def _is_random(operation: Any) -> bool:
    """Tell whether an operation draws in training, or a layer that it is made of."""
    return any(map(draws_in_training, parts_of(operation)))


def last_frozen(model: keras.Model) -> str:
    """Return the name of the last place to cut with frozen weights, and nothing else, before it."""
    last: str | None = None
    weighted = False
    for piece, cut in cut_points(flattened(model)):
        if any(getattr(x, "trainable_weights", ()) or _is_random(x) for x in piece):
            break
        weighted = weighted or any(getattr(x, "weights", ()) for x in piece)
        last = piece[-1].name if weighted and cut is not None else last
    if last is None:
        msg = (
            "`model` must be frozen before the cut. Received: a model whose first layers "
            "train or are random. Call `freeze` first."
        )
        raise ValueError(msg)
    return last


def _check_frozen(bottom: keras.Model) -> None:
    live = [layer.name for layer in leaf_layers(bottom) if layer.trainable_weights]
    drawn = random_layers(bottom)
    if live or drawn:
        what = "layers that train" if live else "layers that draw at random"
        msg = (
            "All layers before the cut must give the same output in every epoch. "
            f"Received: {what}, {', '.join((live or drawn)[:3])}. "
            f"{'Call `freeze`, or cut' if live else 'Cut'} the model earlier."
        )
        raise ValueError(msg)


def _slices(images: Images, batch_size: int) -> Iterator[Images]:
    for start in range(0, len(images), batch_size):
        yield images[start : start + batch_size]


def _run(
    bottom: keras.Model,
    batches: Iterator[Images],
    length: int,
    key: str,
    *,
    cache: str | os.PathLike[str],
    progress: bool,
) -> NDArray[Any]:
    """Return the features `(images, …)` of all batches, from memory or a file."""
    shape = (length, *bottom.output_shape[1:])
    if None in shape:
        msg = (
            "`model` must have a fixed image size before the cut. "
            f"Received: features of shape {bottom.output_shape}."
        )
        raise ValueError(msg)
    kind = np.dtype(bottom.output.dtype if bottom.output.dtype != "bfloat16" else "float32")

    def fill(keep: Callable[[int, NDArray[Any]], object]) -> None:
        done = 0
        bar = tqdm(total=length, desc="features", disable=not progress, unit="image")
        with bar, forward(bottom) as run:
            for images in batches:
                keep(done, np.ascontiguousarray(run(images), kind))
                done += len(images)
                bar.update(len(images))

    if cache == "memory":
        features = np.empty(shape, kind)
        fill(lambda done, some: features.__setitem__(slice(done, done + len(some)), some))
        return features
    path = checked_path(cache, _TITLE, "cache_features")
    whole = _key_of_model(bottom, key, shape)

    def write(file: BinaryIO) -> None:
        # Not through a memmap, which ends the process if the disk is full.
        fill(lambda _, some: file.write(some.tobytes()))

    with kept_file(path, _TITLE, whole, int(np.prod(shape)) * kind.itemsize, write) as file:
        return np.memmap(file, dtype=kind, mode="r", offset=HEADER, shape=shape)


def _key_of(images: Images) -> str:
    """Return a digest of the pixels of arrays."""
    digest = hashlib.sha256(repr((images.shape, str(images.dtype))).encode())
    digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()


def _key_of_model(bottom: keras.Model, key: str, shape: tuple[int, ...]) -> str:
    """Return a digest of a model and its images."""
    told = json.dumps((key, shape, bottom.get_config() | {"name": None}), default=repr)
    for place, operation in enumerate(bottom.operations):
        if not isinstance(operation, keras.layers.Layer):  # Keras numbers their names
            told = told.replace(json.dumps(operation.name), str(place))
    digest = hashlib.sha256(told.encode())
    for weight in bottom.weights:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).data)
    return digest.hexdigest()


def _one_pass(bottom: keras.Model, data: Any, batch_size: int, progress: bool) -> Any:
    features, targets = [], []
    with forward(bottom) as run:
        pairs = pairs_of("data", data, batch_size)
        for images, labels in tqdm(pairs, "features", disable=not progress):
            features.append(run(images))
            targets.append(np.asarray(labels))
    return np.concatenate(features), np.concatenate(targets)
