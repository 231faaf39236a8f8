"""Cached features, and the files that hold them for later runs."""

import keras
import numpy as np
import pytest
from keras import layers

from cnnkit.data import image_dataset, list_images
from cnnkit.transfer import build_classifier, cache_features, freeze

pytestmark = pytest.mark.usefixtures("eagerly")


def test_the_cut_is_behind_all_that_is_frozen(frozen, data) -> None:
    """Pooling has no weights and nothing random, so it belongs to the first part."""
    features, targets = cache_features(frozen, data, progress=False)

    assert (12, 4) == features.shape
    np.testing.assert_array_equal(data[1], targets)
    pooled = keras.Model(frozen.inputs, frozen.get_layer("head_pool").output)
    np.testing.assert_array_equal(pooled.predict(data[0], verbose=0), features)


def test_dropout_behind_the_cut_stays_in_front_of_it(backbone, data) -> None:
    """Values that are drawn in every epoch are never cached."""
    freeze(backbone)
    features, _ = cache_features(build_classifier(backbone, 3, dropout=0.5), data, progress=False)

    assert (12, 4) == features.shape  # cut behind pooling, in front of dropout


def test_the_last_batch_may_be_smaller(frozen, data) -> None:
    """Batches of five make twelve images too."""
    in_fives, _ = cache_features(frozen, data, batch_size=5, progress=False)
    at_once, _ = cache_features(frozen, data, progress=False)

    np.testing.assert_allclose(in_fives, at_once, rtol=1e-6, atol=1e-7)


def forbidden(*_):
    msg = "the frozen part must not run again"
    raise AssertionError(msg)


def test_a_file_serves_later_runs(frozen, data, tmp_path, monkeypatch) -> None:
    """The second call reads what the first has written, and nothing runs."""
    path = tmp_path / "head.features"
    first, _ = cache_features(frozen, data, cache=path, progress=False)
    monkeypatch.setattr(keras.Model, "predict_on_batch", forbidden)
    second, _ = cache_features(frozen, data, cache=path, progress=False)

    assert isinstance(second, np.memmap)
    np.testing.assert_array_equal(first, second)
    assert [path] == list(tmp_path.iterdir())


def test_a_file_serves_a_backbone_inside_too(backbone, data, tmp_path, monkeypatch) -> None:
    """Keras numbers the operations of a model that is called inside another."""
    inputs = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(backbone(inputs))
    model = keras.Model(inputs, layers.Dense(3, "softmax")(x))
    freeze(model, names=[backbone.name])
    path = tmp_path / "head.features"
    first, _ = cache_features(model, data, cache=path, progress=False)
    monkeypatch.setattr(keras.Model, "predict_on_batch", forbidden)
    second, _ = cache_features(model, data, cache=path, progress=False)

    np.testing.assert_array_equal(first, second)


def test_a_file_has_what_memory_has(frozen, data, tmp_path) -> None:
    """Where features are kept changes no bit."""
    path = tmp_path / "head.features"
    in_file, _ = cache_features(frozen, data, cache=path, progress=False)
    in_memory, _ = cache_features(frozen, data, progress=False)

    np.testing.assert_array_equal(in_memory, in_file)


def another_weight(model, data):
    model.get_layer("conv1").bias.assign([1, 2, 3, 4])
    return data


def another_image(model, data):  # noqa: ARG001
    images = data[0].copy()
    images[5, 0, 0, 0] ^= 1
    return images, data[1]


def another_setting(model, data):
    model.get_layer("scale").offset = 0.0
    return data


@pytest.mark.parametrize("change", [another_weight, another_image, another_setting])
def test_a_stale_file_is_made_anew(change, frozen, data, tmp_path) -> None:
    """Features of other weights, images or settings are never taken for these."""
    path = tmp_path / "head.features"
    before = np.array(cache_features(frozen, data, cache=path, progress=False)[0])
    data = change(frozen, data)
    after, _ = cache_features(frozen, data, cache=path, progress=False)
    expected, _ = cache_features(frozen, data, progress=False)

    assert not np.array_equal(before, expected)
    np.testing.assert_array_equal(expected, after)


