"""Our networks on Keras's other backends: the same outputs, and they train.

    nox -s backends

TensorFlow computes and saves; JAX and PyTorch, with TensorFlow out of reach, build the same
networks, load what was saved and compare. The largest difference is given in units of the
outputs' standard deviation.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

from cnnkit.models import fuse_batch_norm, googlenet, load_weights, resnet, simple_cnn, vggnet
from cnnkit.transfer import freeze, unfreeze

BACKENDS = ("jax", "torch")
LARGEST = 1e-5
SHAPE = (64, 64, 3)
WITHOUT_TENSORFLOW = """
import importlib.util, runpy, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_loader(name, self) if name == "tensorflow" else None
    def create_module(self, spec):
        raise ModuleNotFoundError(spec.name)
    def exec_module(self, module):
        pass

sys.meta_path.insert(0, Missing())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

LOGITS = {"classifier_activation": None}
NETWORKS = {
    "vgg11": lambda: vggnet(SHAPE, depth=11, mode="caffe", **LOGITS),
    "vgg11 with BatchNorm": lambda: vggnet(SHAPE, depth=11, batch_norm=True, **LOGITS),
    "resnet18": lambda: resnet(SHAPE, depth=18, mode="torch", **LOGITS),
    "resnet18, cifar": lambda: resnet(SHAPE, depth=18, stem="cifar", **LOGITS),
    "resnet50": lambda: resnet(SHAPE, mode="unit", **LOGITS),
    "googlenet": lambda: googlenet(SHAPE, mode="tf", **LOGITS),
    "googlenet, batch_norm": lambda: googlenet(SHAPE, variant="batch_norm", **LOGITS),
    "googlenet, torchvision": lambda: googlenet(SHAPE, variant="torchvision", **LOGITS),
    "simple_cnn": lambda: simple_cnn(SHAPE, 10, separable=True, batch_norm=True, **LOGITS),
}


def write(folder: Path) -> None:
    """Save each network, and what it makes of some images."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (4, *SHAPE)).astype("float32")
    np.save(folder / "images.npy", images)
    keras.utils.set_random_seed(0)
    for name, build in NETWORKS.items():
        model = build()
        weights = [
            w if w.ndim > 1 else 0.5 + generator.random(w.shape) for w in model.get_weights()
        ]
        model.set_weights(weights)
        model.save(folder / f"{name}.keras")
        np.save(folder / f"{name}.npy", model.predict_on_batch(images))


def check(folder: Path) -> int:
    """Print the difference of each network, and return 1 if one is too large."""
    images = np.load(folder / "images.npy")
    worst = 0.0
    for name, build in NETWORKS.items():
        expected = np.load(folder / f"{name}.npy")
        opened = keras.saving.load_model(folder / f"{name}.keras")
        built = build()
        load_weights(built, folder / f"{name}.keras")
        for what, model in (("", built), (", opened", opened), (", fused", fuse_batch_norm(built))):
            difference = np.abs(model.predict_on_batch(images) - expected).max() / expected.std()
            print(f"{keras.backend.backend():6} {name + what:32} {difference:.1e}")
            worst = max(worst, float(difference))
    return int(worst > LARGEST or not _trains(images))


def _trains(images: np.ndarray) -> bool:
    """Tell whether exactly the layers that are not frozen move."""
    model = NETWORKS["resnet18, cifar"]()
    unfreeze(freeze(model), names=["predictions"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss=loss)
    before = _weights(model)
    model.fit(images / 255, np.arange(len(images)), epochs=2, verbose=0)
    after = _weights(model)
    moved = {path for path, weight in before.items() if not np.array_equal(weight, after[path])}
    return {path.rsplit("/", 2)[-2] for path in moved} == {"predictions"}


def _weights(model: keras.Model) -> dict[str, np.ndarray]:
    return {w.path: keras.ops.convert_to_numpy(w).copy() for w in model.weights}


def main() -> int:
    """Write with TensorFlow, then let the other backends compare."""
    if len(sys.argv) > 1:
        return check(Path(sys.argv[1]))
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        codes = [
            subprocess.run(
                [sys.executable, "-c", WITHOUT_TENSORFLOW, __file__, folder],
                env={**os.environ, "KERAS_BACKEND": backend},
                check=False,
            ).returncode
            for backend in BACKENDS
        ]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
