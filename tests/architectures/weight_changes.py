"""What `fit` trains after `freeze` and `unfreeze`, in the networks that people fine-tune.

    nox -s architectures
    nox -s architectures -- VGG16 resnet

Each network gets a classifier and, step by step, another state. After each step five Adam steps
are taken and every weight is compared with what it was: all that `trainable_summary` calls
trainable must have moved, and nothing else by a single bit. A row that says so ends with "ok".
"""

import sys
from collections.abc import Callable, Iterator

import keras
import numpy as np
import pandas as pd
from keras import applications
from tqdm import tqdm

from cnnkit.models import googlenet, resnet, vggnet
from cnnkit._keras.graph import leaf_layers
from cnnkit.transfer import build_classifier, freeze, list_blocks, trainable_summary, unfreeze

SIDE = 75  # the least that Xception and InceptionV3 take
OPTIONS = {"include_top": False, "weights": None, "input_shape": (SIDE, SIDE, 3)}
OURS = {"include_top": False, "input_shape": (SIDE, SIDE, 3)}
NETWORKS: dict[str, Callable[[], keras.Model]] = {
    name: lambda name=name: getattr(applications, name)(**OPTIONS)
    for name in (
        *("VGG16", "ResNet50", "MobileNetV2", "EfficientNetB0", "DenseNet121", "InceptionV3"),
        *("Xception", "ConvNeXtTiny", "NASNetMobile", "MobileNetV3Small"),
    )
} | {
    "vggnet": lambda: vggnet(**OURS, batch_norm=True),
    "googlenet": lambda: googlenet(**OURS, variant="torchvision"),
    "resnet": lambda: resnet(**OURS, depth=18),
}


def classifier(build: Callable[[], keras.Model], images: np.ndarray) -> keras.Model:
    """Return a classifier whose BatchNorm has statistics that fit, compiled."""
    keras.utils.set_random_seed(0)
    backbone = build()
    norms = [x for x in leaf_layers(backbone) if isinstance(x, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    backbone(images, training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    model = build_classifier(backbone, 3, mode="none")
    model.compile(keras.optimizers.Adam(1e-3), loss="categorical_crossentropy")
    return model


def steps(model: keras.Model) -> Iterator[str]:
    """Change what trains, and tell how."""
    backbone = [layer.name for layer in leaf_layers(model) if layer.weights][:-1]
    blocks = list_blocks(model)["name"].tolist()
    head = [layer.name for layer in leaf_layers(model) if layer.name.startswith("head_")]
    freeze(model)
    unfreeze(model, names=head)
    yield "the head"
    unfreeze(model, from_layer=backbone[len(backbone) * 2 // 3])
    yield "the last third"
    unfreeze(model)
    freeze(model, blocks=blocks[: len(blocks) // 2])
    yield "the last half of the blocks"
    unfreeze(model)
    yield "all but BatchNorm"
    unfreeze(model, batch_norm=True)
    yield "all"


def moved(model: keras.Model, images: np.ndarray, targets: np.ndarray) -> set[str]:
    """Take five steps and return the paths of the weights that have changed."""
    before = {weight.path: keras.ops.convert_to_numpy(weight).copy() for weight in model.weights}
    model.fit(images, targets, batch_size=len(images), epochs=5, verbose=0)
    return {
        weight.path
        for weight in model.weights
        if not np.array_equal(before[weight.path], keras.ops.convert_to_numpy(weight))
    }


def expected(model: keras.Model) -> set[str]:
    """Return the paths of what must change, BatchNorm's statistics included."""
    table = trainable_summary(model)
    trainable = set(table["layer"][table["trainable"]])
    return {
        weight.path
        for layer in leaf_layers(model)
        if layer.name in trainable
        for weight in layer.weights
        if not weight.path.endswith("seed_generator_state")
    }


def main() -> None:
    """Print the matrix; exit with 1 if anything trains that shouldn't, or doesn't that should."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (4, SIDE, SIDE, 3)).astype("float32") / 255
    targets = np.eye(3)[[0, 1, 2, 0]]
    rows = []
    for name in tqdm(sys.argv[1:] or list(NETWORKS)):
        model = classifier(NETWORKS[name], images)
        for step in steps(model):
            want, have = expected(model), moved(model, images, targets)
            verdict = (
                "ok" if want == have else f"{len(want - have)} still, {len(have - want)} moved"
            )
            rows.append((name, step, len(model.weights), len(want), len(have), verdict))
            tqdm.write(str(rows[-1]) + str(sorted(want ^ have)[:3] or ""))
        keras.backend.clear_session()
    columns = ["network", "unfrozen", "weights", "to move", "moved", ""]
    print(pd.DataFrame(rows, columns=columns).to_string(index=False))
    sys.exit(any(row[-1] != "ok" for row in rows))


if __name__ == "__main__":
    main()
