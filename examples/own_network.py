# %% [markdown]
# # Your own network from blocks
#
# The blocks of ResNet and GoogLeNet are functions from feature maps to feature maps, like Keras's
# own layers. Here both follow a minimum pooling layer, which keeps dark strokes on white.
#
#     python examples/own_network.py

# %%
import keras
import pandas as pd
from sample_photos import parse_arguments, write_digits
from sklearn.metrics import accuracy_score

from cnnkit.data import Split, image_dataset, list_images, predict_images, split_table
from cnnkit.models import (
    conv_block,
    identity_block,
    inception_module,
    min_pooling,
    resnet_stem,
)
from cnnkit.transfer import list_blocks
from cnnkit.viz import plot_history, show_feature_maps, show_predictions

IMAGE_SIZE = (64, 64)
EPOCHS = 6
SEED = 0


# %% [markdown]
# ## Build
#
# The stage and the block name the layers, so that weights can be loaded by name. Each pair may
# occur only once in a network. The result is a plain Keras model.


# %%
def build_network(classes: int) -> keras.Model:
    """Build a small network with blocks of ResNet and GoogLeNet."""
    inputs = keras.Input((*IMAGE_SIZE, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1, name="scale")(inputs)
    # Max pooling would keep the white of the paper and thin the strokes.
    x = min_pooling(x, 2, name="darkest")
    x = resnet_stem(x)
    # The stem has left 8x8 of 64x64 pixels: the first block keeps them, with strides of 1.
    x = conv_block(x, 3, [32, 32, 128], stage=2, block="a", strides=1)
    x = identity_block(x, 3, [32, 32, 128], stage=2, block="b")
    x = inception_module(x, 32, 32, 48, 8, 16, 16, name="inception_3a")
    x = conv_block(x, 3, [48, 48, 192], stage=4, block="a")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dropout(0.2, name="dropout")(x)
    outputs = keras.layers.Dense(classes, activation="softmax", name="predictions")(x)
    return keras.Model(inputs, outputs, name="own_network")


# %%
def train(model: keras.Model, split: Split[pd.DataFrame]) -> keras.callbacks.History:
    """Train with a learning rate that decays to zero along a cosine."""
    dataset = image_dataset(
        split.train, IMAGE_SIZE, shuffle=True, seed=SEED, cache="memory", batch_size=16
    )
    validation = image_dataset(split.validation, IMAGE_SIZE, cache="memory")
    rate = keras.optimizers.schedules.CosineDecay(2e-3, EPOCHS * len(dataset))
    model.compile(
        keras.optimizers.Adam(rate), loss="categorical_crossentropy", metrics=["accuracy"]
    )
    return model.fit(dataset, validation_data=validation, epochs=EPOCHS, shuffle=False, verbose=2)


# %%
def main() -> None:
    """Run the example and print the results."""
    output = parse_arguments("Build a network of blocks.", "own_network", folder=False).output
    keras.utils.set_random_seed(SEED)
    table = list_images(write_digits(output / "digits"))
    split = split_table(table, random_state=SEED)
    model = build_network(len(table["target_names"].cat.categories))
    # The blocks are found in the graph; freeze and unfreeze take these names.
    print(list_blocks(model)[["name", "output_shape"]].to_string(index=False))

    history = train(model, split)
    plot_history(history)[0].figure.savefig(output / "history.png")
    path = split.test["file_paths"].iloc[0]
    for layer in ("darkest", "inception_3a"):
        axes = show_feature_maps(model, path, layer)
        axes[0].figure.savefig(output / f"{layer}.png")

    predictions = predict_images(model, split.test)
    axes = show_predictions(predictions, worst=True)
    axes[0].figure.savefig(output / "worst.png")
    model.save(output / "model.keras")
    # The file needs nothing but Keras, whatever blocks the network is made of.
    again = predict_images(keras.saving.load_model(output / "model.keras"), split.test)
    hits = [
        accuracy_score(told["target_names"], told["predicted_names"])
        for told in (predictions, again)
    ]
    rows = {
        "parameters": f"{model.count_params():,}",
        # The writers of the test digits have written training digits too.
        "accuracy on the test digits": f"{hits[0]:.3f}",
        "the same from the saved file": f"{hits[1]:.3f}",
        "pictures and model.keras in": str(output),
    }
    print("\n" + pd.Series(rows).to_string())


if __name__ == "__main__":
    main()
