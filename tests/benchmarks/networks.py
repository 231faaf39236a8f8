"""Time of networks: beside hand-written twins, with BatchNorm folded, in bfloat16; and to build.

    nox -s bench -- networks

VGG and ResNet 50 to 152 are the graphs of keras.applications, layer by layer (the test suite
compares them), so that they take the same time by construction. GoogLeNet and ResNet18 have no twin
there: they stand beside networks written out by hand. All work is done by compiled TensorFlow
functions on random images.

ResNet takes longer to build than keras.applications' because its first weights are He's, drawn from
a truncated normal distribution, and Keras's default is uniform, which is drawn sooner.
"""

from collections.abc import Callable
from typing import Any

import handwritten
import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from pairs import ratio
from sklearn.datasets import load_digits
from tqdm import tqdm

from cnnkit.data import split_arrays
from cnnkit.models import fuse_batch_norm, googlenet, resnet, vggnet

PAIRS = 11
SHAPE = (224, 224, 3)


def forward(model: keras.Model, batch_size: int = 8) -> Callable[[], Any]:
    """Return a compiled run of a model on a batch of random images."""
    images = tf.random.stateless_uniform((batch_size, *SHAPE), (0, 1))
    run = tf.function(lambda: model(images, training=False), autograph=False)
    return lambda: run().numpy()


def training_step(build: Callable[[], keras.Model], policy: str) -> Callable[[], Any]:
    """Return a step of training under a policy."""
    model = under(policy, build)
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    images = np.random.default_rng(0).random((8, *SHAPE), dtype=np.float32)
    targets = np.arange(8)
    return lambda: model.train_on_batch(images, targets)


def under(policy: str, build: Callable[[], keras.Model]) -> keras.Model:
    """Build a model under a policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return build()
    finally:
        keras.config.set_dtype_policy(before)


def comparisons() -> dict[str, Callable[[], tuple[Callable[[], Any], Callable[[], Any]]]]:
    """Return pairs of ours and the other way, each made when its turn comes."""
    applications = keras.applications
    mobile = applications.MobileNetV2(weights=None)
    fifty = resnet(SHAPE, 1000)
    return {
        "forward, GoogLeNet / by hand": lambda: (
            forward(googlenet()),
            forward(handwritten.googlenet()),
        ),
        "forward, ResNet18 / by hand": lambda: (
            forward(resnet(depth=18)),
            forward(handwritten.resnet18()),
        ),
        "build, VGG16 / keras.applications": lambda: (
            lambda: vggnet(SHAPE, 1000, head="paper"),
            lambda: applications.VGG16(weights=None),
        ),
        "build, ResNet50 / keras.applications": lambda: (
            lambda: resnet(SHAPE, 1000),
            lambda: applications.ResNet50(weights=None),
        ),
        "build, GoogLeNet / by hand": lambda: (googlenet, handwritten.googlenet),
        "forward, MobileNetV2 fused / not": lambda: (
            forward(fuse_batch_norm(mobile)),
            forward(mobile),
        ),
        "forward, ResNet50 fused / not": lambda: (forward(fuse_batch_norm(fifty)), forward(fifty)),
        "training, VGG16 mixed_bfloat16 / float32": lambda: (
            training_step(vggnet, "mixed_bfloat16"),
            training_step(vggnet, "float32"),
        ),
        "training, ResNet50 mixed_bfloat16 / float32": lambda: (
            training_step(resnet, "mixed_bfloat16"),
            training_step(resnet, "float32"),
        ),
    }


def accuracies() -> dict[str, float]:
    """Return the test accuracy of a ResNet18 trained on digits, by policy."""
    images, targets = load_digits(return_X_y=True)
    pixels = np.repeat(images.reshape(-1, 8, 8, 1) * (255 / 16), 3, axis=-1).round().astype("uint8")
    split = split_arrays(pixels, targets, validation_size=0, test_size=0.3, random_state=0)

    def build() -> keras.Model:
        return resnet((8, 8, 3), 10, depth=18, stem="cifar", mode="unit")

    def accuracy(model: keras.Model) -> float:
        return float((model.predict(split.test[0], verbose=0).argmax(1) == split.test[1]).mean())

    found, trained = {}, {}
    for policy in ("float32", "mixed_bfloat16"):
        keras.utils.set_random_seed(0)
        trained[policy] = model = under(policy, build)
        model.compile(keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy")
        model.fit(*split.train, epochs=10, batch_size=64, verbose=0)
        found[f"trained and tested in {policy}"] = accuracy(model)
    halved = under("mixed_bfloat16", build)
    halved.set_weights(trained["float32"].get_weights())
    found["trained in float32, tested in mixed_bfloat16"] = accuracy(halved)
    return found


def main() -> None:
    """Print both tables."""
    rows = []
    for title, make in tqdm(comparisons().items(), "networks"):
        ours, theirs = make()
        rows.append((title, *ratio(ours, theirs, pairs=PAIRS)))
        keras.backend.clear_session()
    table = pd.DataFrame(rows, columns=["ours / theirs", "times as fast", "low"])
    print(table.to_string(index=False, float_format="{:.2f}".format))
    for title, accuracy in accuracies().items():
        print(f"accuracy on test digits, {title}: {accuracy:.3f}")


if __name__ == "__main__":
    main()
