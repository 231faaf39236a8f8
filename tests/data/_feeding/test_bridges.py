"""The bridges to ImageDataGenerator: albumentations sees uint8, and images are scaled once."""

import albumentations as A
import keras
import numpy as np
import pytest
import tensorflow as tf

from cnnkit.data import image_data_generator, list_images, preprocessing_function
from cnnkit.preprocess import scale

MODES = ["tf", "torch", "caffe", "unit", "none"]


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (6, 8, 10, 3), dtype=np.uint8)


@pytest.fixture
def recorder():
    """A transform that notes what it is given and leaves it as it is."""

    def record(image):
        record.seen.append(image.copy())
        return {"image": image}

    record.seen = []
    return record


class TestPreprocessingFunction:
    """preprocessing_function converts, transforms and scales."""

    @pytest.mark.parametrize("mode", MODES)
    def test_scales_as_scale_does(self, images, mode):
        """Without a transform it is scale."""
        actual = preprocessing_function(mode=mode)(images[0].astype(np.float32))

        assert np.float32 == actual.dtype
        np.testing.assert_allclose(actual, scale(images[0], mode), rtol=1e-6, atol=1e-6)

    def test_mode_is_tf_by_default(self, images):
        """Pixels go to -1..1 unless told otherwise."""
        expected = images[0] / 127.5 - 1

        np.testing.assert_allclose(preprocessing_function()(images[0]), expected, atol=1e-6)

    def test_transform_sees_uint8(self, images, recorder):
        """Float pixels, as ImageDataGenerator hands them out, are uint8 for the transform."""
        preprocessing_function(recorder)(images[0].astype(np.float32))

        assert np.uint8 == recorder.seen[0].dtype
        np.testing.assert_array_equal(images[0], recorder.seen[0])

    def test_pixels_are_rounded(self, recorder):
        """Interpolated pixels are rounded to the nearest, and none wraps around."""
        pixels = np.array([[[0.4, 0.6, 254.5], [-0.3, 255.4, 100.0]]], dtype=np.float32)

        preprocessing_function(recorder)(pixels)

        assert [[[0, 1, 254], [0, 255, 100]]] == recorder.seen[0].tolist()

    @pytest.mark.parametrize("mode", MODES)
    def test_albumentations_then_scale(self, images, mode):
        """The transform acts on pixels, the scaling on its result."""
        function = preprocessing_function(A.Compose([A.HorizontalFlip(p=1)]), mode=mode)

        actual = function(images[0].astype(np.float32))

        np.testing.assert_array_equal(scale(images[0][:, ::-1], mode), actual)

    def test_plain_function_as_transform(self, images):
        """A function of an array that returns an array is a transform too."""

        def upside_down(image):
            return image[::-1]

        actual = preprocessing_function(upside_down, mode="unit")(images[0])

        np.testing.assert_array_equal(scale(images[0][::-1], "unit"), actual)

    def test_input_is_unchanged(self, images):
        """The array that was handed in keeps its pixels, even from a transform in place."""
        before = images[0].copy()

        def blacken(image):
            image[:] = 0
            return image

        preprocessing_function(blacken)(images[0])

        np.testing.assert_array_equal(before, images[0])

    def test_black_image_is_no_scaled_image(self, recorder):
        """An image that is black all over can be transformed."""
        preprocessing_function(recorder)(np.zeros((2, 2, 3), dtype=np.float32))

        assert 0 == recorder.seen[0].max()

    def test_nearly_black_image_is_no_scaled_image(self, recorder):
        """Whole-numbered pixels of 0 and 1 are a dark image, not a scaled one."""
        pixels = np.array([[[0, 1, 1], [0, 0, 1]]], dtype=np.float32)

        preprocessing_function(recorder)(pixels)

        np.testing.assert_array_equal(pixels, recorder.seen[0])

    @pytest.mark.parametrize(
        ("mode", "low", "high"), [("unit", "0", "1"), ("tf", "-1", "1"), ("caffe", "-124", "151")]
    )
    def test_scaled_pixels_are_refused(self, recorder, mode, low, high):
        """A transform is never given pixels that are scaled already."""
        pixels = scale(np.array([[[0, 0, 0], [100, 120, 140], [255, 255, 255]]]), mode)
        text = (
            r"^Images must be pixels in 0\.\.255 to be transformed\. Received: values from "
            rf"{low} to {high}\. Leave the scaling to `mode`\.$"
        )

        with pytest.raises(ValueError, match=text):
            preprocessing_function(recorder)(pixels)
        assert [] == recorder.seen

    def test_shape_must_be_kept(self, images):
        """A transform that changes the shape is refused, with the resize to add."""
        text = (
            r"^`transform` must keep the shape of the image, so that images can form a batch\. "
            r"Received: \(8, 10, 3\) became \(4, 4, 3\)\. End it with a resize, for example "
            r"albumentations\.Resize\(8, 10\)\.$"
        )

        with pytest.raises(ValueError, match=text):
            preprocessing_function(A.CenterCrop(4, 4))(images[0])

    @pytest.mark.parametrize("scaling", [A.Normalize(), A.ToFloat()])
    def test_scaling_in_the_transform_is_refused(self, images, scaling):
        """A transform that scales as well would scale twice, and is refused."""
        function = preprocessing_function(A.Compose([A.HorizontalFlip(), scaling]), mode="tf")

        with pytest.raises((TypeError, ValueError), match=r"`transform` must .*Received: .*float"):
            function(images[0])

    def test_unknown_mode(self):
        """A wrong mode is refused at once, with the nearest one."""
        text = (
            r"^`mode` must be one of 'tf', 'torch', 'caffe', 'unit' or 'none'\. "
            r"Received: mode='units'\. Did you mean 'unit'\?$"
        )

        with pytest.raises(ValueError, match=text):
            preprocessing_function(mode="units")


