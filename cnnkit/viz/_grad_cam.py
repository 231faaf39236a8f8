"""Where in an image a network sees a class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from cnnkit._class_names import class_names_in
from cnnkit.preprocess._modes import leaf_operations
from cnnkit.viz._axes import panels
from cnnkit.viz._fonts import make_readable
from cnnkit.viz._listening import Image, heard_by, layer_named, maps_of, model_input, replaced


def show_grad_cam(
    model: Any,
    image: Image,
    *,
    target: int | str | None = None,
    layer: str | None = None,
    mode: str = "none",
    axes: Iterable[Axes] | None = None,
) -> NDArray[Any]:
    """Show where in an image a class is seen: Grad-CAM.

    The maps of a convolution, weighted by what each adds to the score of the class in front of the
    softmax; only what speaks for the class is shown (Selvaraju et al., "Grad-CAM", 2017,
    arXiv:1610.02391, equations 1 and 2).

    Args:
        model: A Keras classifier on the TensorFlow backend, softmax or one sigmoid unit.
        image: A file, which is read at the model's size, or a uint8 image of that size
            `(height, width, channels)`.
        target: Number of a class, or its name if the model keeps the names, as
            `cnnkit.transfer.build_classifier` gives them to it; by default the predicted one.
        layer: Name of a layer that gives feature maps, in the model or in a model inside it; by
            default the last of them.
        mode: The scaling the model was trained with; `"none"` for a model that scales inside.
        axes: Two panels to draw on; a new figure by default.

    Returns:
        An array of two Axes: the image, and the same under the heat of the class (bright is much),
        with its name and probability.

    Raises:
        NotImplementedError: If Keras runs on another backend.
        ValueError: If layer or class aren't there, or the image doesn't fit.

    Example:
        >>> from sklearn.datasets import load_sample_images
        >>> from cnnkit.models import simple_cnn
        >>> from cnnkit.viz import show_grad_cam
        >>> model = simple_cnn((64, 64, 3), 2, filters=(4, 8), mode="unit")
        >>> axes = show_grad_cam(model, load_sample_images().filenames[0], target=1)
        >>> axes[1].get_title()[:8]
        'class 1:'
    """
    _check_backend()
    picture, batch = model_input(model, image, mode)
    probabilities = _probabilities(np.asarray(model(batch, training=False))[0])
    names = class_names_in(model)
    number = _class_number(target, names, probabilities)
    listened = _last_maps(model) if layer is None else layer_named(model, layer)
    heat = _grad_cam(model, batch, listened, number)
    drawn = panels(axes, 2, panel_size=(3.2, 3.4))
    for ax in drawn:
        ax.imshow(picture, cmap="gray", vmin=0, vmax=255)
        ax.set_axis_off()
    height, width = picture.shape[:2]
    frame = (-0.5, width - 0.5, height - 0.5, -0.5)
    drawn[1].imshow(heat, cmap="inferno", alpha=0.55, extent=frame, interpolation="bilinear")
    name = names[number] if names else f"class {number}"
    drawn[1].set_title(f"{name}: {probabilities[number]:.2f}", fontsize="medium")
    make_readable([drawn[1].title])
    return drawn


def _grad_cam(model: Any, batch: NDArray[Any], layer: Any, number: int) -> NDArray[Any]:
    """Return the heat of a class `(height, width)`, 0 to 1, as large as the layer's maps."""
    import tensorflow as tf

    heard: list[Any] = []
    with tf.GradientTape() as tape:

        def hear(maps: Any) -> None:
            tape.watch(maps)
            heard.append(maps)

        with _linear_end(model), replaced(layer, call=heard_by(hear, layer.call)):
            scores = model(batch, training=False)[0]
        # One sigmoid unit speaks for the second class, and its opposite for the first.
        score = scores[number] if len(scores) > 1 else (2 * number - 1) * scores[0]
    maps = maps_of(layer, heard)[0]
    gradients = tf.convert_to_tensor(tape.gradient(score, heard[-1])).numpy()[0]
    heat: NDArray[Any] = np.maximum(maps @ gradients.mean(axis=(0, 1)), 0)
    return heat / heat.max() if heat.max() > 0 else heat


@contextmanager
def _linear_end(model: Any) -> Iterator[None]:
    """Leave out the softmax or sigmoid at the end for a while."""
    import keras

    ends = (keras.activations.softmax, keras.activations.sigmoid)
    last = next(
        layer
        for layer in reversed(list(leaf_operations(model)))
        if isinstance(layer, keras.layers.Softmax) or hasattr(layer, "activation")
    )
    changed: dict[str, Any] = {}
    if isinstance(last, keras.layers.Softmax):
        changed = {"call": lambda inputs, *_args, **_options: inputs}
    elif last.activation in ends:
        changed = {"activation": keras.activations.linear}
    with replaced(last, **changed):
        yield


def _last_maps(model: Any) -> Any:
    """Return the last layer that gives feature maps."""
    for layer in reversed(list(leaf_operations(model))):
        if layer._inbound_nodes and len(getattr(layer.output, "shape", ())) == 4:
            return layer
    msg = (
        "`model` must have a layer with feature maps, (batch, height, width, channels). "
        "Received: a model without any. Name one as `layer`."
    )
    raise ValueError(msg)


def _probabilities(outputs: NDArray[Any]) -> NDArray[Any]:
    return np.array([1 - outputs[0], outputs[0]]) if len(outputs) == 1 else outputs


def _class_number(target: Any, names: list[str] | None, probabilities: NDArray[Any]) -> int:
    if target is None:
        return int(probabilities.argmax())
    number = names.index(target) if names and target in names else target
    if isinstance(number, str) or not 0 <= number < len(probabilities):
        known = f", or one of {', '.join(names)}" if names else ""
        msg = (
            f"`target` must be a class number from 0 to {len(probabilities) - 1}{known}. "
            f"Received: target={target!r}."
            f"{'' if names else ' Names are known of a model that `build_classifier` made.'}"
        )
        raise ValueError(msg)
    return int(number)


def _check_backend() -> None:
    import keras

    if keras.backend.backend() != "tensorflow":
        msg = (
            "`show_grad_cam` needs Keras on TensorFlow, whose gradients it takes. "
            f"Received: the backend {keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow."
        )
        raise NotImplementedError(msg)
