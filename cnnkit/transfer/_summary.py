"""A table of the layers that train."""

import warnings

import keras
import pandas as pd

from cnnkit._keras.compiling import is_stale
from cnnkit._keras.graph import leaf_layers
from cnnkit.transfer._freezing import check_built


def trainable_summary(model: keras.Model) -> pd.DataFrame:
    """List the layers that have weights, and whether they train.

    Args:
        model: A built functional or Sequential model. Nested models are searched, too.

    Returns:
        A table with a row for each layer with weights: `layer` (its name), `type`, `parameters`
        and `trainable`. `table.attrs["stale"]` is True if the compiled train step doesn't know this
        state, because `trainable` was set by hand after the first `fit`.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If the model isn't built.

    Warns:
        UserWarning: If the train step is stale.

    Example:
        >>> from cnnkit.models import vggnet
        >>> from cnnkit.transfer import freeze, trainable_summary
        >>> table = trainable_summary(freeze(vggnet((32, 32, 3)), first=3))
        >>> table.head(3)
                  layer    type  parameters  trainable
        0  block1_conv1  Conv2D        1792      False
        1  block1_conv2  Conv2D       36928      False
        2  block2_conv1  Conv2D       73856       True
    """
    check_built(model)
    rows = [
        (
            layer.name,
            type(layer).__name__,
            layer.count_params(),
            bool(layer.trainable_weights),
        )
        for layer in leaf_layers(model)
        if layer.weights
    ]
    table = pd.DataFrame(rows, columns=["layer", "type", "parameters", "trainable"])
    table.attrs["stale"] = is_stale(model)
    if table.attrs["stale"]:
        warnings.warn(
            "The compiled train step is stale: `trainable` was changed after training began, and "
            "`fit` will ignore the change. Use `cnnkit.transfer.freeze` or `unfreeze`, or compile "
            "again.",
            stacklevel=2,
        )
    return table
