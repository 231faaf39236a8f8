"""A backbone and a head as one model that takes raw images."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import keras
import numpy as np
from keras import layers

from cnnkit._foundation.validation import check_one_of, check_whole_number, check_whole_numbers
from cnnkit._keras.class_names import layer_name_of
from cnnkit._keras.distribution import scope_of
from cnnkit._keras.layers import drop, scaled
from cnnkit.preprocess import mode_for
from cnnkit.preprocess._modes import scales_inside
from cnnkit.preprocess._scaling import scaling_for

HEAD = "head_"  # the names of all layers of the head begin with it


def build_classifier(
    backbone: keras.Model,
    classes: int | Sequence[str],
    *,
    mode: str = "auto",
    pooling: str = "avg",
    hidden_units: Sequence[int] = (),
    dropout: float = 0.5,
    name: str | None = None,
) -> keras.Model:
    """Put a classifier on a backbone, with the scaling of images inside the model.

    The result is a flat functional model; models that are nested in the backbone stay nested. It
    shares its layers with the backbone, so training it trains the backbone, and a second classifier
    needs its own backbone. The model is compiled. Loading it from a file requires only Keras.

    Args:
        backbone: A model without its classifier, for example
            `keras.applications.MobileNetV2(include_top=False)`.
        classes: The class names or their number. 1 means one sigmoid unit, for labels 0 and 1.
            Names are stored in the name of the last layer, in saved files too, where
            `cnnkit.data.predict_images` finds them.
        mode: Scaling inside the model: a mode of `cnnkit.preprocess.scale`, or `"auto"` for the
            one that `cnnkit.preprocess.mode_for(backbone)` returns.
        pooling: How feature maps become a vector: `"avg"`, `"max"` or `"flatten"`.
        hidden_units: Units of each dense layer between the pooling and the classes.
        dropout: Dropout rate after pooling and after each hidden layer; 0 for none.
        name: Name of the model; by default `classifier_` followed by the name of the backbone.

    Returns:
        A compiled model that maps raw RGB images `(batch, height, width, channels)` in 0..255,
        uint8 or float, to probabilities `(batch, classes)`. Its loss expects one-hot labels
        (`label_mode="categorical"`), or labels 0 and 1 (`label_mode="binary"`) for one class.

    Raises:
        TypeError: If the backbone is not a Keras model.
        ValueError: If the scaling mode can't be determined from the backbone, if the backbone ends
            with a classifier, or if `classes` or `pooling` is invalid.

    Example:
        >>> import keras
        >>> from cnnkit.transfer import build_classifier
        >>> backbone = keras.applications.MobileNetV2(
        ...     input_shape=(96, 96, 3), alpha=0.35, include_top=False, weights=None
        ... )
        >>> model = build_classifier(backbone, ["cat", "dog", "horse"])
        >>> model.output_shape
        (None, 3)
    """
    units = _units(classes)
    widths = check_whole_numbers("hidden_units", hidden_units)
    _check_no_top(backbone)
    if mode == "auto":
        mode = mode_for(backbone)
    elif mode != "none" and scales_inside(backbone):
        msg = (
            "`mode` must be 'auto' or 'none' for a backbone that scales its inputs, or images "
            f"would be scaled twice. Received: mode={mode!r}. Leave `mode` out."
        )
        raise ValueError(msg)
    with scope_of(backbone):
        inputs = keras.Input(backbone.input_shape[1:])
        # `call` runs the layers one by one and gives a flat graph; calling the model nests it.
        scaling = scaling_for(mode, inputs.shape[-1])
        x = backbone.call(scaled(inputs, scaling, f"scale_{mode}"))
        x = _pool(x, pooling)
        x = drop(x, dropout, f"{HEAD}pool_dropout")
        for number, width in enumerate(widths, start=1):
            x = layers.Dense(width, activation="relu", name=f"{HEAD}dense{number}")(x)
            x = drop(x, dropout, f"{HEAD}dense{number}_dropout")
        activation = "sigmoid" if units == 1 else "softmax"
        # Always float32, because a softmax in half precision loses small probabilities.
        outputs = layers.Dense(units, activation, dtype="float32", name=f"{HEAD}predictions")(x)
        if not isinstance(classes, int | np.integer):
            outputs = layers.Identity(dtype="float32", name=f"{HEAD}{layer_name_of(classes)}")(
                outputs
            )
        model = keras.Model(inputs, outputs, name=name or f"classifier_{backbone.name}")
        loss = "binary_crossentropy" if units == 1 else "categorical_crossentropy"
        model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
        return model


def _units(classes: int | Sequence[str]) -> int:
    if isinstance(classes, int | np.integer):
        return check_whole_number("classes", classes)
    has_order = not isinstance(classes, str | AbstractSet | Mapping)
    is_list = has_order and hasattr(classes, "__len__")
    if not is_list or len(set(classes)) < max(2, len(classes)):
        msg = (
            "`classes` must be a number or a list of at least two different names, in the order of "
            "the class numbers. "
            f"Received: classes={classes!r}. Use classes=1 for two classes with one sigmoid unit."
        )
        raise ValueError(msg)
    return len(classes)


def _check_no_top(backbone: keras.Model) -> None:
    if not isinstance(backbone, keras.Model):
        msg = (
            "`backbone` must be a Keras model, such as MobileNetV2(include_top=False). "
            f"Received: {backbone!r}. Build the model first."
        )
        raise TypeError(msg)
    if not backbone.built:
        msg = "`backbone` must be built. Received: a model without an input. Add a keras.Input."
        raise ValueError(msg)
    last = backbone.layers[-1]
    ends = (keras.activations.softmax, keras.activations.sigmoid)
    if isinstance(last, layers.Softmax) or getattr(last, "activation", None) in ends:
        msg = (
            "`backbone` must end with features, not with a classifier. Received: a model that ends "
            f"with {last.name!r}. Build it with include_top=False."
        )
        raise ValueError(msg)


def _pool(x: Any, pooling: str) -> Any:
    kinds = {
        "avg": layers.GlobalAveragePooling2D,
        "max": layers.GlobalMaxPooling2D,
        "flatten": layers.Flatten,
    }
    check_one_of("pooling", pooling, tuple(kinds))
    return kinds[pooling](name=f"{HEAD}pool")(x) if len(x.shape) == 4 else x