@pytest.mark.parametrize("option", ["crop_to_aspect_ratio", "pad_to_aspect_ratio"])
def test_a_file_of_images_read_otherwise_is_made_anew(
    option, frozen, make_folder, tmp_path
) -> None:
    """The same photos, stretched or not, are other images."""
    path, table = tmp_path / "head.features", list_images(make_folder({"a": 3, "b": 3}, (16, 8)))
    stretched = image_dataset(table, (8, 8))
    other = image_dataset(table, (8, 8), **{option: True})
    cache_features(frozen, stretched, cache=path, progress=False)
    after = cache_features(frozen, other, cache=path, progress=False)
    expected = cache_features(frozen, other, progress=False)

    for (actual, _), (made, _) in zip(after, expected, strict=True):
        np.testing.assert_array_equal(actual, made)


def test_a_file_of_other_operations_is_made_anew(data, tmp_path) -> None:
    """Operations between layers count, too, for example a corrected scaling."""

    def scaled_by(divisor: float) -> keras.Model:
        inputs = keras.Input((8, 8, 3), name="images")
        x = layers.Conv2D(2, 3, name="conv", kernel_initializer="ones")(inputs / divisor)
        model = keras.Model(inputs, layers.GlobalAveragePooling2D(name="pool")(x))
        return freeze(model)

    path = tmp_path / "head.features"
    wrong, right = scaled_by(127.5), scaled_by(255.0)
    cache_features(wrong, data, at="conv", cache=path, progress=False)
    after, _ = cache_features(right, data, at="conv", cache=path, progress=False)
    expected, _ = cache_features(right, data, at="conv", progress=False)

    np.testing.assert_array_equal(expected, after)


def test_features_are_written_and_not_mapped(frozen, data, tmp_path, monkeypatch) -> None:
    """Where a disk is full, writing is an error; a map ends the process by a signal."""
    memmap, modes = np.memmap, []

    def noting(*args, mode, **options):
        modes.append(mode)
        return memmap(*args, mode=mode, **options)

    monkeypatch.setattr(np, "memmap", noting)
    cache_features(frozen, data, cache=tmp_path / "head.features", progress=False)

    assert ["r"] == modes


def test_a_file_that_was_cut_is_made_anew(frozen, data, tmp_path) -> None:
    """A copy that broke off is not trusted."""
    path = tmp_path / "head.features"
    expected = np.array(cache_features(frozen, data, cache=path, progress=False)[0])
    path.write_bytes(path.read_bytes()[:-4])
    after, _ = cache_features(frozen, data, cache=path, progress=False)

    np.testing.assert_array_equal(expected, after)


def test_an_interrupted_run_leaves_no_file(frozen, data, tmp_path, monkeypatch) -> None:
    """A file is complete or not there."""
    path = tmp_path / "head.features"

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(keras.Model, "predict_on_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache_features(frozen, data, cache=path, progress=False)

    assert [] == list(tmp_path.iterdir())


def test_a_file_of_something_else_is_not_overwritten(frozen, data, tmp_path) -> None:
    """The file may be important to the user."""
    path = tmp_path / "notes.txt"
    path.write_text("do not lose")
    with pytest.raises(ValueError, match=r"`cache` must be None, 'memory' or the path of a cache"):
        cache_features(frozen, data, cache=path, progress=False)

    assert "do not lose" == path.read_text()


def test_a_cache_of_images_is_no_cache_of_features(frozen, data, tables, tmp_path) -> None:
    """Each kind of file says what it holds."""
    path = tmp_path / "train.cache"
    image_dataset(tables, (8, 8), cache=path, progress=False)
    size = path.stat().st_size
    with pytest.raises(ValueError, match=r"made by `cache_features`"):
        cache_features(frozen, data, cache=path, progress=False)

    assert size == path.stat().st_size


def test_any_data_is_taken_as_it_comes_if_it_is_fixed(frozen, data, rows) -> None:
    """A PyDataset and a tf.data dataset give their images in one pass."""
    import tensorflow as tf

    expected = cache_features(frozen, data, batch_size=5, progress=False)
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(5)
    for given in (rows, dataset):
        features, targets = cache_features(frozen, given, fixed=True, progress=False)

        np.testing.assert_array_equal(expected[0], features)
        np.testing.assert_array_equal(expected[1], targets)
