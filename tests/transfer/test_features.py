"""Training on cached features is training the model, bit for bit; what isn't is refused."""

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from keras.src.applications import convnext

from cnnkit.data import image_dataset, list_images
from cnnkit.transfer import build_classifier, cache_features, fine_tune, freeze, split_model
from cnnkit.transfer import _stage_on_features
from cnnkit.transfer._features import last_frozen, random_layers


@pytest.fixture
def frozen(backbone) -> keras.Model:
    """A classifier whose backbone is frozen and which has no dropout."""
    freeze(backbone)
    return build_classifier(backbone, 3, dropout=0)


@pytest.fixture
def tables(make_folder) -> pd.DataFrame:
    """Eleven files of three classes: no whole number of batches."""
    folder = make_folder({"a": 4, "b": 4, "c": 3}, size=(8, 8))
    paths = sorted(str(path) for path in folder.glob("*/*.png"))
    names = pd.Categorical([path.split("/")[-2] for path in paths])
    targets = names.codes.astype("int64")
    return pd.DataFrame({"file_paths": paths, "target_names": names, "targets": targets})


def losses_of(model: keras.Model, data, **options) -> list[float]:
    """Train four epochs and return every loss."""
    keras.utils.set_random_seed(1)
    model.compile("adam", loss="categorical_crossentropy")
    images = {"x": data[0], "y": data[1]} if isinstance(data, tuple) else {"x": data}
    return model.fit(**images, epochs=4, shuffle=False, verbose=0, **options).history["loss"]


def losses_both_ways(model: keras.Model, data, features) -> tuple[list[float], list[float]]:
    """Train the whole model and, from the same start, its second half on features."""
    start = model.get_weights()
    whole = losses_of(model, data)
    model.set_weights(start)
    _, top = split_model(model, "relu2")
    return whole, losses_of(top, features)


def test_losses_on_features_of_arrays_are_the_same_bits(frozen, data) -> None:
    """Four epochs of the head, with and without the frozen part."""
    features = cache_features(frozen, data, at="relu2", progress=False)
    whole, on_features = losses_both_ways(frozen, data, features)

    assert len(set(whole)) == 4
    assert whole == on_features


def test_losses_on_features_of_a_seeded_dataset_are_the_same_bits(frozen, tables) -> None:
    """Order, seed and batches are the dataset's own, epoch by epoch."""

    def dataset():
        return image_dataset(tables, (8, 8), batch_size=4, shuffle=True, seed=3, progress=False)

    features = cache_features(frozen, dataset(), at="relu2", progress=False)
    whole, on_features = losses_both_ways(frozen, dataset(), features)

    assert len(set(whole)) == 4
    assert whole == on_features


def test_the_cut_is_behind_all_that_is_frozen(frozen, data) -> None:
    """Pooling has no weights and nothing random, so it belongs to the first part."""
    features, targets = cache_features(frozen, data, progress=False)

    assert (12, 4) == features.shape
    np.testing.assert_array_equal(data[1], targets)
    pooled = keras.Model(frozen.inputs, frozen.get_layer("head_pool").output)
    np.testing.assert_array_equal(pooled.predict(data[0], verbose=0), features)


def test_dropout_behind_the_cut_stays_in_front_of_it(backbone, data) -> None:
    """What is drawn anew in every epoch is never kept."""
    freeze(backbone)
    features, _ = cache_features(build_classifier(backbone, 3, dropout=0.5), data, progress=False)

    assert (12, 4) == features.shape  # cut behind pooling, in front of dropout


def test_the_last_batch_may_be_smaller(frozen, data) -> None:
    """Batches of five make twelve images too."""
    in_fives, _ = cache_features(frozen, data, batch_size=5, progress=False)
    at_once, _ = cache_features(frozen, data, progress=False)

    np.testing.assert_allclose(in_fives, at_once, rtol=1e-6, atol=1e-7)


# Files -----------------------------------------------------------------------------------------


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
    """What stands between the layers counts, too: a scaling that was mended, for one."""

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
    """Somebody may want it."""
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


