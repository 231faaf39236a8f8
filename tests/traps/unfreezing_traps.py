"""Traps of freezing and unfreezing layers by hand."""

import keras
import numpy as np
from keras import layers

from cnnkit.models import simple_cnn
from cnnkit.transfer import build_classifier, freeze, list_blocks, unfreeze

from digits import digit_backbone, digits
from trap import Trap


def forgotten_recompile_after_unfreezing() -> Trap:
    """After the first `fit`, `trainable = True` is ignored as well."""

    def moves(by_hand: bool) -> float:
        model = _frozen_classifier()
        if by_hand:
            for layer in model.layers:
                layer.trainable = True
        else:
            unfreeze(model)
        return _moved(model, "block1_conv1")

    naive, ours = moves(by_hand=True), moves(by_hand=False)
    return Trap(
        "forgotten recompile, unfreezing",
        "largest change of an unfrozen weight",
        f"{naive:.4f}",
        f"{ours:.4f}",
        naive == 0 < ours,
        "keras#9940",
    )


def children_of_a_trainable_parent() -> Trap:
    """`trainable = True` doesn't reach frozen layers if the model is already trainable."""

    def trained(by_hand: bool) -> int:
        backbone = digit_backbone()
        for layer in backbone.layers:
            layer.trainable = False
        if by_hand:
            backbone.trainable = True
        else:
            unfreeze(backbone)
        return sum(bool(layer.trainable_weights) for layer in backbone.layers)

    naive, ours = trained(by_hand=True), trained(by_hand=False)
    return Trap(
        "trainable=True on a model that is already trainable",
        "layers that train",
        str(naive),
        str(ours),
        naive == 0 < ours,
        "keras#18092",
    )


def first_150_layers() -> Trap:
    """The same number selects different parts in every network."""
    options = {"include_top": False, "weights": None, "input_shape": (96, 96, 3)}
    naive, ours = [], []
    for name in ("VGG16", "MobileNetV2", "ResNet50"):
        for shares, by_hand in ((naive, True), (ours, False)):
            model = getattr(keras.applications, name)(**options)
            if by_hand:
                for layer in model.layers[:150]:
                    layer.trainable = False
            else:
                blocks = list_blocks(model)["name"]
                freeze(model, blocks=blocks[: len(blocks) // 2])
            weights = [layer for layer in model.layers if layer.weights]
            shares.append(sum(layer.trainable for layer in weights) / len(weights))
    return Trap(
        "layers[:150]",
        "share of layers left to train: VGG16, MobileNetV2, ResNet50",
        ", ".join(f"{share:.0%}" for share in naive),
        ", ".join(f"{share:.0%}" for share in ours),
        min(naive) == 0 < min(ours) and max(ours) < 0.7,
        "course notes",
    )


def reused_optimizer() -> Trap:
    """An optimizer is built for certain weights and rejects others."""

    def outcome(by_hand: bool) -> str:
        model = _frozen_classifier()
        if by_hand:
            for layer in model.layers:
                layer.trainable = True
            model.compile(model.optimizer, model.loss)
        else:
            unfreeze(model)
        try:
            model.fit(*_some_digits(), verbose=0)
        except (KeyError, ValueError) as error:
            return type(error).__name__
        return "trains"

    naive, ours = outcome(by_hand=True), outcome(by_hand=False)
    return Trap(
        "optimizer reused after unfreezing",
        "the next fit",
        naive,
        ours,
        naive != "trains" == ours,
        "Nonlincausality#12",
    )


def training_false_overridden() -> Trap:
    """Up to Keras 3.15, `backbone(x, training=False)` doesn't freeze BatchNorm in `fit`."""

    def moves(by_hand: bool) -> float:
        backbone = digit_backbone()
        if by_hand:
            inputs = keras.Input((16, 16, 3))
            x = layers.GlobalAveragePooling2D()(backbone(inputs, training=False))
            model = keras.Model(inputs, layers.Dense(5, activation="softmax")(x))
            model.compile("adam", loss="sparse_categorical_crossentropy")
        else:
            model = build_classifier(backbone, 5)
            model.compile("adam", loss="sparse_categorical_crossentropy")
            unfreeze(freeze(model))
        norm = backbone.get_layer("block1_conv1_bn")
        before = keras.ops.convert_to_numpy(norm.moving_mean).copy()
        model.fit(*_some_digits(), epochs=3, verbose=0)
        return float(np.abs(keras.ops.convert_to_numpy(norm.moving_mean) - before).max())

    naive, ours = moves(by_hand=True), moves(by_hand=False)
    mended = tuple(map(int, keras.__version__.split(".")[:2])) >= (3, 16)
    return Trap(
        "training=False overridden",
        "largest change of a BatchNorm mean",
        f"{naive:.4f}",
        f"{ours:.4f}",
        (naive > 0 or mended) and ours == 0,
        "keras#20285",
    )


def scaling_that_does_not_fit() -> Trap:
    """A backbone receives images with a scaling that it was not trained with."""
    images, targets = digits(0, 4)

    def accuracy(mode: str) -> float:
        keras.utils.set_random_seed(0)
        trained = simple_cnn((16, 16, 3), 5, pooling="avg")  # trained on 0..1, scaled outside
        trained.compile(keras.optimizers.Adam(3e-3), loss="sparse_categorical_crossentropy")
        trained.fit(images / 255, targets, epochs=10, batch_size=64, verbose=0)
        backbone = keras.Model(trained.input, trained.get_layer("block3_pool").output)
        model = build_classifier(backbone, 5, mode=mode, dropout=0)
        loss = "sparse_categorical_crossentropy"
        model.compile(keras.optimizers.Adam(1e-2), loss, metrics=["accuracy"])
        unfreeze(freeze(model), names=["head_predictions"])
        others, numbers = digits(5, 9)
        model.fit(others[:100], numbers[:100], epochs=20, verbose=0)
        return model.evaluate(others[100:], numbers[100:], verbose=0)[1]

    naive, ours = accuracy("caffe"), accuracy("unit")
    return Trap(
        "scaling that doesn't fit the weights",
        "accuracy of a head on 100 images",
        f"{naive:.3f}",
        f"{ours:.3f}",
        naive < ours,
        "keras#13293",
    )


def _some_digits() -> tuple[np.ndarray, np.ndarray]:
    images, targets = digits(0, 4)
    return images[:64], targets[:64]


def _frozen_classifier() -> keras.Model:
    """Return a network that was trained for an epoch, with all but its last layer frozen."""
    keras.utils.set_random_seed(0)
    model = simple_cnn((16, 16, 3), 5, mode="unit")
    for layer in model.layers[:-1]:
        layer.trainable = False
    model.compile("adam", loss="sparse_categorical_crossentropy")
    model.fit(*_some_digits(), verbose=0)
    return model


def _moved(model: keras.Model, name: str) -> float:
    """Train for three epochs and return the largest change of a kernel."""
    kernel = model.get_layer(name).kernel
    before = keras.ops.convert_to_numpy(kernel).copy()
    model.fit(*_some_digits(), epochs=3, verbose=0)
    return float(np.abs(keras.ops.convert_to_numpy(kernel) - before).max())


TRAPS = (
    forgotten_recompile_after_unfreezing,
    children_of_a_trainable_parent,
    first_150_layers,
    reused_optimizer,
    training_false_overridden,
    scaling_that_does_not_fit,
)
