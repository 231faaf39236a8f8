"""From a model and images to a table of predictions."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax
from tqdm.auto import tqdm

from cnnkit._foundation.validation import check_whole_number
from cnnkit._keras.class_names import class_names_in
from cnnkit._keras.distribution import forward
from cnnkit.data._feeding.batches import ImageBatches, cut
from cnnkit.data._feeding.sources import Reading, table_source
from cnnkit.data._files.reading import CHANNELS
from cnnkit.data._tables.listing import list_images
from cnnkit.data._tables.tables import check_table, class_names_if_known
from cnnkit.preprocess._modes import check_mode_of_model

Images = pd.DataFrame | Sequence[str | os.PathLike[str]] | str | os.PathLike[str]


def predict_images(
    model: Any,
    images: Images,
    *,
    mode: str = "none",
    class_names: Sequence[str] | None = None,
    top: int | None = None,
    from_logits: bool = False,
    image_size: Sequence[int] | None = None,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    batch_size: int = 32,
    progress: bool = True,
) -> pd.DataFrame:
    """Predict the class of every image.

    Images are read exactly as in training, and each prediction is in the row of its file.

    Args:
        model: A Keras classifier: a softmax over the classes, or one sigmoid unit for two classes.
        images: A table from `list_images`, labeled or not; a list of files; one file; or a folder,
            all of whose images are taken.
        mode: The scaling that the model was trained with; `"none"` for a model with scaling inside.
        class_names: Names of the model's outputs. By default, the names that
            `cnnkit.transfer.build_classifier` gave to the model, or else those of the table.
        top: If given, return this many most probable classes instead of a column for each class;
            all classes if there are fewer.
        from_logits: If True, the model returns logits, which are converted to probabilities.
        image_size: `(height, width)`; required only if the model's input doesn't set it.
        crop_to_aspect_ratio: As in training: if True, crop images instead of stretching them.
        pad_to_aspect_ratio: As in training: if True, add black borders instead of stretching
            images.
        batch_size: Images per batch; the predictions don't depend on it.
        progress: If True, show a progress bar.

    Returns:
        The table with further columns: `predicted_names` (a Categorical of all class names),
        `confidence` (the probability of that class, 0..1) and `probability_<class>`; with `top`,
        instead of the last, `top_1_names`, `top_1_probability`, `top_2_names` and so on.

    Raises:
        ImageReadError: If a file can't be read; the message names it and its place in the table.
        ValueError: If the class names don't match the model's outputs, if `mode` scales images for
            a model with scaling inside, or if the outputs are not probabilities.

    Example:
        >>> import pandas as pd
        >>> from sklearn.datasets import load_sample_images
        >>> from cnnkit.data import predict_images
        >>> from cnnkit.models import simple_cnn
        >>> table = pd.DataFrame({"file_paths": load_sample_images().filenames})
        >>> model = simple_cnn((32, 32, 3), 2, mode="unit")
        >>> result = predict_images(model, table, class_names=["china", "flower"], progress=False)
        >>> list(result.columns[1:])
        ['predicted_names', 'confidence', 'probability_china', 'probability_flower']
    """
    table = _as_table(images)
    if table.empty:
        msg = "`images` must hold at least one image. Received: an empty table."
        raise ValueError(msg)
    check_mode_of_model(model, mode)
    names = _class_names(model, table, class_names)
    if top is not None:
        top = min(check_whole_number("top", top), len(names))
    size = image_size or model.input_shape[1:3]
    reading = Reading(size, _color_mode(model), crop_to_aspect_ratio, pad_to_aspect_ratio)
    pixels = ImageBatches(table_source(table, reading, None), None, mode, seed=0)
    batches = list(cut(np.arange(len(table)), check_whole_number("batch_size", batch_size)))
    bar = tqdm(batches, desc="predicting", unit="batch", disable=not progress)
    with forward(model) as run:
        outputs = np.concatenate([run(pixels(0, rows)) for rows in bar])
    probabilities = _from_logits(outputs) if from_logits else _probabilities(outputs)
    return _with_predictions(table, probabilities, names, top)


def _as_table(images: Any) -> pd.DataFrame:
    """Return a table unchanged, and make one from files."""
    if isinstance(images, str | os.PathLike):
        images = list_images(images, labels=None) if Path(images).is_dir() else [images]
    if isinstance(images, list | tuple):
        return pd.DataFrame({"file_paths": pd.Series(map(os.fspath, images), dtype=str)})
    check_table(images, labelled=False)
    table: pd.DataFrame = images
    return table


def _color_mode(model: Any) -> str:
    colors = {count: name for name, count in CHANNELS.items()}
    if model.input_shape[-1] not in colors:
        msg = (
            "`model` must take images of 1 or 3 channels. "
            f"Received: an input of shape {model.input_shape}."
        )
        raise ValueError(msg)
    return colors[model.input_shape[-1]]


def _class_names(model: Any, table: pd.DataFrame, class_names: Sequence[str] | None) -> list[str]:
    """Return the names that are given, or else those of the model, or else those of the table."""
    names = class_names_in(model) if class_names is None else list(class_names)
    told = class_names_if_known(table)
    if names is None:
        names = told
    if names is None:
        msg = (
            "`class_names` must be given if neither the model nor the table has them. "
            "Received: class_names=None."
        )
        raise ValueError(msg)
    classes = max(2, model.output_shape[-1])
    if len(names) != classes:
        msg = (
            f"`class_names` must name the {classes} classes of the model. "
            f"Received: {len(names)} names, {names!r}."
        )
        raise ValueError(msg)
    kept = class_names_in(model)
    if kept is not None and kept != names and sorted(kept) == sorted(names):
        msg = (
            f"`class_names` must be in the order of the model's outputs: {', '.join(kept)}. "
            f"Received: {', '.join(names)}. Leave them out, because the model has its own."
        )
        raise ValueError(msg)
    if class_names is None and told is not None and told != names:
        warnings.warn(
            f"The table has other classes than the model, or another order: {', '.join(told)}. "
            f"Predictions have the names of the model: {', '.join(names)}.",
            stacklevel=3,
        )
    return names


def _probabilities(outputs: NDArray[Any]) -> NDArray[np.float64]:
    """Return a column for each class; one sigmoid unit is the probability of the second class."""
    values = outputs.astype(np.float64)
    if values.shape[1] == 1:
        values = np.hstack([1 - values, values])
    if values.min() < 0 or not np.allclose(values.sum(axis=1), 1, atol=1e-2):
        msg = (
            "`model` must give probabilities. Received: outputs from "
            f"{outputs.min():.3g} to {outputs.max():.3g}. Pass from_logits=True for logits."
        )
        raise ValueError(msg)
    return values


def _from_logits(outputs: NDArray[Any]) -> NDArray[np.float64]:
    """Return a column for each class: softmax, or the sigmoid of one unit."""
    logits = outputs.astype(np.float64)
    if logits.shape[1] == 1:
        logits = np.hstack([np.zeros_like(logits), logits])
    probabilities: NDArray[np.float64] = softmax(logits, axis=1)
    return probabilities


def _with_predictions(
    table: pd.DataFrame, probabilities: NDArray[np.float64], names: list[str], top: int | None
) -> pd.DataFrame:
    order = np.argsort(-probabilities, axis=1, kind="stable")
    rows = np.arange(len(table))

    def ranked(rank: int) -> tuple[Any, Any]:
        codes = order[:, rank]
        categorical = pd.Categorical.from_codes(codes, categories=pd.Index(names))
        return categorical, probabilities[rows, codes]

    columns: dict[str, Any] = dict(zip(("predicted_names", "confidence"), ranked(0), strict=True))
    if top is None:
        by_class = zip(names, probabilities.T, strict=True)
        columns |= {f"probability_{name}": column for name, column in by_class}
    for rank in range(top or 0):
        titles = (f"top_{rank + 1}_names", f"top_{rank + 1}_probability")
        columns |= dict(zip(titles, ranked(rank), strict=True))
    return table.assign(**columns)
