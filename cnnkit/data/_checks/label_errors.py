"""Labels that contradict the predictions of a model that was trained without them."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cnnkit.data._tables.tables import check_table, class_names_of


def find_label_errors(table: pd.DataFrame, probabilities: ArrayLike) -> pd.DataFrame:
    """Find images whose labels contradict the predicted probabilities.

    The predictions must be out-of-fold: they must come from models that were trained without the
    image, as with scikit-learn's `cross_val_predict(…, method="predict_proba")`, because a model
    tends to confirm the labels that it was trained on. Look at the images before you drop any.

    The most suspicious image is the one whose label has the lowest probability. This is the
    "self-confidence" of Northcutt, Jiang and Chuang, "Confident Learning", JAIR 70, 2021.

    Args:
        table: A labelled table as returned by `list_images`.
        probabilities: Probabilities `(images, classes)` in 0..1. Rows are in the order of the
            table, columns in the order of the class numbers, and each row sums to 1. Or a DataFrame
            with the index of the table and a column for each class, named after the class or as in
            the output of `predict_images`.

    Returns:
        The rows of the table for which another class is more probable than the label, the most
        suspicious first, with three additional columns: `label_probability`, `suggested_names` (a
        Categorical with the same classes) and `suggested_probability`.

    Raises:
        ValueError: If the table is not labelled, or the probabilities have the wrong shape, are
            not finite or do not sum to 1.

    Example:
        >>> import pandas as pd
        >>> from cnnkit.data import find_label_errors
        >>> names = pd.Categorical(["cat", "dog", "cat"])
        >>> table = pd.DataFrame({"file_paths": ["1.png", "2.png", "3.png"], "target_names": names})
        >>> table["targets"] = table["target_names"].cat.codes
        >>> errors = find_label_errors(table, [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
        >>> errors[["file_paths", "target_names", "suggested_names"]].values.tolist()
        [['2.png', 'dog', 'cat'], ['3.png', 'cat', 'dog']]
    """
    check_table(table)
    class_names = class_names_of(table)
    if isinstance(probabilities, pd.DataFrame):
        probabilities = _columns_of(probabilities, table.index, class_names)
    shares = _checked(probabilities, (len(table), len(class_names)))
    rows = np.arange(len(table))
    label_probability = shares[rows, table["targets"]]
    suggested = shares.argmax(axis=1)
    errors = table.assign(
        label_probability=label_probability,
        suggested_names=table["target_names"]
        .cat.categories[suggested]
        .astype(table["target_names"].dtype),
        suggested_probability=shares[rows, suggested],
    )
    contradicted = errors["suggested_probability"] > errors["label_probability"]
    return errors[contradicted].sort_values("label_probability", kind="stable")


def _columns_of(
    probabilities: pd.DataFrame, index: pd.Index, class_names: list[str]
) -> pd.DataFrame:
    """Return the columns of the classes, by either of the two naming schemes."""
    for columns in (class_names, [f"probability_{name}" for name in class_names]):
        if set(columns) <= set(probabilities) and probabilities.index.equals(index):
            return probabilities[columns]
    msg = (
        "`probabilities` must be an array, or a DataFrame with the index of the table and a column "
        "for each class, named <class> or probability_<class> (as by `predict_images`). "
        f"Received: the columns {list(probabilities.columns)} for the classes {class_names}."
    )
    raise ValueError(msg)


def _checked(probabilities: ArrayLike, shape: tuple[int, int]) -> NDArray[np.float64]:
    shares = np.asarray(probabilities, dtype=np.float64)
    if shares.shape != shape:
        received = f"the shape {shares.shape}"
    elif not np.isfinite(shares).all() or (shares < 0).any():
        received = "values that are negative or not finite"
    elif not np.allclose(shares.sum(axis=1), 1, atol=1e-3):
        received = f"a row that sums to {shares.sum(axis=1)[_worst(shares)]:.3g}"
    else:
        return shares
    msg = (
        f"`probabilities` must have the shape (images, classes) = {shape} and rows that sum to 1. "
        f"Received: {received}. For one sigmoid unit: np.column_stack([1 - p, p])."
    )
    raise ValueError(msg)


def _worst(shares: NDArray[np.float64]) -> int:
    return int(np.abs(shares.sum(axis=1) - 1).argmax())