# What can't be cached --------------------------------------------------------------------------


def test_layers_that_train_in_front_of_the_cut_are_refused(classifier, data) -> None:
    """Their features change with every step; the error names them."""
    with pytest.raises(
        ValueError,
        match=r"All in front of the cut must give the same in every epoch\. Received: layers that "
        r"train, conv1, bn1, conv2\. Call `freeze`, or cut further in front\.",
    ):
        cache_features(classifier, data, at="relu2", progress=False)


def test_live_batch_norm_in_front_of_the_cut_is_refused(frozen, data) -> None:
    """It normalizes by the batch, and its statistics move."""
    frozen.get_layer("bn1").trainable = True
    with pytest.raises(ValueError, match=r"Received: layers that train, bn1\."):
        cache_features(frozen, data, at="relu2", progress=False)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Dropout(0.5, name="drawn"),
        layers.SpatialDropout2D(0.5, name="drawn"),
        layers.GaussianNoise(0.1, name="drawn"),
        layers.RandomFlip(name="drawn"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_random_layers_in_front_of_the_cut_are_refused(layer, backbone, data) -> None:
    """Each epoch draws anew, which one pass can't give."""
    inputs = keras.Input((8, 8, 3))
    model = build_classifier(keras.Model(inputs, backbone(layer(inputs))), 3, mode="none")
    freeze(model, names=["backbone"])
    with pytest.raises(ValueError, match=r"layers that draw at random, drawn\. Cut further in fr"):
        cache_features(model, data, at="relu2", progress=False)


class Wrapped(keras.layers.Layer):
    """Dropout that is part of another layer."""

    def __init__(self, **options):
        super().__init__(**options)
        self.dropout = layers.Dropout(0.5)

    def call(self, x, training=None):
        return self.dropout(x, training=training)


class DropPath(keras.layers.Layer):
    """A layer with a generator of its own, as people write stochastic depth."""

    def __init__(self, **options):
        super().__init__(**options)
        self.generator = keras.random.SeedGenerator(0)

    def call(self, x, training=None):
        return keras.random.dropout(x, 0.5, seed=self.generator) if training else x


@pytest.mark.parametrize(
    "layer",
    [
        Wrapped,
        DropPath,
        lambda: layers.Pipeline([layers.RandomContrast(0.5)]),
        lambda: convnext.StochasticDepth(0.5),
    ],
    ids=["part of a layer", "generator", "Pipeline", "StochasticDepth"],
)
def test_what_draws_inside_other_layers_is_refused(layer, backbone, data) -> None:
    """However deep it lies, it would be drawn once."""
    freeze(backbone)
    x = layers.Conv2D(2, 3, name="later", trainable=False)(layer()(backbone.output))
    model = build_classifier(keras.Model(backbone.input, x), 3, dropout=0)
    with pytest.raises(ValueError, match="layers that draw at random"):
        cache_features(model, data, at="later", progress=False)
    features, _ = cache_features(model, data, progress=False)

    assert (12, *backbone.output_shape[1:]) == features.shape


class Attending(keras.layers.Layer):
    """Attention that is part of another layer."""

    def __init__(self, dropout, **options):
        super().__init__(**options)
        self.attention = layers.MultiHeadAttention(2, 4, dropout=dropout)

    def call(self, x):
        return self.attention(x, x)


@pytest.mark.parametrize(("dropout", "random"), [(0.0, []), (0.1, ["drawn"])])
@pytest.mark.parametrize(
    "make",
    [
        Attending,
        lambda dropout, name: layers.MultiHeadAttention(2, 4, dropout=dropout, name=name),
        lambda dropout, name: layers.GRU(2, dropout=dropout, name=name),
        lambda dropout, name: layers.GRU(2, recurrent_dropout=dropout, name=name),
    ],
    ids=["part", "attention", "cells", "recurrent"],
)
def test_what_never_drops_is_not_random(make, dropout, random) -> None:
    """A seed alone draws nothing."""
    inputs = keras.Input((4, 6))
    layer = make(dropout, name="drawn")
    several = (inputs, inputs) if isinstance(layer, layers.MultiHeadAttention) else (inputs,)
    model = keras.Model(inputs, layer(*several))

    assert random == random_layers(model)


class Whole(keras.Model):
    """A backbone that is a class of its own."""

    def __init__(self):
        super().__init__(name="whole")
        self.conv = layers.Conv2D(2, 3)

    def call(self, x):
        return self.conv(x)


def test_a_backbone_that_is_a_class_is_one_piece(data) -> None:
    """Nobody can look into it, but what it gives can be kept."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Flatten(name="flat")(Whole()(inputs))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax", name="end")(x))
    model.compile("adam", loss="categorical_crossentropy")
    history = fine_tune(model, data, data, head_epochs=2, epochs=1, head="flat", verbose=0)

    assert ["head", "head", "all"] == history.history["stage"]


class Own(keras.Model):
    """A model with a training step of its own, which counts."""

    steps = 0

    def train_step(self, data):
        type(self).steps += 1
        return super().train_step(data)


def test_a_training_step_of_its_own_is_taken(backbone, data) -> None:
    """On features a part of the model would be trained in the usual way."""
    built = build_classifier(backbone, 3, dropout=0)
    model = Own(built.input, built.output)
    model.compile("adam", loss="categorical_crossentropy", run_eagerly=True)
    fine_tune(model, data, data, head_epochs=2, epochs=0, verbose=0)

    assert 2 == Own.steps
    optimizer = model.optimizer
    with pytest.raises(ValueError, match=r"`cache` must be False .* Own\.train_step"):
        fine_tune(model, data, data, head_epochs=2, epochs=0, cache=True, verbose=0)
    assert optimizer is model.optimizer  # nothing has changed


def test_sample_weights_are_not_kept(frozen, data) -> None:
    """They would be left out without a word."""
    import tensorflow as tf

    weighted = tf.data.Dataset.from_tensor_slices((*data, np.ones(12))).batch(4)
    with pytest.raises(ValueError, match=r"`data` must give images and targets and nothing else"):
        cache_features(frozen, weighted, fixed=True, progress=False)


def test_a_model_that_trains_from_the_start_is_refused(classifier, data) -> None:
    """Where nothing is frozen there is nothing to keep."""
    with pytest.raises(ValueError, match=r"`model` must be frozen in front of the cut\..*`freeze`"):
        cache_features(classifier, data, progress=False)


def test_data_that_nobody_knows_is_refused(frozen, data) -> None:
    """Augmentation can hide in any dataset."""
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(data).batch(4)
    with pytest.raises(
        ValueError,
        match=r"`data` must be arrays or a dataset of `image_dataset` without a transform.*"
        r"If they do, pass fixed=True\.",
    ):
        cache_features(frozen, dataset, progress=False)


def test_a_dataset_with_a_transform_is_refused(frozen, tables) -> None:
    """Its images differ from epoch to epoch."""
    dataset = image_dataset(tables, (8, 8), transform=layers.RandomFlip(), progress=False)
    with pytest.raises(ValueError, match=r"`data` must be arrays or a dataset of `image_dataset`"):
        cache_features(frozen, dataset, progress=False)


class Rows(keras.utils.PyDataset):
    """Twelve images in batches of five."""

    def __init__(self, data) -> None:
        super().__init__()
        self.data = data

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int):
        return tuple(part[5 * index : 5 * index + 5] for part in self.data)


def test_any_data_is_taken_as_it_comes_if_it_is_fixed(frozen, data) -> None:
    """A PyDataset and a tf.data dataset give their images in one pass."""
    import tensorflow as tf

    expected = cache_features(frozen, data, batch_size=5, progress=False)
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(5)
    for given in (Rows(data), dataset):
        features, targets = cache_features(frozen, given, fixed=True, progress=False)

        np.testing.assert_array_equal(expected[0], features)
        np.testing.assert_array_equal(expected[1], targets)


def test_unknown_data_is_not_kept_in_a_file(frozen, data, tmp_path) -> None:
    """Nothing would tell it from other data the next time."""
    path = tmp_path / "x.features"
    with pytest.raises(ValueError, match=r"`cache` must be 'memory' for data that can't be told"):
        cache_features(frozen, Rows(data), fixed=True, cache=path, progress=False)


def test_an_open_image_size_is_refused(data) -> None:
    """Features of images of any size fit no array."""
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, name="conv", trainable=False)(inputs)
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    with pytest.raises(ValueError, match=r"`model` must have a fixed image size in front of the c"):
        cache_features(model, data, at="conv", progress=False)


# fine_tune -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["arrays", "dataset"])
def test_fine_tune_gives_the_same_bits_with_and_without_cache(
    kind, new_backbone, data, tables
) -> None:
    """The history, every weight, and what callbacks see, dropout and shuffling included."""

    def tuned(cache):
        keras.utils.set_random_seed(2)
        model = build_classifier(new_backbone(), 3)
        seen: list[tuple[int, dict[str, float]]] = []
        look = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: seen.append((epoch, dict(logs)))
        )
        given = data
        if kind == "dataset":
            given = image_dataset(tables, (8, 8), batch_size=4, shuffle=True, seed=5)
        history = fine_tune(
            model, given, given, head_epochs=2, epochs=2, cache=cache, callbacks=[look], verbose=0
        )
        return history.history, seen, [weight.tobytes() for weight in model.get_weights()]

    cached = tuned("auto")

    assert tuned(cache=False) == cached
    assert [0, 1, 2, 3] == [epoch for epoch, _ in cached[1]]


def test_fine_tune_runs_the_frozen_part_once(backbone, data, monkeypatch) -> None:
    """Ten epochs of the head cost one pass over training and one over validation data."""
    calls = []
    run = keras.Model.predict_on_batch
    monkeypatch.setattr(
        keras.Model, "predict_on_batch", lambda self, x: calls.append(len(x)) or run(self, x)
    )
    fine_tune(build_classifier(backbone, 3), data, data, head_epochs=10, epochs=0, verbose=0)

    assert [12, 12] == calls


def test_fine_tune_does_not_cache_what_may_change(backbone, data, monkeypatch) -> None:
    """Data of which nobody knows is trained on as it comes, unless the caller knows."""
    monkeypatch.setattr(keras.Model, "predict_on_batch", forbidden)
    model = build_classifier(backbone, 3)
    fine_tune(model, Rows(data), Rows(data), head_epochs=1, epochs=0, verbose=0)
    with pytest.raises(AssertionError, match="must not run again"):
        fine_tune(model, Rows(data), Rows(data), head_epochs=1, epochs=0, cache=True, verbose=0)


def test_stopping_early_stops_the_head(backbone, data) -> None:
    """EarlyStopping works on the model although a part of it is trained."""
    stop = keras.callbacks.EarlyStopping("loss", patience=0, min_delta=1e9)
    history = fine_tune(
        build_classifier(backbone, 3),
        data,
        data,
        head_epochs=5,
        epochs=5,
        callbacks=[stop],
        verbose=0,
    )

    stages = history.history["stage"]  # of the second, Keras 3.12 trains one epoch, 3.15 two
    assert 2 == stages.count("head")
    assert 0 < stages.count("all") < 5


@pytest.mark.parametrize(("spare", "cached"), [(0, True), (-1, False)])
def test_features_that_take_much_memory_are_not_kept_unasked(
    spare, cached, frozen, data, monkeypatch
) -> None:
    """Four bytes a value, of training and validation images; `cache=True` keeps them anyway."""
    at = last_frozen(frozen)
    values = split_model(frozen, at)[0].predict(data[0], verbose=0).size
    monkeypatch.setattr(_stage_on_features, "_MOST_BYTES", 2 * 4 * values + spare)

    assert (at if cached else None) == _stage_on_features.cut_for(frozen, (data, data), "auto")
    assert at == _stage_on_features.cut_for(frozen, (data, data), True)
