"""record_dataset: the same pixels and targets as `image_dataset` gives, shared and shuffled."""

from records import SIZE, read, arrays, shards_of, damage


import keras
import numpy as np
import pytest
import tensorflow as tf

from cnnkit.data import image_dataset, list_images
from cnnkit.data._records import reading
from cnnkit.models import simple_cnn
from cnnkit.transfer import build_classifier, fine_tune


def assert_same(expected, actual):
    assert expected.element_spec == actual.element_spec
    assert len(expected) == len(actual)
    for one, other in zip(arrays(expected), arrays(actual), strict=True):
        for mine, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, theirs)


class TestTheSameAsImageDataset:
    """Pixels, targets and order equal those of `image_dataset`."""

    @pytest.mark.parametrize("shards", [1, 2, 3, 13])
    def test_pixels_targets_and_order(self, table, write, shards):
        """For any number of shards, the records are in the order of the table."""
        folder = write(shards=shards)

        assert_same(image_dataset(table, SIZE, batch_size=4), read(folder, batch_size=4))
        assert len(list(folder.glob("*.tfrecord"))) == shards

    @pytest.mark.parametrize("label_mode", ["categorical", "int", None])
    def test_label_modes(self, table, write, label_mode):
        """Targets have the type and the shape that losses know."""
        expected = image_dataset(table, SIZE, label_mode=label_mode)

        assert_same(expected, read(write(), label_mode=label_mode))

    def test_binary(self, make_folder, write):
        """Two classes give one column of targets."""
        table = list_images(make_folder({"answers/no": 2, "answers/yes": 2}) / "answers")
        expected = image_dataset(table, SIZE, label_mode="binary")

        assert_same(expected, read(write(rows=table), label_mode="binary"))

    @pytest.mark.parametrize(
        "options", [{"color_mode": "grayscale"}, {"crop_to_aspect_ratio": True}]
    )
    def test_reading_options(self, table, write, options):
        """The reading options have the same effect in both."""
        assert_same(image_dataset(table, SIZE, **options), read(write(**options)))

    def test_without_classes(self, table, write):
        """An unlabelled table makes records of images only."""
        bare = table[["file_paths"]]
        folder = write(rows=bare)

        assert_same(image_dataset(bare, SIZE, label_mode=None), read(folder, label_mode=None))
        assert read(folder, label_mode=None).class_names is None
        with pytest.raises(ValueError, match="must be None for records without classes"):
            read(folder)

    def test_without_numbers(self, table, write):
        """A column of names alone is no target."""
        folder = write(rows=table.drop(columns="targets"))

        with pytest.raises(ValueError, match="must be None for records without classes"):
            read(folder)

    def test_class_names_of_a_part(self, table, write):
        """A part of a table still knows its classes."""
        folder = write(rows=table[table["target_names"] == "b"])

        assert read(folder).class_names == ["a", "b", "c"]
        assert read(folder).element_spec[1].shape.as_list() == [None, 3]

    def test_fields(self, table, write):
        """A record can be read without cnnkit."""
        (path,) = write(shards=1).glob("*.tfrecord")
        records = [
            tf.train.Example.FromString(one.numpy()) for one in tf.data.TFRecordDataset(path)
        ]
        words = [record.features.feature for record in records]

        assert [one["path"].bytes_list.value[0].decode() for one in words] == list(
            table["file_paths"]
        )
        assert [one["target_name"].bytes_list.value[0].decode() for one in words] == list(
            table["target_names"]
        )
        assert [one["target"].int64_list.value[0] for one in words] == list(table["targets"])

    def test_order_of_the_fields(self, write):
        """The fields have a fixed order, so that the same table gives the same bytes."""
        (path,) = write(shards=1).glob("*.tfrecord")
        content = path.read_bytes()
        names = [b"\n\x05image", b"\n\x04path", b"\n\x0btarget_name", b"\n\x06target\x12"]

        places = [content.index(name) for name in names]
        assert sorted(places) == places

    def test_drop_remainder(self, write):
        """Thirteen images are three batches of four."""
        dataset = read(write(), batch_size=4, drop_remainder=True)

        assert [len(images) for images, _ in arrays(dataset)] == [4, 4, 4]
        assert len(dataset) == 3


