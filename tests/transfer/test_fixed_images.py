"""What a dataset tells of its images, and what is made of it."""

import albumentations as A
import keras
import numpy as np
import pytest

from cnnkit.data import image_dataset
from cnnkit.models import simple_cnn
from cnnkit.transfer import build_classifier, cache_features, freeze
from cnnkit.transfer._stage_on_features import cut_for


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """A classifier whose backbone is frozen."""
    backbone = simple_cnn((8, 8, 3), 2, filters=(4,), include_top=False, mode="unit")
    return build_classifier(freeze(backbone), 2, mode="none")


@pytest.fixture
def pair(rng):
    """Seven images of two classes."""
    return rng.integers(0, 256, (7, 8, 8, 3), dtype=np.uint8), np.arange(7) % 2


def test_they_come_in_the_order_of_the_table(pair) -> None:
    """Also from a dataset that is shuffled."""
    fixed = image_dataset(pair, batch_size=3, shuffle=True, seed=0).fixed_images

    assert 7 == len(fixed)
    np.testing.assert_array_equal(pair[0], np.concatenate(list(fixed)))


def test_a_transform_leaves_none(pair) -> None:
    """Images that are drawn anew in each epoch are not fixed."""
    assert image_dataset(pair, transform=A.HorizontalFlip()).fixed_images is None


def test_others_in_their_place_have_the_same_order_and_targets(pair) -> None:
    """The dataset that is made counts the same epochs."""
    options = {"batch_size": 3, "shuffle": True, "seed": 5, "label_mode": "int"}
    first, second = image_dataset(pair, **options), image_dataset(pair, **options)
    numbers = np.arange(7, dtype=np.float32)[:, None]
    others = list(first.fixed_images.replaced_by(numbers))

    for (images, targets), (rows, labels) in zip(second, others, strict=True):
        places = rows.numpy()[:, 0].astype(int)
        np.testing.assert_array_equal(images, pair[0][places])
        np.testing.assert_array_equal(targets, labels)


@pytest.mark.parametrize("change", ["pixel", "mode", "order"])
def test_the_key_tells_them_apart(pair, change) -> None:
    """Other images have another key, the same ones the same."""
    images, targets = pair[0].copy(), pair[1]
    other = images[::-1] if change == "order" else images.copy()
    if change == "pixel":
        other[3, 2, 1, 0] ^= 1
    mode = "tf" if change == "mode" else "none"
    key = image_dataset((images, targets)).fixed_images.key

    assert key == image_dataset(pair, shuffle=True).fixed_images.key
    assert key != image_dataset((other, targets), mode=mode).fixed_images.key


def test_fine_tune_caches_them_unasked(model, pair) -> None:
    """Arrays and datasets that tell it; neither drawn images nor a dataset that has lost it."""
    dataset = image_dataset(pair)
    drawn = image_dataset(pair, transform=A.HorizontalFlip())
    kinds = {"arrays": pair, "dataset": dataset, "drawn": drawn, "taken": dataset.take(1)}
    cuts = {name: cut_for(model, (data, data), "auto") for name, data in kinds.items()}

    assert {"arrays", "dataset"} == {name for name, at in cuts.items() if at is not None}


def test_a_dataset_that_has_lost_them_is_refused(model, pair) -> None:
    """The message says how it got lost."""
    with pytest.raises(ValueError, match=r"`\.take\(\)`.*fixed=True"):
        cache_features(model, image_dataset(pair).take(1), progress=False)


def test_a_dataset_of_ones_own_may_have_them(model, pair) -> None:
    """What `cache_features` needs is four methods and attributes."""

    class Mine:
        key = "mine"

        def __len__(self):
            return 7

        def __iter__(self):
            yield from np.array_split(pair[0], 2)

        def replaced_by(self, arrays):
            return "replaced", arrays

    class Dataset:
        fixed_images = Mine()

    word, features = cache_features(model, Dataset(), progress=False)

    assert "replaced" == word
    np.testing.assert_allclose(cache_features(model, pair, progress=False)[0], features, rtol=1e-5)


def test_images_of_another_kind_are_not_taken_for_them(model, pair) -> None:
    """A PyDataset may well have an attribute `images`."""

    class Own(keras.utils.PyDataset):
        images = pair[0]

        def __len__(self):
            return 1

        def __getitem__(self, _):
            return pair

    features, _ = cache_features(model, Own(), fixed=True, progress=False)

    assert 7 == len(features)
