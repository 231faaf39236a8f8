"""On real images, fine-tuning beats training only the head for as many image passes."""

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

from cnnkit.data import split_arrays
from cnnkit.models import simple_cnn
from cnnkit.transfer import build_classifier, fine_tune

SHOTS, HEAD_EPOCHS, EPOCHS = 10, 10, 20
Arrays = tuple[np.ndarray, np.ndarray]


def digits(first: int, last: int) -> Arrays:
    """Return 8x8 digits as uint8 images of 16x16, and one-hot labels."""
    images, targets = load_digits(return_X_y=True)
    chosen = (targets >= first) & (targets <= last)
    pixels = (images[chosen].reshape(-1, 8, 8, 1) * (255 / 16)).round().astype("uint8")
    pixels = pixels.repeat(2, axis=1).repeat(2, axis=2)
    return pixels, np.eye(last - first + 1, dtype="float32")[targets[chosen] - first]


@pytest.fixture(scope="module")
def backbone() -> keras.Model:
    """Return a network that was trained on the digits 0 to 4."""
    keras.utils.set_random_seed(0)
    model = simple_cnn((16, 16, 1), 5, batch_norm=True, pooling="avg", mode="unit")
    model.compile(keras.optimizers.Adam(3e-3), loss="categorical_crossentropy")
    model.fit(*digits(0, 4), epochs=10, batch_size=64, verbose=0)
    return keras.Model(model.input, model.get_layer("block3_pool").output, name="digits")


def accuracy(backbone: keras.Model, seed: int, head_epochs: int, epochs: int, rate: float) -> float:
    """Train on a few images of 5 to 9 and return the accuracy on the others."""
    images, targets = digits(5, 9)
    train, validation, test = split_arrays(
        images,
        targets,
        validation_size=40,
        test_size=len(images) - 40 - 5 * SHOTS,
        random_state=seed,
    )
    keras.utils.set_random_seed(seed)
    copy = keras.models.clone_model(backbone)
    copy.set_weights(backbone.get_weights())
    model = build_classifier(copy, 5, dropout=0.2)
    fine_tune(
        model,
        train,
        validation,
        head_epochs=head_epochs,
        epochs=epochs,
        head_learning_rate=rate,
        batch_size=10,
        verbose=0,
    )
    return model.evaluate(*test, verbose=0)[1]


@pytest.mark.slow
def test_fine_tuning_is_ahead_of_the_head_alone(backbone: keras.Model) -> None:
    """The gain is two points or more, in the mean of five seeds, for both rates of the head."""
    seeds = range(5)
    passes = HEAD_EPOCHS + EPOCHS
    head_only = {
        rate: np.mean([accuracy(backbone, seed, passes, 0, rate) for seed in seeds])
        for rate in (1e-2, 1e-1)
    }
    tuned = np.mean([accuracy(backbone, seed, HEAD_EPOCHS, EPOCHS, 1e-2) for seed in seeds])

    assert tuned >= max(head_only.values()) + 0.02, (tuned, head_only)
