# %% [markdown]
# # Run the frozen part of a network once
#
# A network that was trained on the digits 0 to 4 is frozen and gets a new head for 5 to 9. The head
# is trained twice from the same start: with the whole network, and on cached features.
#
#     python examples/feature_caching.py

# %%
import time

import keras
import numpy as np
import pandas as pd
from sample_photos import parse_arguments, write_digits

from cnnkit.data import Split, image_dataset, list_images, split_table
from cnnkit.models import simple_cnn
from cnnkit.transfer import build_classifier, cache_features, freeze, split_model, unfreeze

IMAGE_SIZE = (32, 32)
EPOCHS = 40
SEED = 0


# %%
def choose(table: pd.DataFrame, names: str) -> Split[pd.DataFrame]:
    """Select some classes, renumber them, and split them."""
    chosen = table[table["target_names"].isin(list(names))]
    categories = chosen["target_names"].cat.remove_unused_categories()
    chosen = chosen.assign(target_names=categories, targets=categories.cat.codes)
    return split_table(chosen, random_state=SEED)


def feed(split: Split[pd.DataFrame]) -> tuple:
    """Make datasets without a transform, because a transform would change the features."""
    options = {"cache": "memory", "progress": False}
    return (
        image_dataset(split.train, IMAGE_SIZE, shuffle=True, seed=SEED, **options),
        image_dataset(split.validation, IMAGE_SIZE, **options),
    )


def train(model: keras.Model, data: tuple, epochs: int) -> tuple[dict[str, list[float]], float]:
    """Compile and train; return the curves and the seconds."""
    model.compile(keras.optimizers.Adam(3e-3), "categorical_crossentropy", metrics=["accuracy"])
    start = time.perf_counter()
    history = model.fit(data[0], validation_data=data[1], epochs=epochs, shuffle=False, verbose=0)
    return history.history, time.perf_counter() - start


# %% [markdown]
# ## The new classifier
#
# Only the head is trained. With the same seed, two classifiers start with the same weights. Each
# needs its own backbone; otherwise, they would share its layers.


# %%
def build(backbone: keras.Model) -> keras.Model:
    """Put a new head on a frozen copy of the backbone."""
    keras.utils.set_random_seed(SEED)
    copy = keras.models.clone_model(backbone)
    copy.set_weights(backbone.get_weights())
    model = build_classifier(copy, list("56789"))
    return unfreeze(freeze(model), from_layer="head_pool")


# %%
def main() -> None:
    """Train a backbone, then a head in both ways, and compare."""
    output = parse_arguments("Cache features.", "feature_caching", folder=False).output
    keras.utils.set_random_seed(SEED)
    table = list_images(write_digits(output / "digits"))
    known = simple_cnn(
        (*IMAGE_SIZE, 3),
        5,
        filters=(32, 64, 128),
        convs_per_block=2,
        batch_norm=True,
        pooling="avg",
        mode="unit",
    )
    train(known, feed(choose(table, "01234")), epochs=5)
    backbone = keras.Model(known.input, known.get_layer("block3_pool").output, name="digits")

    split = choose(table, "56789")
    whole, seconds = train(build(backbone), feed(split), EPOCHS)

    model = build(backbone)
    # A dataset counts its epochs, and each has an order of its own: begin with the first again.
    data = feed(split)
    start = time.perf_counter()
    features = tuple(cache_features(model, part, at="head_pool", progress=False) for part in data)
    once = time.perf_counter() - start
    _, top = split_model(model, at="head_pool")
    kept, sooner = train(top, features, EPOCHS)  # the top shares its layers with the model

    apart = max(np.abs(np.subtract(whole[key], kept[key])).max() for key in ("loss", "val_loss"))
    losses = pd.DataFrame({"whole network": whole["val_loss"], "features": kept["val_loss"]})
    axes = losses.plot(style=["-", "--"], linewidth=3, xlabel="epoch", ylabel="validation loss")
    axes.figure.savefig(output / "loss.png")  # the two curves coincide
    accuracy = model.evaluate(data[1], verbose=0)[1]
    rows = {
        "largest difference of a loss": f"{apart:.1e}",
        "seconds with the whole network": f"{seconds:.1f}",
        "seconds to make the features": f"{once:.1f}",
        "seconds with the features": f"{sooner:.1f}",
        "times as fast, features included": f"{seconds / (once + sooner):.1f}",
        # Writers are in both parts: the two numbers are to be equal, not to be a record.
        "accuracy in validation, whole network": f"{whole['val_accuracy'][-1]:.3f}",
        "the same of the model trained by its head": f"{accuracy:.3f}",
        "a picture of the losses in": str(output),
    }
    print("\n" + pd.Series(rows).to_string())


if __name__ == "__main__":
    main()