class TestImageDataGenerator:
    """image_data_generator is Keras's own, augmented and scaled right."""

    def test_is_keras_own(self):
        """What comes back is an ImageDataGenerator with its other arguments."""
        generator = image_data_generator(width_shift_range=0.1)

        assert isinstance(generator, tf.keras.preprocessing.image.ImageDataGenerator)
        assert 0.1 == generator.width_shift_range

    def test_albumentations_sees_uint8_through_flow(self, images, recorder):
        """Through flow, the transform gets every image as uint8, to the pixel."""
        generator = image_data_generator(recorder)

        next(generator.flow(images, batch_size=6, shuffle=False))

        assert {np.dtype(np.uint8)} == {image.dtype for image in recorder.seen}
        np.testing.assert_array_equal(images, recorder.seen)

    @pytest.mark.parametrize("mode", MODES)
    def test_flow_gives_scaled_images(self, images, mode):
        """A batch is what scale makes of the transformed images."""
        generator = image_data_generator(A.VerticalFlip(p=1), mode=mode)

        batch = next(generator.flow(images, batch_size=6, shuffle=False))

        np.testing.assert_array_equal(scale(images[:, ::-1], mode), batch)

    def test_flow_from_dataframe(self, make_folder, recorder):
        """With a table and flow_from_dataframe, images come in rows of the table's classes."""
        table = list_images(make_folder({"cat": 2, "dog": 3}), class_names=["dog", "cat"])
        generator = image_data_generator(recorder, mode="unit")

        flow = generator.flow_from_dataframe(
            table,
            x_col="file_paths",
            y_col="target_names",
            classes=["dog", "cat"],
            target_size=(16, 16),
            batch_size=5,
            shuffle=False,
        )
        batch, targets = next(flow)

        assert {np.dtype(np.uint8)} == {image.dtype for image in recorder.seen}
        assert table["targets"].tolist() == targets.argmax(axis=1).tolist()
        np.testing.assert_array_equal(scale(np.array(recorder.seen), "unit"), batch)

    def test_flow_from_directory(self, make_folder, recorder):
        """The generator works with folders too."""
        flow = image_data_generator(recorder).flow_from_directory(
            make_folder({"cat": 2, "dog": 2}), target_size=(16, 16), batch_size=4
        )

        batch, _ = next(flow)

        assert (4, 16, 16, 3) == batch.shape
        assert 4 == len(recorder.seen)

    @pytest.mark.parametrize("workers", [1, 2, 4])
    def test_fit_with_workers(self, rng, workers):
        """Through fit with threads that load, every image is transformed once and scaled once."""
        images = rng.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
        images[:, 0, 0, 0] = np.arange(60)
        flow = image_data_generator(A.HorizontalFlip(p=1), mode="tf").flow(
            images, np.zeros((60, 2)), batch_size=7, shuffle=False
        )
        flow.workers = workers
        as_it_is = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Identity()])
        model = keras.Sequential(
            [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
        )
        model.compile("sgd", "mse")

        model.fit(flow, epochs=2, verbose=0)
        batches = as_it_is.predict(flow, verbose=0)

        np.testing.assert_array_equal(scale(images[:, :, ::-1], "tf"), batches)

    def test_rescale_beside_a_mode(self):
        """Both `rescale` and a mode would scale twice."""
        text = (
            r"^`rescale` can't be combined with a mode: it is applied after it, so images would be "
            r"scaled twice\. Received: rescale=0\.5 and mode='tf'\. Leave `rescale` out, or pass "
            r"mode='none'\.$"
        )

        with pytest.raises(ValueError, match=text):
            image_data_generator(rescale=0.5)

    @pytest.mark.parametrize(
        "option", ["featurewise_center", "featurewise_std_normalization", "zca_whitening"]
    )
    def test_statistics_beside_a_mode(self, option):
        """`fit` takes them of raw images, `flow` applies them to scaled ones."""
        match = rf"^`{option}` can't be combined with a mode.*mode='tf'\. Pass mode='none'\.$"
        with pytest.raises(ValueError, match=match):
            image_data_generator(mode="tf", **{option: True})

    def test_statistics_without_a_mode(self, images):
        """Centered by `fit`, batches have a mean of 0."""
        generator = image_data_generator(mode="none", featurewise_center=True)
        generator.fit(images.astype("float32"))
        batch = next(generator.flow(images, batch_size=len(images)))

        assert abs(batch.mean()) < 1e-3

    def test_rescale_without_a_mode(self, images):
        """With mode="none", rescale is the one scaling."""
        generator = image_data_generator(mode="none", rescale=1 / 255)

        batch = next(generator.flow(images, batch_size=6, shuffle=False))

        np.testing.assert_allclose(batch, images / 255, rtol=1e-6)

    def test_validation_split_beside_a_transform(self):
        """With a transform, `validation_split` would augment the validation part."""
        text = (
            r"^`validation_split` can't be combined with a transform: the validation part would be "
            r"augmented\. Received: validation_split=0\.2\. Split with `split_table` and use "
            r"`flow_from_tables`\.$"
        )

        with pytest.raises(ValueError, match=text):
            image_data_generator(A.HorizontalFlip(), validation_split=0.2)

    def test_validation_split_without_a_transform(self):
        """Without a transform, validation_split does no harm."""
        generator = image_data_generator(validation_split=0.2)

        assert 0.2 == generator._validation_split

    def test_preprocessing_function_beside_ours(self):
        """There is one preprocessing function, and this makes it."""
        text = (
            r"^`preprocessing_function` can't be given, because this function makes it\. Received: "
            r"another one\. Pass it as `transform`\.$"
        )

        with pytest.raises(ValueError, match=text):
            image_data_generator(preprocessing_function=np.copy)

    def test_unknown_mode(self):
        """A wrong mode is refused when the generator is made."""
        with pytest.raises(ValueError, match=r"Received: mode='keras'"):
            image_data_generator(mode="keras")


@pytest.mark.parametrize("option", [{"rotation_range": 90}, {"horizontal_flip": True}])
def test_validation_split_beside_keras_augmentation_is_refused(option):
    """Keras's own augmentations reach the validation part too."""
    with pytest.raises(ValueError, match=r"`validation_split` can't be combined with a transform"):
        image_data_generator(validation_split=0.2, **option)
