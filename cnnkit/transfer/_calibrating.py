"""Calibration of a classifier's confidence by temperature scaling."""

import warnings
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from cnnkit._keras.compiling import compile_like, fresh_optimizer
from cnnkit._keras.distribution import forward, scope_of
from cnnkit._keras.graph import call_before, functional
from cnnkit.transfer._data_checks import check_inputs, check_targets, pairs_of

_NAME = "temperature"
_LOWEST, _HIGHEST = np.log(0.05), np.log(20.0)  # bounds of the temperature
_NEAR = 1e-3  # the search may stop this far below the upper bound


def calibrate(model: keras.Model, validation: Any, *, batch_size: int = 32) -> keras.Model:
    """Return a model whose probabilities match how often its predictions are right.

    Networks tend to be overconfident. Dividing the logits by one number, the temperature, corrects
    most of this and changes no prediction (Guo et al., "On calibration of modern neural networks",
    2017, arXiv:1706.04599). The temperature maximizes the likelihood of the validation data, which
    must not have been used for training. It lies between 0.05 and 20.

    Args:
        model: A classifier that ends with a softmax or with one sigmoid unit. It isn't changed.
        validation: Arrays `(images, targets)`, a dataset or a PyDataset. The targets are one-hot
            labels or class numbers.
        batch_size: Images per batch, for arrays.

    Returns:
        A model with the same layers and weights and one more `Rescaling` layer, named
        `temperature`, in front of the softmax. It shares all weights except those of the last
        layer. If the given model is compiled, it is compiled with the same loss and metrics.

    Raises:
        ValueError: If the model doesn't end with a softmax or one sigmoid unit, if there are no
            images, if the images are already scaled although the model scales them, or if the
            targets don't match the classes of the model and their order.
        TypeError: If the model is neither functional nor Sequential.

    Warns:
        UserWarning: If the temperature reaches 20. The targets then don't fit the predictions.

    Example:
        >>> import numpy as np
        >>> from cnnkit.models import simple_cnn
        >>> from cnnkit.transfer import calibrate
        >>> model = simple_cnn((8, 8, 1), 3, filters=(4,), mode="unit")
        >>> images = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1), dtype=np.uint8)
        >>> always_right = model.predict(images, verbose=0).argmax(axis=1)
        >>> calibrated = calibrate(model, (images, always_right))
        >>> calibrated.get_layer("temperature").scale > 1  # its confidence was too low
        True
    """
    check_inputs(model, "validation", validation, batch_size)
    with scope_of(model):
        return _calibrated(model, validation, batch_size)


def _calibrated(model: keras.Model, validation: Any, batch_size: int) -> keras.Model:
    logits, finish = _open_end(model)
    values, labels = _collect(keras.Model(model.inputs, logits), validation, batch_size)
    check_targets(model, "validation", labels)
    targets = _class_numbers(labels)
    temperature = _best_temperature(values, targets)
    x = layers.Rescaling(1 / temperature, dtype="float32", name=_NAME)(logits)
    for layer in finish:
        x = layer(x)
    calibrated = keras.Model(model.inputs, x, name=model.name)
    if model.compiled:
        compile_like(calibrated, model, fresh_optimizer(model))
        if model.optimizer.built:  # otherwise Keras warns when it loads the model
            calibrated.optimizer.build(calibrated.trainable_variables)
    return calibrated


def _open_end(model: keras.Model) -> tuple[Any, list[Any]]:
    """Return the logits, and new layers to follow the temperature."""
    finish: list[Any] = []
    x = functional(model).outputs[0]
    layer, before = _made_by(x)
    while isinstance(layer, layers.Identity):
        finish.insert(0, layers.Identity.from_config(layer.get_config()))
        layer, before = _made_by(before)
    is_softmax = isinstance(layer, layers.Softmax)
    activation = keras.activations.softmax if is_softmax else getattr(layer, "activation", None)
    _check_end(layer, activation, x.shape[-1])
    finish.insert(0, layers.Activation(activation, dtype="float32", name="calibrated"))
    if not hasattr(layer, "kernel"):
        scaling, logits = _made_by(before)
        return (logits if scaling.name == _NAME else before), finish
    linear = type(layer).from_config(layer.get_config() | {"activation": "linear"})
    logits = linear(before)
    linear.set_weights(layer.get_weights())
    return logits, finish


def _made_by(x: Any) -> tuple[Any, Any]:
    """Return the layer that produced a symbolic tensor, and its input in that call."""
    layer, inputs = call_before(x)
    return layer, inputs[0] if inputs else None


def _check_end(layer: Any, activation: Any, units: int) -> None:
    """Raise a ValueError unless the model ends with a softmax or one sigmoid unit."""
    kinds = keras.activations.softmax, keras.activations.sigmoid
    if activation in kinds and (activation is kinds[0] or units == 1):
        return
    if activation in kinds:
        received, advice = (
            f"{units} sigmoid units",
            "Classes that don't exclude each other need more than one temperature.",
        )
    elif isinstance(layer, keras.Model):
        received, advice = f"the nested model {layer.name!r}", "Calibrate the nested model."
    else:
        received, advice = f"{layer.name!r}", "Add keras.layers.Softmax after the logits."
    msg = (
        "`model` must end with a softmax or with one sigmoid unit. "
        f"Received: a model that ends with {received}. {advice}"
    )
    raise ValueError(msg)


def _collect(
    model: keras.Model, data: Any, batch_size: int
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Return the logits `(images, units)` and the labels of all images."""
    logits, targets = [], []
    with forward(model) as run:
        for images, labels in pairs_of("validation", data, batch_size):
            logits.append(run(images).astype(np.float64))
            targets.append(np.asarray(labels))
    return np.concatenate(logits), np.concatenate(targets)


def _class_numbers(labels: NDArray[Any]) -> NDArray[np.int64]:
    columns = labels.reshape(len(labels), -1)
    numbers = columns.argmax(axis=1) if columns.shape[1] > 1 else columns[:, 0]
    return numbers.astype(np.int64)


def _best_temperature(logits: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    """Return the temperature at which the targets are most likely."""
    if logits.shape[1] == 1:  # with one unit, the logit of the other class is 0
        logits = np.hstack([np.zeros_like(logits), logits])

    def unlikely(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        own = scaled[np.arange(len(targets)), targets]
        return float((logsumexp(scaled, axis=1) - own).mean())

    best = minimize_scalar(unlikely, bounds=(_LOWEST, _HIGHEST), method="bounded")
    if best.x > _HIGHEST - _NEAR:
        warnings.warn(
            "The temperature reached its upper bound, 20: the model predicts the validation data "
            "no better than chance. Check the labels and the scaling of the images.",
            stacklevel=4,
        )
    return float(np.exp(best.x))
