"""The feature maps of a layer for an image."""

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
    """Show the feature maps of a layer for an image: one panel per channel, most active first.

    Args:
        model: A Keras model that takes one batch of images.
        image: The path of a file, which is read at the model's input size, or a uint8 image of
            that size, `(height, width, channels)`.
        layer: Name of a layer that outputs feature maps. It may belong to a nested model, or name
            the nested model itself.
        count: Number of channels to show; if the layer has fewer, all are shown. Channels are
            ordered by their mean value.
        mode: Scaling that the model was trained with; `"none"` if the model scales its own input.
        axes: Panels to draw on, one per channel; by default, a new figure.

    Returns:
        An array of Axes. Brighter means higher; each channel has its own color scale.

    Raises:
        ValueError: If the layer doesn't exist or outputs no feature maps, if the image or the mode
            doesn't fit the model, or if the model has no graph.

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
