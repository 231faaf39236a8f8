"""The draws of `show_augmentations`, read from matplotlib."""

import albumentations
import keras
import numpy as np
import pytest
from PIL import Image

from cnnkit.preprocess import scale
from cnnkit.viz import show_augmentations


@pytest.fixture
def image(batch):
    return batch[0]


@pytest.fixture
def photo(rng):
    """An image with room for many crops."""
    return rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)


def pixels(ax):
    """Return what a panel shows."""
    (picture,) = ax.images
    return np.asarray(picture.get_array())


def shown(axes):
    return [pixels(ax) for ax in axes]


def random_crop():
    """A transform that almost never draws the same twice."""
    return albumentations.RandomResizedCrop(size=(60, 80), scale=(0.2, 0.8))


def test_original_comes_first(image):
    """The first panel shows the image as it is."""
    axes = show_augmentations(image, albumentations.InvertImg(p=1.0))

    np.testing.assert_array_equal(image, pixels(axes[0]))


def test_draws_are_transformed(image):
    """Every panel but the first shows what the transform returns."""
    _, *draws = show_augmentations(image, albumentations.HorizontalFlip(p=1.0), draws=3)

    np.testing.assert_array_equal([image[:, ::-1]] * 3, shown(draws))


@pytest.mark.parametrize(("expected", "options"), [(8, {}), (3, {"draws": 2})])
def test_there_are_as_many_draws_as_asked_for(image, expected, options):
    """There are seven draws unless another number is asked for, and the original."""
    assert expected == len(show_augmentations(image, albumentations.HorizontalFlip(), **options))


def test_draws_are_numbered(image):
    """The titles distinguish the original and the draws."""
    axes = show_augmentations(image, albumentations.HorizontalFlip(), draws=2)

    assert ["original", "draw 1", "draw 2"] == [ax.get_title() for ax in axes]


def test_seeded_draws_repeat(photo):
    """The same seed gives the same draws, of another instance too."""
    first = shown(show_augmentations(photo, random_crop(), draws=3, seed=3))
    second = shown(show_augmentations(photo, random_crop(), draws=3, seed=3))

    np.testing.assert_array_equal(first, second)


def test_seeded_draws_repeat_whatever_was_drawn_before(photo):
    """A transform that has been used gives the same draws as a new one."""
    transform = albumentations.Compose([albumentations.HorizontalFlip(), random_crop()])
    first = shown(show_augmentations(photo, transform, draws=3, seed=3))
    transform(image=photo)
    second = shown(show_augmentations(photo, transform, draws=3, seed=3))

    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("seed", [None, 3])
def test_draws_differ(photo, seed):
    """No two draws of a transform with enough possibilities are the same."""
    transform = random_crop()
    transform.set_random_seed(0)
    _, *draws = shown(show_augmentations(photo, transform, draws=4, seed=seed))

    assert 4 == len({draw.tobytes() for draw in draws})


def test_other_seeds_draw_otherwise(photo):
    """Two seeds give different draws."""
    first, second = (
        {
            draw.tobytes()
            for draw in shown(show_augmentations(photo, random_crop(), draws=3, seed=seed))[1:]
        }
        for seed in (3, 4)
    )

    assert set() == first & second


def test_flips_of_a_seeded_compose_are_independent(image):
    """Two flips occur separately and together, unlike with albumentations' own seeds."""
    transform = albumentations.Compose(
        [albumentations.HorizontalFlip(p=0.5), albumentations.VerticalFlip(p=0.5)]
    )
    axes = show_augmentations(image, transform, draws=12, seed=0)
    possible = [image, image[:, ::-1], image[::-1], image[::-1, ::-1]]

    assert {picture.tobytes() for picture in possible} == {
        draw.tobytes() for draw in shown(axes[1:])
    }


def test_paths_are_augmented(tmp_path, image):
    """A path stands for the image in its file."""
    path = tmp_path / "image.png"
    Image.fromarray(image).save(path)
    axes = show_augmentations(path, albumentations.HorizontalFlip(p=1.0), draws=1)

    np.testing.assert_array_equal([image, image[:, ::-1]], shown(axes))


def test_results_may_differ_in_size(image):
    """A transform may change the size of the image."""
    axes = show_augmentations(image, albumentations.Resize(3, 4), draws=1)

    assert [(6, 8, 3), (3, 4, 3)] == [picture.shape for picture in shown(axes)]


