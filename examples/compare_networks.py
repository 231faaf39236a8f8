# %% [markdown]
# # Compare VGG, GoogLeNet and ResNet
#
# The classic networks and a small one are trained on the same digits, in color and with 32x32
# pixels, for a few epochs. One table compares parameters, time, and accuracy.
#
#     python examples/compare_networks.py

# %%
import time

import keras
import pandas as pd
from sample_photos import parse_arguments, write_digits
from tqdm.auto import tqdm

from cnnkit.data import Split, image_dataset, list_images, split_table
from cnnkit.models import googlenet, resnet, simple_cnn, vggnet

IMAGE_SIZE = (32, 32)  # the smallest size that all three accept
SHAPE = (*IMAGE_SIZE, 3)
EPOCHS = 3
SEED = 0
# All have BatchNorm; without it, VGG and GoogLeNet learn nothing in so few epochs.
NETWORKS = {
    "simple_cnn": lambda: simple_cnn(SHAPE, 10, batch_norm=True, mode="unit"),
    "vggnet, depth 11": lambda: vggnet(SHAPE, 10, depth=11, batch_norm=True, mode="tf"),
    "googlenet": lambda: googlenet(SHAPE, 10, variant="batch_norm", mode="tf"),
    "resnet, depth 18": lambda: resnet(SHAPE, 10, depth=18, mode="tf"),
}


# %%
class Clock(keras.callbacks.Callback):
    """Measure the time of epochs, without the first, in which TensorFlow builds its graph."""

    def __init__(self, bar: tqdm) -> None:
        super().__init__()
        self.bar, self.seconds = bar, []

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.seconds.append(time.perf_counter() - self.start)
        self.bar.update()

    def seconds_an_epoch(self) -> float:
        return sum(self.seconds[1:]) / len(self.seconds[1:])


def compare(name: str, split: Split[pd.DataFrame], bar: tqdm) -> tuple[dict[str, object], list]:
    """Train a network; return its row of the table and its validation accuracies."""
    keras.utils.set_random_seed(SEED)
    model = NETWORKS[name]()
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # the default of 0.99 takes hundreds of batches to settle
    model.compile(
        keras.optimizers.Adam(1e-3), loss="categorical_crossentropy", metrics=["accuracy"]
    )
    train = image_dataset(
        split.train,
        IMAGE_SIZE,
        batch_size=20,
        shuffle=True,
        seed=SEED,
        cache="memory",
        progress=False,
    )
    validation, test = (
        image_dataset(part, IMAGE_SIZE, cache="memory", progress=False)
        for part in (split.validation, split.test)
    )
    clock = Clock(bar)
    history = model.fit(
        train,
        validation_data=validation,
        epochs=EPOCHS,
        callbacks=[clock],
        shuffle=False,
        verbose=0,
    )
    row = {
        "network": name,
        "parameters": f"{model.count_params():,}",
        "seconds an epoch": round(clock.seconds_an_epoch(), 1),
        "test accuracy": round(model.evaluate(test, verbose=0)[1], 3),
    }
    return row, history.history["val_accuracy"]


# %%
def main() -> None:
    """Train all networks and print the table."""
    output = parse_arguments("Compare networks.", "compare_networks", folder=False).output
    # 320 images to train with, so that it takes a minute. More of them may turn the order around.
    # All parts have digits of the same few writers; new writers would give a lower accuracy.
    table = list_images(write_digits(output / "digits"))
    sample = table.groupby("targets").sample(70, random_state=SEED)
    split = split_table(sample, validation_size=100, test_size=280, random_state=SEED)
    rows, curves = [], {}
    with tqdm(desc="training", total=len(NETWORKS) * EPOCHS, unit="epoch") as bar:
        for name in NETWORKS:
            row, curves[name] = compare(name, split, bar)
            rows.append(row)
    table = pd.DataFrame(rows)
    table.to_csv(output / "networks.csv", index=False)
    accuracies = pd.DataFrame(curves, index=pd.RangeIndex(1, EPOCHS + 1, name="epoch"))
    axes = accuracies.plot(marker="o", xticks=accuracies.index, ylabel="validation accuracy")
    axes.figure.savefig(output / "accuracy.png")
    print(f"\n{table.to_string(index=False)}\n\nthe table and a picture are in {output}")


if __name__ == "__main__":
    main()
