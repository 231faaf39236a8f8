"""Features that can't be cached are refused: layers train or are random, or data is unknown."""

import keras
import numpy as np
import pytest
from keras import layers
from keras.src.applications import convnext

from cnnkit.data import image_dataset
from cnnkit.transfer import build_classifier, cache_features, freeze
from cnnkit.transfer._features import random_layers

pytestmark = pytest.mark.usefixtures("eagerly")


def test_layers_that_train_in_front_of_the_cut_are_refused(classifier, data) -> None:
    """Their features change with every step; the error names them."""
    with pytest.raises(
        ValueError,
        match=r"All layers before the cut must give the same output in every epoch\. Received: "
        r"layers that train, conv1, bn1, conv2\. Call `freeze`, or cut the model earlier\.",
    ):
        cache_features(classifier, data, at="relu2", progress=False)


def test_live_batch_norm_in_front_of_the_cut_is_refused(frozen, data) -> None:
    """It normalizes by the batch, and its statistics change."""
    frozen.get_layer("bn1").trainable = True
    with pytest.raises(ValueError, match=r"Received: layers that train, bn1\."):
        cache_features(frozen, data, at="relu2", progress=False)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Dropout(0.5, name="drawn"),
        layers.SpatialDropout2D(0.5, name="drawn"),
        layers.GaussianNoise(0.1, name="drawn"),
        layers.RandomFlip(name="drawn"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_random_layers_in_front_of_the_cut_are_refused(layer, backbone, data) -> None:
    """Each epoch draws new values, which a single pass can't provide."""
    inputs = keras.Input((8, 8, 3))
    model = build_classifier(keras.Model(inputs, backbone(layer(inputs))), 3, mode="none")
    freeze(model, names=["backbone"])
    with pytest.raises(ValueError, match=r"layers that draw at random, drawn\. Cut the model earl"):
        cache_features(model, data, at="relu2", progress=False)


class Wrapped(keras.layers.Layer):
    """Dropout that is part of another layer."""

    def __init__(self, **options):
        super().__init__(**options)
        self.dropout = layers.Dropout(0.5)

    def call(self, x, training=None):
        return self.dropout(x, training=training)


class DropPath(keras.layers.Layer):
    """A layer with a generator of its own, as people write stochastic depth."""

    def __init__(self, **options):
        super().__init__(**options)
        self.generator = keras.random.SeedGenerator(0)

    def call(self, x, training=None):
        return keras.random.dropout(x, 0.5, seed=self.generator) if training else x


@pytest.mark.parametrize(
    "layer",
    [
        Wrapped,
        DropPath,
        lambda: layers.Pipeline([layers.RandomContrast(0.5)]),
        lambda: convnext.StochasticDepth(0.5),
    ],
    ids=["part of a layer", "generator", "Pipeline", "StochasticDepth"],
)
def test_what_draws_inside_other_layers_is_refused(layer, backbone, data) -> None:
    """Random layers are found at any depth."""
    freeze(backbone)
    x = layers.Conv2D(2, 3, name="later", trainable=False)(layer()(backbone.output))
    model = build_classifier(keras.Model(backbone.input, x), 3, dropout=0)
    with pytest.raises(ValueError, match="layers that draw at random"):
        cache_features(model, data, at="later", progress=False)
    features, _ = cache_features(model, data, progress=False)

    assert (12, *backbone.output_shape[1:]) == features.shape


class Attending(keras.layers.Layer):
    """Attention that is part of another layer."""

    def __init__(self, dropout, **options):
        super().__init__(**options)
        self.attention = layers.MultiHeadAttention(2, 4, dropout=dropout)

    def call(self, x):
        return self.attention(x, x)


@pytest.mark.parametrize(("dropout", "random"), [(0.0, []), (0.1, ["drawn"])])
@pytest.mark.parametrize(
    "make",
    [
        Attending,
        lambda dropout, name: layers.MultiHeadAttention(2, 4, dropout=dropout, name=name),
        lambda dropout, name: layers.GRU(2, dropout=dropout, name=name),
        lambda dropout, name: layers.GRU(2, recurrent_dropout=dropout, name=name),
    ],
    ids=["part", "attention", "cells", "recurrent"],
)
def test_what_never_drops_is_not_random(make, dropout, random) -> None:
    """A seed alone draws nothing."""
    inputs = keras.Input((4, 6))
    layer = make(dropout, name="drawn")
    several = (inputs, inputs) if isinstance(layer, layers.MultiHeadAttention) else (inputs,)
    model = keras.Model(inputs, layer(*several))

    assert random == random_layers(model)


def test_sample_weights_are_not_kept(frozen, data) -> None:
    """They would be ignored silently."""
    import tensorflow as tf

    weighted = tf.data.Dataset.from_tensor_slices((*data, np.ones(12))).batch(4)
    with pytest.raises(ValueError, match=r"`data` must yield images and targets only"):
        cache_features(frozen, weighted, fixed=True, progress=False)


def test_a_model_that_trains_from_the_start_is_refused(classifier, data) -> None:
    """If nothing is frozen, no features can be cached."""
    with pytest.raises(ValueError, match=r"`model` must be frozen before the cut\..*`freeze`"):
        cache_features(classifier, data, progress=False)


def test_data_that_nobody_knows_is_refused(frozen, data) -> None:
    """Augmentation can hide in any dataset."""
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(data).batch(4)
    with pytest.raises(
        ValueError,
        match=r"`data` must be arrays or a dataset of `image_dataset` without a transform.*"
        r"If they do, pass fixed=True\.",
    ):
        cache_features(frozen, dataset, progress=False)


def test_a_dataset_with_a_transform_is_refused(frozen, tables) -> None:
    """Its images differ from epoch to epoch."""
    dataset = image_dataset(tables, (8, 8), transform=layers.RandomFlip(), progress=False)
    with pytest.raises(ValueError, match=r"`data` must be arrays or a dataset of `image_dataset`"):
        cache_features(frozen, dataset, progress=False)


def test_unknown_data_is_not_kept_in_a_file(frozen, rows, tmp_path) -> None:
    """Nothing would tell it from other data the next time."""
    path = tmp_path / "x.features"
    with pytest.raises(ValueError, match=r"`cache` must be 'memory' for data that has no key"):
        cache_features(frozen, rows, fixed=True, cache=path, progress=False)


def test_an_open_image_size_is_refused(data) -> None:
    """Features of images of any size fit no array."""
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, name="conv", trainable=False)(inputs)
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    with pytest.raises(ValueError, match=r"`model` must have a fixed image size before the cut"):
        cache_features(model, data, at="conv", progress=False)