class TestSharing:
    """Several processes share the records."""

    # Of 13 rows each process gets 13, 6, 4 or 3, which the batches divide or don't.
    @pytest.mark.parametrize(
        ("count", "factor", "batch_size"), [(1, 3, 4), (2, 1, 3), (3, 2, 5), (4, 1, 2)]
    )
    def test_every_nth_row(self, table, write, count, factor, batch_size):
        """A process gets every n-th row, and all the same number of batches."""
        folder = write(shards=count * factor)
        for number in range(count):
            rows = table.iloc[number::count][: len(table) // count]
            part = read(folder, shard=(number, count), batch_size=batch_size)
            assert_same(image_dataset(rows, SIZE, batch_size=batch_size), part)

    def test_shards_must_divide(self, write):
        """Three processes can't share eight shards."""
        with pytest.raises(ValueError, match="8 shards.*Write them with shards=9"):
            read(write(shards=8), shard=(0, 3))

    @pytest.mark.parametrize(
        ("shard", "error"),
        [
            ((2, 2), ValueError),
            ((0, 0), ValueError),
            ((-1, 2), ValueError),
            ((0, 1, 2), ValueError),
            ((0,), ValueError),
            (0, TypeError),
            ((0.0, 1), TypeError),
        ],
    )
    def test_wrong_numbers(self, write, shard, error):
        """Numbers run from 0 to the count."""
        with pytest.raises(error, match="`shard` must be"):
            read(write(shards=2), shard=shard)

    def test_not_with_a_service(self, write):
        """A data service distributes the shards itself."""
        with pytest.raises(ValueError, match="left out with `service`"):
            read(write(shards=2), shard=(0, 2), service="grpc://127.0.0.1:1")

    def test_only_its_own_shards_are_verified(self, write):
        """A process doesn't read what others read."""
        folder = write(shards=2)
        damage(shards_of(folder)[1])

        assert len(arrays(read(folder, shard=(0, 2)))) == 1
        with pytest.raises(ValueError, match="00001-of-00002"):
            read(folder, shard=(1, 2))


class TestShuffling:
    """Another order in each epoch, from all shards."""

    @pytest.fixture
    def folder(self, make_folder, write):
        """Sixty images in six shards."""
        table = list_images(make_folder({"many/a": 30, "many/b": 30}) / "many")
        return write(rows=table.sample(frac=1, random_state=0), shards=6)

    def order(self, dataset):
        return [image.tobytes() for images, _ in arrays(dataset) for image in images]

    def test_every_image_once_an_epoch(self, folder):
        """Another order in each epoch, of the same images with their targets."""
        dataset = read(folder, shuffle=True, seed=0, batch_size=8)
        first, second = self.order(dataset), self.order(dataset)

        assert sorted(first) == sorted(second) == sorted(self.order(read(folder)))
        assert first != second

    def test_targets_go_along(self, folder):
        """An image keeps its class."""
        class_of = {
            image.tobytes(): number
            for images, numbers in arrays(read(folder, label_mode="int"))
            for image, number in zip(images, numbers, strict=True)
        }
        for images, numbers in arrays(read(folder, label_mode="int", shuffle=True)):
            assert [class_of[image.tobytes()] for image in images] == numbers.tolist()

    def test_seed(self, folder):
        """A seed gives the same epochs again; without, runs differ."""
        orders = [self.order(read(folder, shuffle=True, seed=seed)) for seed in (1, 1, 2)]

        assert orders[0] == orders[1] != orders[2]
        assert self.order(read(folder, shuffle=True)) != self.order(read(folder, shuffle=True))

    def test_across_shards(self, folder, monkeypatch):
        """Even where nothing more fits into memory, a batch has images of several shards."""
        monkeypatch.setattr(reading, "_SHUFFLED", 1)
        place = {one: number for number, one in enumerate(self.order(read(folder)))}
        dataset = read(folder, shuffle=True, seed=0)
        first, second = ([place[one] % 6 for one in self.order(dataset)[:6]] for _ in range(2))

        assert set(first) == set(second) == set(range(6))
        assert first != second

    def test_order_of_the_classes(self, table, write, monkeypatch):
        """A warning is given if shuffling would leave the classes sorted."""
        in_order = write()
        mixed = write(rows=table.sample(frac=1, random_state=0))
        read(in_order, shuffle=True)  # all fits into memory
        monkeypatch.setattr(reading, "_SHUFFLED", 300)

        with pytest.warns(UserWarning, match="records are sorted by class"):
            read(in_order, shuffle=True)
        read(mixed, shuffle=True)
        read(in_order)
        read(write(rows=table[table["targets"] == 0]), shuffle=True)


class TestTraining:
    """Models learn from records."""

    def test_fit_is_the_same(self, table, write):
        """Training from records equals training from files."""
        model = simple_cnn((8, 8, 3), 3, filters=(4,), mode="unit")
        first, weights = model.get_weights(), []
        for data in (image_dataset(table, (8, 8)), read(write(image_size=(8, 8)))):
            model.set_weights(first)
            model.compile("adam", "categorical_crossentropy", run_eagerly=True)
            model.fit(data, epochs=2, shuffle=False, verbose=0)
            weights.append(model.get_weights())

        assert any((one != other).any() for one, other in zip(first, weights[0], strict=True))
        for one, other in zip(*weights, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_fine_tune(self, write):
        """Records train a classifier in two stages; features are cached where told."""
        inputs = keras.Input((8, 8, 3))
        first = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
        backbone = keras.Model(inputs, keras.layers.Conv2D(4, 3, activation="relu")(first))
        data = read(write(image_size=(8, 8)))
        model = build_classifier(backbone, data.class_names, mode="unit")
        history = fine_tune(model, data, data, head_epochs=1, epochs=1, cache=True, verbose=0)

        assert len(history.history["loss"]) == 2
