"""Traps of fine-tuning."""

from collections.abc import Callable

import keras
import numpy as np

from cnnkit.data import split_arrays
from cnnkit.models import simple_cnn
from cnnkit.transfer import build_classifier, freeze, unfreeze

from digits import digit_backbone, digits
from trap import Trap

SEEDS = range(4)


def forgotten_recompile() -> Trap:
    """After the first `fit`, `trainable = False` is ignored until the model is compiled again."""

    def naive(model: keras.Model) -> None:
        model.get_layer("block1_conv1").trainable = False

    def ours(model: keras.Model) -> None:
        freeze(model, names=["block1_conv1"])

    moves = [_move_of_frozen_layer(way) for way in (naive, ours)]
    return Trap(
        "forgotten recompile",
        "largest change of a frozen weight",
        f"{moves[0]:.4f}",
        f"{moves[1]:.4f}",
        moves[0] > 0 == moves[1],
        "keras#9550, keras#13404",
    )


def _move_of_frozen_layer(freeze_layer: Callable[[keras.Model], None]) -> float:
    keras.utils.set_random_seed(0)
    model = simple_cnn((16, 16, 3), 5, mode="unit")
    model.compile("adam", loss="sparse_categorical_crossentropy")
    images, targets = digits(0, 4)
    model.fit(images[:64], targets[:64], verbose=0)
    freeze_layer(model)
    kernel = model.get_layer("block1_conv1").kernel
    before = keras.ops.convert_to_numpy(kernel).copy()
    model.fit(images[:64], targets[:64], epochs=3, verbose=0)
    return float(np.abs(keras.ops.convert_to_numpy(kernel) - before).max())


def live_batch_norm() -> Trap:
    """A few batches of new data destroy BatchNorm's statistics from the backbone's training."""

    def naive(model: keras.Model) -> None:
        for layer in model.layers:
            layer.trainable = True
        model.compile(keras.optimizers.Adam(1e-3), model.loss, metrics=["accuracy"])

    def ours(model: keras.Model) -> None:
        unfreeze(model)

    backbone = digit_backbone()
    accuracies = [
        np.mean([_accuracy(backbone, seed, way) for seed in SEEDS]) for way in (naive, ours)
    ]
    return Trap(
        "BatchNorm trained in fine-tuning",
        f"accuracy from 25 images, mean of {len(SEEDS)} seeds",
        f"{accuracies[0]:.3f}",
        f"{accuracies[1]:.3f}",
        accuracies[0] < accuracies[1],
        "keras#9965, keras#9214, keras#20285",
    )


def _accuracy(
    backbone: keras.Model, seed: int, unfreeze_all: Callable[[keras.Model], None]
) -> float:
    """Train a head, then what `unfreeze_all` leaves trainable, and test on 5 to 9."""
    images, targets = digits(5, 9)
    split = split_arrays(
        images, targets, validation_size=0, test_size=len(images) - 25, random_state=seed
    )
    keras.utils.set_random_seed(seed)
    copy = keras.models.clone_model(backbone)
    copy.set_weights(backbone.get_weights())
    model = build_classifier(copy, 5, dropout=0)
    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(1e-2), loss, metrics=["accuracy"])
    freeze(model)
    unfreeze(model, names=["head_predictions"])
    model.fit(*split.train, batch_size=5, epochs=10, verbose=0)
    model.optimizer.learning_rate = 1e-3
    unfreeze_all(model)
    model.fit(*split.train, batch_size=5, epochs=10, verbose=0)
    return model.evaluate(*split.test, verbose=0)[1]


TRAPS = (forgotten_recompile, live_batch_norm)
