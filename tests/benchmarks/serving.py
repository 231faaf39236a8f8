"""Time of one prediction, one image at a time, beside `model.predict`.

    nox -s bench -- serving

The network is a MobileNetV2 at 224 x 224 with random weights. Every way gets the same image and
must give the same result; a ratio is the time of `model.predict` over that of a way, by its median
and the lower end of its 95 % interval. LiteRT is TensorFlow's own interpreter of `.tflite` files.
ONNX Runtime takes part where `onnxruntime` and `tf2onnx` are installed.
"""

import os
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from cnnkit.models import fuse_batch_norm

from pairs import ratio

SIZE, PAIRS, CALLS = (224, 224), 21, 3
Way = Callable[[], np.ndarray]


def saved_model(model: keras.Model, image: np.ndarray, folder: Path) -> Way:
    """Serve the exported folder."""
    model.export(folder / "saved", verbose=False)
    loaded = tf.saved_model.load(folder / "saved")
    return lambda: loaded.serve(image).numpy()


def lite(model: keras.Model, image: np.ndarray, folder: Path) -> Way:
    """Interpret the exported `.tflite` file."""
    path = folder / "model.tflite"
    model.export(path, format="litert", verbose=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the interpreter will move to a package of its own
        interpreter = tf.lite.Interpreter(str(path), num_threads=os.cpu_count())
    signature = interpreter.get_signature_runner()
    (name,) = signature.get_input_details()
    (output,) = signature.get_output_details()
    return lambda: signature(**{name: image})[output]


def onnx(model: keras.Model, image: np.ndarray, folder: Path) -> Way:
    """Run the exported `.onnx` file."""
    import onnxruntime

    path = folder / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras mends tf2onnx, and NumPy warns of that
        model.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: image})[0]


def ways(model: keras.Model, image: np.ndarray, folder: Path) -> dict[str, Way]:
    """Return every way that can run here."""
    fused = fuse_batch_norm(model)
    fused.predict(image, verbose=0)  # Keras exports to ONNX only what has been called
    function = tf.function(lambda images: model(images, training=False))
    found = {
        "model.predict, fused": partial(fused.predict, image, verbose=0),
        "model.predict_on_batch": lambda: model.predict_on_batch(image),
        "model(image, training=False)": lambda: model(image, training=False).numpy(),
        "tf.function": lambda: function(image).numpy(),
        "SavedModel": saved_model(model, image, folder),
        "SavedModel, fused": saved_model(fused, image, folder),
        "LiteRT": lite(model, image, folder),
    }
    if find_spec("onnxruntime") and find_spec("tf2onnx"):
        found["ONNX Runtime"] = onnx(model, image, folder)
    else:
        print("ONNX Runtime is left out: it needs onnxruntime and tf2onnx")
    return found


def several(way: Way) -> None:
    """Predict a few times, as one prediction is too short to time."""
    for _ in range(CALLS):
        way()


def main() -> None:
    """Print how many times as fast as `model.predict` each way is."""
    image = np.random.default_rng(0).uniform(-1, 1, (1, *SIZE, 3)).astype(np.float32)
    model = keras.applications.MobileNetV2((*SIZE, 3), weights=None)
    predict = partial(model.predict, image, verbose=0)
    expected = predict()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, way in tqdm(ways(model, image, Path(folder)).items(), "serving"):
            np.testing.assert_allclose(way(), expected, rtol=1e-3, err_msg=name)
            rows.append(
                (name, *ratio(partial(several, way), partial(several, predict), pairs=PAIRS))
            )
    columns = ["way", "times as fast", "low"]
    print(pd.DataFrame(rows, columns=columns).to_string(index=False, float_format="{:.1f}".format))


if __name__ == "__main__":
    main()
