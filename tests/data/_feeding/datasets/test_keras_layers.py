"""image_dataset with Keras layers as transforms."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from cnnkit.data import image_dataset
from cnnkit.preprocess import scale
from epochs import images_of, flips_of


class TestKerasLayers:
    """Keras's augmentation layers, alone or one after another, are transforms too."""

    def test_flips(self, corners):
        """A layer draws for each image, and targets stay."""
        layer = keras.layers.RandomFlip("horizontal", seed=0)

        dataset = image_dataset(corners, transform=layer, label_mode="int")

        flips = flips_of(images_of(dataset))
        assert 120 < sum(horizontal for _, horizontal in flips) < 280
        assert not any(vertical for vertical, _ in flips)
        assert [0] * 400 == [int(label) for _, labels in dataset for label in labels]

    def test_equals_the_layer(self, arrays):
        """The pixels are what the layer makes of the batch, as float32 in 0..255."""
        layer = keras.layers.RandomRotation((0.25, 0.25), interpolation="nearest", seed=0)
        expected = np.asarray(layer(arrays[0][:8].astype("float32"), training=True))

        dataset = image_dataset(arrays, batch_size=8, transform=layer, label_mode=None)

        np.testing.assert_allclose(expected, next(iter(dataset)).numpy(), atol=1e-4)

    @pytest.mark.parametrize("workers", [0, 1, 2, 4])
    def test_same_seed_same_images(self, arrays, workers):
        """A fresh layer of one seed gives the same run, at any number of workers."""

        def run(workers):
            layers = [keras.layers.RandomFlip(seed=1), keras.layers.RandomContrast(0.5, seed=2)]
            dataset = image_dataset(
                arrays,
                batch_size=7,
                transform=keras.Sequential(layers),
                label_mode=None,
                shuffle=True,
                seed=3,
                workers=workers,
            )
            return [np.concatenate([batch.numpy() for batch in dataset]) for _ in range(2)]

        first, second = run(1), run(workers)

        np.testing.assert_array_equal(first, second)
        assert not np.array_equal(*first)

    def test_scaling_comes_after(self, arrays):
        """The layer sees raw pixels, the network scaled ones."""
        layer = keras.layers.RandomFlip("horizontal", seed=0)
        raw, scaled = (
            image_dataset(arrays, transform=layer.from_config(layer.get_config()), mode=mode)
            for mode in ("none", "torch")
        )

        np.testing.assert_allclose(scale(images_of(raw), "torch"), images_of(scaled), atol=1e-5)
        assert tf.TensorShape([None, 8, 8, 3]) == scaled.element_spec[0].shape
        assert tf.float32 == scaled.element_spec[0].dtype

    def test_trains(self, table):
        """A model trains on it."""
        dataset = image_dataset(table, (8, 8), transform=keras.layers.RandomFlip(seed=0), seed=0)
        model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
        model.compile("sgd", loss="categorical_crossentropy")

        history = model.fit(dataset, epochs=2, shuffle=False, verbose=0)

        assert 2 == len(history.history["loss"])

    def test_other_shape(self, arrays):
        """A layer that changes the shape is refused at the call."""
        text = r"must keep the shape .* Received: \(8, 8, 3\) became \(4, 4, 3\)\. End it with a"

        with pytest.raises(ValueError, match=text):
            image_dataset(arrays, transform=keras.layers.RandomCrop(4, 4))