def test_any_transform_with_the_protocol_will_do(image):
    """A callable that takes `image=` and returns a dict need not come from albumentations."""
    axes = show_augmentations(image, lambda image: {"image": 255 - image}, draws=1)

    np.testing.assert_array_equal(255 - image, pixels(axes[1]))


def test_function_of_an_array_will_do(image):
    """A function of one array is applied to the image, whatever its argument's name."""
    axes = show_augmentations(image, np.fliplr, draws=1)

    np.testing.assert_array_equal(image[:, ::-1], pixels(axes[1]))


def test_keras_layers_are_applied(image):
    """A layer of Keras augments as it does in training."""
    flip = keras.layers.RandomFlip("horizontal", seed=0)
    draws = shown(show_augmentations(image, flip, draws=8)[1:])

    assert {image.tobytes(), image[:, ::-1].tobytes()} == {draw.tobytes() for draw in draws}


def test_image_data_generators_are_applied(image):
    """An ImageDataGenerator of Keras augments as it does in training."""
    import tensorflow as tf

    generator = tf.keras.preprocessing.image.ImageDataGenerator(horizontal_flip=True)
    draws = shown(show_augmentations(image, generator, draws=8)[1:])

    assert {image.tobytes(), image[:, ::-1].tobytes()} == {draw.tobytes() for draw in draws}


def test_augmented_image_is_not_changed(image):
    """The image that is handed in stays as it is, also if the transform works in place."""
    before = image.copy()

    def blacken(image):
        image[:] = 0
        return {"image": image}

    show_augmentations(image, blacken, draws=1)

    np.testing.assert_array_equal(before, image, strict=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_other_types_are_not_augmented(image, dtype):
    """An image that is not uint8 is refused, because transforms take floats for 0..1."""
    message = (
        r"^`image` must be one image \(height, width, channels\), uint8 in 0\.\.255, because "
        rf"transforms take floats for 0\.\.1\. Received: {np.dtype(dtype)} of shape .*before it is"
    )

    with pytest.raises(ValueError, match=message):
        show_augmentations(image.astype(dtype), albumentations.HorizontalFlip())


def test_scaled_images_are_not_augmented(image):
    """A scaled image is rejected."""
    with pytest.raises(ValueError, match=r"^`image` must be one image .*uint8 in 0\.\.255"):
        show_augmentations(scale(image, "unit"), albumentations.HorizontalFlip())


@pytest.mark.parametrize("draws", [0, -1, True])
def test_no_draws_are_an_error(image, draws):
    """There must be at least one draw."""
    message = rf"^`draws` must be a whole number of at least 1\. Received: draws={draws}\.$"

    with pytest.raises(ValueError, match=message):
        show_augmentations(image, albumentations.HorizontalFlip(), draws=draws)


def test_fractions_of_draws_are_errors(image):
    """The number of draws must be a whole number."""
    message = r"^`draws` must be a whole number\. Received: draws=2\.5\.$"

    with pytest.raises(TypeError, match=message):
        show_augmentations(image, albumentations.HorizontalFlip(), draws=2.5)


def test_a_batch_is_not_augmented_as_one_image(batch):
    """A batch would be mistaken for an image."""
    with pytest.raises(ValueError, match=r"`image` must be one image .*of shape \(5, "):
        show_augmentations(batch, np.fliplr)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (albumentations.Normalize(), r"Received: float32\. Leave scaling out of it"),
        (keras.layers.Rescaling(1 / 255), r"Received: values from .* Leave the scaling out of it"),
        (lambda _image: None, r"Received: NoneType\."),
    ],
    ids=["albumentations", "Keras", "nothing"],
)
def test_transforms_that_give_no_pixels_are_errors(image, transform, message):
    """Scaling is the model's task, and scaled pixels show nothing."""
    with pytest.raises(ValueError, match=rf"^`transform` must give .*{message}"):
        show_augmentations(image, transform)


def test_keras_layers_take_other_sizes_after_they_were_shown(image):
    """Otherwise, the Sequential would be built for the size of the photo."""
    layers = keras.Sequential([keras.layers.RandomFlip(seed=1), keras.layers.RandomRotation(0.1)])
    drawn = show_augmentations(image, layers, draws=2)

    assert 3 == len(drawn)
    assert (None, 5, 5, 3) == layers(keras.Input((5, 5, 3))).shape
    assert 3 == len(show_augmentations(image[:5, :5], layers, draws=2))
