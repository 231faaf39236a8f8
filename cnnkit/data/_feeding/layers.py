"""Keras layers as transforms: they work on batches of float images, in the graph."""

from functools import partial
from typing import Any

from cnnkit.data._feeding.pipelines import ahead
from cnnkit.preprocess import scale
from cnnkit.preprocess._transforms import check_same_shape

_MIXING = ("MixUp", "CutMix")


def check_keeps_classes(layer: Any) -> None:
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
    """Augment batches by a Keras layer, one after another: they share its random state."""
    import tensorflow as tf

    def augment(images: Any, *targets: Any) -> Any:
        changed = layer(tf.cast(images, tf.float32), training=True)
        check_same_shape(shape, tuple(changed.shape[1:]))
        if mode != "none":
            scaled = tf.numpy_function(partial(scale, mode=mode), [changed], tf.float32)
            changed = tf.ensure_shape(scaled, changed.shape)
        return (changed, *targets) if targets else changed

    return ahead(dataset.map(augment), workers)
