"""A process that trains together with others on JAX, or alone: `test_several_processes.py` runs it.

python one_of_several.py ADDRESSES NUMBER FOLDER RESULT
"""

import os
import sys

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np

from cnnkit.data import image_dataset, list_images, record_dataset
from cnnkit.models import simple_cnn
from cnnkit.transfer import build_classifier, cache_features, fine_tune, freeze, unfreeze

SIZE, BATCH = (16, 16), 24


def connect(addresses: str, number: int, count: int) -> None:
    """Share out every batch among processes, each of which brings its own part."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    keras.distribution.initialize(job_addresses=addresses, num_processes=count, process_id=number)
    devices = keras.distribution.list_devices()
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)
    )


def classifier(class_names: list[str]) -> keras.Model:
    keras.utils.set_random_seed(0)
    inside = {"filters": (8,), "mode": "unit", "include_top": False}
    return build_classifier(simple_cnn((*SIZE, 3), 3, **inside), class_names, dropout=0)


def main(addresses: str, number: int, folder: str, result: str) -> None:
    """Train in several ways; save weights, losses and features."""
    count = addresses.count(":")
    if count > 1:
        connect(addresses, number, count)
    table = list_images(f"{folder}/photos").sample(frac=1, random_state=0)
    sources = {
        "records": lambda: record_dataset(
            f"{folder}/records", shard=(number, count), batch_size=BATCH // count, progress=False
        ),
        "files": lambda: image_dataset(table[number::count], SIZE, batch_size=BATCH // count),
    }
    found = {}
    for name, make in sources.items():
        data = make()
        model = classifier(data.class_names)
        fitted = model.fit(data, validation_data=data, epochs=2, shuffle=False, verbose=0)
        found[f"fit {name}"] = model.get_weights(), fitted.history["val_loss"]
        head_only = unfreeze(freeze(model), from_layer="head_pool")
        features = cache_features(head_only, data, fixed=name == "records", progress=False)
        batches = [features[0]] if name == "records" else [batch[0].numpy() for batch in features]
        found[f"features {name}"] = [np.concatenate(batches)], []
        for cache in (False, True):
            model = classifier(data.class_names)
            tuned = fine_tune(
                model, make(), make(), head_epochs=2, epochs=2, cache=cache, verbose=0
            )
            found[f"tune {name} {cache}"] = model.get_weights(), tuned.history["val_loss"]
    flat = {
        f"{case}/{place}": value
        for case, (weights, losses) in found.items()
        for place, value in enumerate([*weights, np.array(losses)])
    }
    np.savez(result, **flat)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
