"""Keras layers as transforms: they work on batches of float images, in the graph."""

from functools import partial
from typing import Any

from cnnkit.data._feeding.pipelines import ahead
from cnnkit.preprocess import scale
from cnnkit.preprocess._scaling import scaling_for
from cnnkit.preprocess._transforms import (
    ImageTransform,
    Transform,
    check_same_shape,
    is_keras_layer,
)

_MIXING = ("MixUp", "CutMix")


def as_layer_or_transform(transform: Transform | None) -> tuple[Any, ImageTransform | None]:
    """Return a transform as a Keras layer or as a transform of one image; None for the other."""
    if not is_keras_layer(transform):
        return None, None if transform is None else ImageTransform(transform)
    _check_keeps_classes(transform)
    return transform, None


def _check_keeps_classes(layer: Any) -> None:
    """Raise a ValueError if a Keras layer makes one image of several, whose labels it needs."""
    from cnnkit._keras.layers import parts_of  # Keras is there: a layer of it is

    mixing = [type(part).__name__ for part in parts_of(layer)]
    mixing = [name for name in mixing if name in _MIXING]
    if mixing:
        msg = (
            "`transform` must leave each image its class. "
            f"Received: {mixing[0]}, which mixes images, while their labels would stay. Map it "
            'over the dataset: lambda x, y: layer({"images": x, "labels": y}, training=True).'
        )
        raise ValueError(msg)


def through_layer(
    dataset: Any, layer: Any, mode: str, shape: tuple[int, int, int], workers: int
) -> Any:
    """Augment batches with a Keras layer, one after another: they share its random state."""
    import tensorflow as tf

    scaling_for(mode, shape[-1])

    def augment(images: Any, *targets: Any) -> Any:
        changed = layer(tf.cast(images, tf.float32), training=True)
        check_same_shape(shape, tuple(changed.shape[1:]))
        if mode != "none":
            scaled = tf.numpy_function(partial(scale, mode=mode), [changed], tf.float32)
            changed = tf.ensure_shape(scaled, changed.shape)
        return (changed, *targets) if targets else changed

    return ahead(dataset.map(augment), workers)
