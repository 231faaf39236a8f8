"""Grad-CAM: the regions of an image that support a class."""

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
    """Show which regions of an image support a class, with Grad-CAM.

    The feature maps of a layer are summed, each weighted by the mean gradient of the class score
    before the softmax. Only positive values are shown (Selvaraju et al., "Grad-CAM", 2017,
    arXiv:1610.02391, equations 1 and 2).

    Args:
        model: A Keras classifier on the TensorFlow backend. It may output softmax or sigmoid
            probabilities or logits, also from a single unit.
        image: The path of a file, which is read at the model's input size and shown in its own
            size, or a uint8 image of the model's input size, `(height, width, channels)`.
        target: Number of a class, or its name if the model stores class names, as models from
            `cnnkit.transfer.build_classifier` do. By default, the predicted class.
        layer: Name of a layer that outputs feature maps. It may belong to a nested model, or name
            the nested model itself. By default, the last layer that outputs feature maps.
        mode: Scaling that the model was trained with; `"none"` if the model scales its own input.
        axes: Two panels to draw on; by default, a new figure.

    Returns:
        An array of two Axes: the image, and the image under the heat map of the class. Brighter
        means more support. The title of the second gives the class and its probability, or its
        score if the model outputs logits.

    Raises:
        NotImplementedError: If Keras runs on another backend.
        ValueError: If the layer or the class doesn't exist, if the image or the mode doesn't fit
            the model, or if the model has no graph.

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
    title += "" if heat.any() else "\nno evidence for this class"
    drawn[1].set_title(wrapped(title, 28), fontsize="medium")
    make_readable([drawn[1].title])
    return drawn


_ENDS = ("Softmax", "Sigmoid")  # layers, or operations that `keras.ops.softmax` adds
_PASSING = ("Activation", "Dropout", "Flatten", "Identity", "Reshape")  # may follow


class _End(NamedTuple):
    """The layer that outputs probabilities, and the attributes that make it linear (or None)."""

    layer: Any
    changes: dict[str, Any] | None


def _grad_cam(model: Any, batch: NDArray[Any], layer: Any, end: _End, number: int) -> NDArray[Any]:
    """Return the heat map of a class, 0 to 1, of the size of the layer's maps `(height, width)`."""
    import tensorflow as tf

    heard: list[Any] = []
    with tf.GradientTape() as tape:

        def hear(maps: Any) -> None:
            tape.watch(maps)
            heard.append(maps)

        linear = replaced(end.layer, **(end.changes or {}))
        with linear, replaced(layer, call=heard_by(hear, layer.call)):
            scores = model(batch, training=False)[0]
        # A single unit scores the second class; its negative scores the first.
        score = scores[number] if len(scores) > 1 else (2 * number - 1) * scores[0]
    maps = heard[-1].numpy()[0]
    gradients = tf.convert_to_tensor(tape.gradient(score, heard[-1])).numpy()[0]
    heat: NDArray[Any] = np.maximum(maps @ gradients.mean(axis=(0, 1)), 0)
    return heat / heat.max() if heat.max() > 0 else heat


def _linear_end(model: Any) -> _End:
    """Return the softmax or sigmoid at the end, and how to leave it out."""
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
    """Return a value for each class. A single unit gives the second; the rest is the first."""
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
            f"{'' if names else ' Only models from `build_classifier` know class names.'}"
        )
        raise ValueError(msg) from None


def _check_outputs(model: Any) -> None:
    shape = getattr(model, "output_shape", ())
    if isinstance(shape, list) or len(shape) not in (0, 2):
        msg = (
            "`model` must be a classifier with one output, (batch, classes). "
            f"Received: outputs of shape {shape}. Add a head, for example with "
            "cnnkit.transfer.build_classifier."
        )
        raise ValueError(msg)


def _check_backend() -> None:
    import keras

    if keras.backend.backend() != "tensorflow":
        msg = (
            "`show_grad_cam` needs Keras on TensorFlow, because it uses TensorFlow's gradients. "
            f"Received: the backend {keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow."
        )
        raise NotImplementedError(msg)
