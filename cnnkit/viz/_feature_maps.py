"""What a layer makes of an image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from cnnkit._foundation.validation import check_whole_number
from cnnkit.viz._axes import panels
from cnnkit.viz._listening import Image, heard_by, layer_named, model_input, replaced


def show_feature_maps(
    model: Any,
    image: Image,
    layer: str,
    *,
    count: int = 16,
    mode: str = "none",
    axes: Iterable[Axes] | None = None,
) -> NDArray[Any]:
    """Show what a layer makes of an image, a panel for each channel, the most active first.

    Args:
        model: A Keras model that takes one image batch.
        image: A file, which is read at the model's size, or a uint8 image of that size
            `(height, width, channels)`.
        layer: Name of a layer that gives feature maps, in the model or in a model inside it, or of
            such a model.
        count: How many channels; all if there are fewer. Active is what is large on average.
        mode: The scaling the model was trained with; `"none"` for a model that scales inside.
        axes: Panels to draw on, one a channel; a new figure by default.

    Returns:
        An array of Axes; bright is high, each channel on its own scale.

    Raises:
        ValueError: If the layer isn't there or gives no feature maps, the image or the mode
            doesn't fit, or the model has no graph.

    Example:
        >>> from sklearn.datasets import load_sample_images
        >>> from cnnkit.models import simple_cnn
        >>> from cnnkit.viz import show_feature_maps
        >>> model = simple_cnn((64, 64, 3), 2, filters=(4, 8), mode="unit")
        >>> path = load_sample_images().filenames[0]
        >>> axes = show_feature_maps(model, path, "block1_conv1", count=2)
        >>> len(axes)
        2
    """
    import keras

    check_whole_number("count", count)
    _, batch = model_input(model, image, mode)
    listened = layer_named(model, layer)
    heard: list[Any] = []
    with replaced(listened, call=heard_by(heard.append, listened.call)):
        model(batch, training=False)
    maps = keras.ops.convert_to_numpy(heard[-1])[0]
    order = np.argsort(-maps.mean(axis=(0, 1)), kind="stable")[:count]
    drawn = panels(axes, len(order), columns=min(4, len(order)), panel_size=(2.0, 2.2))
    for ax, channel in zip(drawn, order, strict=True):
        ax.imshow(maps[..., channel], cmap="viridis")
        ax.set_title(f"channel {channel}", fontsize="medium")
        ax.set_axis_off()
    return drawn
