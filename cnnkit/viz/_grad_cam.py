"""Where in an image a network sees a class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from cnnkit._keras.class_names import class_names_in
from cnnkit.preprocess._modes import leaf_operations
from cnnkit.viz._axes import panels
from cnnkit.viz._fonts import make_readable, wrapped
from cnnkit.viz._listening import Image, heard_by, layer_named, model_input, replaced


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
        model: A Keras classifier on the TensorFlow backend: softmax, sigmoid or logits, of one unit
            too.
        image: A file, which is read at the model's size and shown in its own, or a uint8 image of
            the model's size `(height, width, channels)`.
        target: Number of a class, or its name if the model keeps the names, as
            `cnnkit.transfer.build_classifier` gives them to it; by default the predicted one.
        layer: Name of a layer that gives feature maps, in the model or in a model inside it, or of
            such a model; by default the last layer of them.
        mode: The scaling the model was trained with; `"none"` for a model that scales inside.
        axes: Two panels to draw on; a new figure by default.

    Returns:
        An array of two Axes: the image, and the same under the heat of the class (bright is much),
        with its name and its probability, or its score where the model gives logits.

    Raises:
        NotImplementedError: If Keras runs on another backend.
        ValueError: If layer or class aren't there, image or mode don't fit, or the model has no
            graph.

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
    _check_outputs(model)
    picture, batch = model_input(model, image, mode)
    listened = layer_named(model, layer)
    end = _linear_end(model)
    outputs = np.asarray(model(batch, training=False))[0]
    told = _of_classes(outputs, 0.0 if end.changes is None else 1.0)
    names = class_names_in(model)
    number = _class_number(target, names, len(told), int(told.argmax()))
    heat = _grad_cam(model, batch, listened, end, number)
    drawn = panels(axes, 2, panel_size=(3.2, 3.4))
    for ax in drawn:
        ax.imshow(picture, cmap="gray", vmin=0, vmax=255)
        ax.set_axis_off()
    height, width = picture.shape[:2]
    frame = (-0.5, width - 0.5, height - 0.5, -0.5)
    drawn[1].imshow(heat, cmap="inferno", alpha=0.55, extent=frame, interpolation="bilinear")
    title = f"{names[number] if names else f'class {number}'}: "
    title += f"score {told[number]:.3g}" if end.changes is None else f"{told[number]:.2f}"
    title += "" if heat.any() else "\nnothing here speaks for it"
    drawn[1].set_title(wrapped(title, 28), fontsize="medium")
    make_readable([drawn[1].title])
    return drawn


_ENDS = ("Softmax", "Sigmoid")  # a layer, or what `keras.ops.softmax` leaves in the graph
_PASSING = ("Activation", "Dropout", "Flatten", "Identity", "Reshape")  # may stand behind it


class _End(NamedTuple):
    """The layer that makes probabilities, and the attributes that make it linear (or None)."""

    layer: Any
    changes: dict[str, Any] | None


def _grad_cam(model: Any, batch: NDArray[Any], layer: Any, end: _End, number: int) -> NDArray[Any]:
    """Return the heat of a class `(height, width)`, 0 to 1, as large as the layer's maps."""
    import tensorflow as tf

    heard: list[Any] = []
    with tf.GradientTape() as tape:

        def hear(maps: Any) -> None:
            tape.watch(maps)
            heard.append(maps)

        linear = replaced(end.layer, **(end.changes or {}))
        with linear, replaced(layer, call=heard_by(hear, layer.call)):
            scores = model(batch, training=False)[0]
        # One sigmoid unit speaks for the second class, and its opposite for the first.
        score = scores[number] if len(scores) > 1 else (2 * number - 1) * scores[0]
    maps = heard[-1].numpy()[0]
    gradients = tf.convert_to_tensor(tape.gradient(score, heard[-1])).numpy()[0]
    heat: NDArray[Any] = np.maximum(maps @ gradients.mean(axis=(0, 1)), 0)
    return heat / heat.max() if heat.max() > 0 else heat


def _linear_end(model: Any) -> _End:
    """Return how to leave out the softmax or sigmoid at the end."""
    import keras

    for operation in reversed(list(leaf_operations(model))):
        kind = type(operation).__name__
        activation = getattr(operation, "activation", None)
        if kind in _ENDS:
            return _End(operation, {"call": lambda inputs, *_args, **_options: inputs})
        if activation in (keras.activations.softmax, keras.activations.sigmoid):
            return _End(operation, {"activation": keras.activations.linear})
        if kind not in _PASSING:
            break
    return _End(operation, None)


def _of_classes(outputs: NDArray[Any], total: float) -> NDArray[Any]:
    """Return a value for each class: one unit speaks for the second, the rest for the first."""
    return np.array([total - outputs[0], outputs[0]]) if len(outputs) == 1 else outputs


def _class_number(target: Any, names: list[str] | None, classes: int, predicted: int) -> int:
    if target is None:
        return predicted
    numbers = dict(zip(names or (), range(classes), strict=False)) | {n: n for n in range(classes)}
    try:
        return numbers[target]
    except (KeyError, TypeError):
        known = f", or one of {', '.join(names)}" if names else ""
        msg = (
            f"`target` must be a class number from 0 to {classes - 1}{known}. "
            f"Received: target={target!r}."
            f"{'' if names else ' Names are known of a model that `build_classifier` made.'}"
        )
        raise ValueError(msg) from None


def _check_outputs(model: Any) -> None:
    shape = getattr(model, "output_shape", ())
    if isinstance(shape, list) or len(shape) not in (0, 2):
        msg = (
            "`model` must be a classifier with one output, (batch, classes). "
            f"Received: outputs of shape {shape}. Put a classifier on it, for example with "
            "cnnkit.transfer.build_classifier."
        )
        raise ValueError(msg)


def _check_backend() -> None:
    import keras

    if keras.backend.backend() != "tensorflow":
        msg = (
            "`show_grad_cam` needs Keras on TensorFlow, whose gradients it takes. "
            f"Received: the backend {keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow."
        )
        raise NotImplementedError(msg)
