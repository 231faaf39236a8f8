"""From a model and a table of files to a table of predictions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm.auto import tqdm

from cnnkit._validation import check_whole_number
from cnnkit.data._batches import BatchMaker, cut, table_source
from cnnkit.data._reading import CHANNELS
from cnnkit.data._tables import check_table, class_names_of
from cnnkit.preprocess._modes import scales_inside


def predict_images(
    model: Any,
    table: pd.DataFrame,
    *,
    mode: str = "none",
    class_names: Sequence[str] | None = None,
    image_size: Sequence[int] | None = None,
    batch_size: int = 32,
    progress: bool = True,
) -> pd.DataFrame:
    """Predict the class of every image in a table.

    Images are read exactly as in training, and every prediction stands in the row of its file.

    Args:
        model: A Keras classifier: softmax over the classes, or one sigmoid unit for two.
        table: A table as `list_images` gives it; labels are not needed.
        mode: The scaling the model was trained with; `"none"` for a model that scales inside.
        class_names: Names of the model's outputs; the table's own by default.
        image_size: `(height, width)`; needed only where the model's input leaves it open.
        batch_size: Images a batch; the predictions do not depend on it.
        progress: If True, show a progress bar.

    Returns:
        The table with further columns: `predicted_names` (a Categorical of all class names),
        `confidence` (the probability of that class, 0..1) and `probability_<class>`.

    Raises:
        ImageReadError: If a file can't be read; the message names it and its place in the table.
        ValueError: If the class names do not fit the model's outputs, `mode` scales for a model
            that scales inside, or the outputs are no probabilities.

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
    check_table(table, labelled=False)
    if table.empty:
        msg = "`table` must hold at least one image. Received: an empty table."
        raise ValueError(msg)
    _check_mode(model, mode)
    names = _class_names(model, table, class_names)
    make = _batch_maker(model, table, mode, image_size)
    batches = list(cut(np.arange(len(table)), check_whole_number("batch_size", batch_size)))
    bar = tqdm(batches, desc="predicting", unit="batch", disable=not progress)
    outputs = [np.asarray(model.predict_on_batch(make(0, places))) for places in bar]
    return _with_predictions(table, _probabilities(np.concatenate(outputs)), names)


def _batch_maker(
    model: Any, table: pd.DataFrame, mode: str, image_size: Sequence[int] | None
) -> BatchMaker:
    """Return what reads images in the form of the model's input."""
    height, width, channels = model.input_shape[1:]
    colors = {count: name for name, count in CHANNELS.items()}
    if channels not in colors:
        msg = (
            "`model` must take images of 1 or 3 channels. "
            f"Received: an input of shape {model.input_shape}."
        )
        raise ValueError(msg)
    source = table_source(table, image_size or (height, width), colors[channels], None)
    return BatchMaker(source.read, source.shape, None, mode, seed=0)


def _check_mode(model: Any, mode: str) -> None:
    if mode != "none" and scales_inside(model):
        msg = (
            "`mode` must be 'none' for a model that scales inside, or images would be scaled "
            f"twice. Received: mode={mode!r}."
        )
        raise ValueError(msg)


def _class_names(model: Any, table: pd.DataFrame, class_names: Sequence[str] | None) -> list[str]:
    if class_names is None and "target_names" not in table:
        msg = "`class_names` must be given for a table without labels. Received: class_names=None."
        raise ValueError(msg)
    names = list(class_names) if class_names is not None else class_names_of(table)
    classes = max(2, model.output_shape[-1])
    if len(names) != classes:
        msg = (
            f"`class_names` must name the {classes} classes of the model. "
            f"Received: {len(names)} names, {names!r}."
        )
        raise ValueError(msg)
    return names


def _probabilities(outputs: NDArray[Any]) -> NDArray[np.float64]:
    """Return a column for each class; one sigmoid unit is the probability of the second."""
    values = outputs.astype(np.float64)
    if values.shape[1] == 1:
        values = np.hstack([1 - values, values])
    if values.min() < 0 or not np.allclose(values.sum(axis=1), 1, atol=1e-2):
        msg = (
            "`model` must give probabilities. Received: outputs from "
            f"{outputs.min():.3g} to {outputs.max():.3g}. Add a softmax, or a sigmoid for one unit."
        )
        raise ValueError(msg)
    return values


def _with_predictions(
    table: pd.DataFrame, probabilities: NDArray[np.float64], names: list[str]
) -> pd.DataFrame:
    codes = probabilities.argmax(axis=1)
    columns = {
        "predicted_names": pd.Categorical.from_codes(codes, categories=pd.Index(names)),
        "confidence": probabilities.max(axis=1),
    }
    columns |= {f"probability_{name}": probabilities[:, code] for code, name in enumerate(names)}
    return table.assign(**columns)
