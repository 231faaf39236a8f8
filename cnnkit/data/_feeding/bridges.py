"""albumentations and scaling in the form that Keras's ImageDataGenerator takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit._foundation.validation import check_one_of
from cnnkit.preprocess import scale
from cnnkit.preprocess._scaling import MODES
from cnnkit.preprocess._transforms import ImageTransform, Transform, check_same_shape

_STATISTICS = ("featurewise_center", "featurewise_std_normalization", "zca_whitening")
_KERAS_AUGMENTATIONS = (
    *("rotation_range", "width_shift_range", "height_shift_range", "brightness_range"),
    *("shear_range", "zoom_range", "channel_shift_range", "horizontal_flip", "vertical_flip"),
)


def preprocessing_function(
    transform: Transform | None = None, mode: str = "tf"
) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    """Turn an augmentation and a scaling mode into a function for ImageDataGenerator.

    ImageDataGenerator passes float32 pixels in 0..255. albumentations expects float32 pixels in
    0..1 and clips, which destroys the picture (albumentations#1156). The function therefore
    converts to uint8 first.

    Args:
        transform: An albumentations transform or anything with its protocol,
            `transform(image=array)["image"]`, or a function of an array. It must keep the shape.
        mode: A mode of `cnnkit.preprocess.scale`.

    Returns:
        A function from pixels `(height, width, channels)` in 0..255 to scaled float32. It receives
        nothing but the image, so the order of the calls determines what is drawn: with a seed, it
        is reproducible in one thread only. `image_dataset` has no such limit.

    Raises:
        ValueError: If the mode is unknown. The function raises one if the transform changes the
            shape, or if the pixels are already scaled.

    Example:
        >>> import albumentations as A
        >>> import numpy as np
        >>> from cnnkit.data import preprocessing_function
        >>> function = preprocessing_function(A.HorizontalFlip(p=1), mode="unit")
        >>> function(np.array([[[0.0], [255.0]]], dtype=np.float32)).ravel().tolist()
        [1.0, 0.0]
    """
    check_one_of("mode", mode, MODES)
    change = None if transform is None else ImageTransform(transform)

    def preprocess(image: NDArray[Any]) -> NDArray[np.float32]:
        if change is None:
            return scale(image, mode)
        pixels = _as_uint8(image)
        changed = change(pixels)
        check_same_shape(pixels.shape, changed.shape)
        return scale(changed, mode)

    return preprocess


def image_data_generator(
    transform: Transform | None = None, mode: str = "tf", **kwargs: Any
) -> Any:
    """Make a Keras ImageDataGenerator that augments and scales correctly.

    Use one with the transform for training, and one without it for validation and test. Keras
    itself reads the files: without antialiasing, and without applying the orientation in EXIF data.
    `flow_from_tables` has neither fault.

    Args:
        transform: As for `preprocessing_function`.
        mode: A mode of `cnnkit.preprocess.scale`.
        **kwargs: Further arguments of ImageDataGenerator.

    Returns:
        A `tf.keras.preprocessing.image.ImageDataGenerator`.

    Raises:
        ValueError: If `rescale` is combined with a mode, because images would be scaled twice; if
            statistics that `fit` computes are combined with a mode, because they would be computed
            from raw images; if `validation_split` is combined with a transform or one of Keras's
            own augmentations, because the validation part would be augmented; or if
            `preprocessing_function` is given.

    Example:
        >>> import numpy as np
        >>> from cnnkit.data import image_data_generator
        >>> generator = image_data_generator(mode="tf")
        >>> images = np.full((4, 8, 8, 3), 255, dtype=np.uint8)
        >>> batch = next(generator.flow(images, batch_size=4))
        >>> float(batch.min()), float(batch.max())
        (1.0, 1.0)
    """
    _check_options(transform, mode, kwargs)
    import tensorflow as tf

    return tf.keras.preprocessing.image.ImageDataGenerator(
        **kwargs | {"preprocessing_function": preprocessing_function(transform, mode)}
    )


def _check_options(transform: Transform | None, mode: str, kwargs: dict[str, Any]) -> None:
    """Raise a ValueError for options of ImageDataGenerator that spoil each other."""
    if kwargs.get("rescale") and mode != "none":
        msg = (
            "`rescale` can't be combined with a mode: it is applied after it, so images would be "
            f"scaled twice. Received: rescale={kwargs['rescale']!r} and mode={mode!r}. Leave "
            "`rescale` out, or pass mode='none'."
        )
        raise ValueError(msg)
    statistics = [name for name in _STATISTICS if kwargs.get(name)]
    if statistics and mode != "none":
        msg = (
            f"`{statistics[0]}` can't be combined with a mode: `fit` computes it from raw images, "
            f"but it is applied to scaled ones. Received: mode={mode!r}. Pass mode='none'."
        )
        raise ValueError(msg)
    augments = transform is not None or any(kwargs.get(name) for name in _KERAS_AUGMENTATIONS)
    if kwargs.get("validation_split") and augments:
        msg = (
            "`validation_split` can't be combined with a transform: the validation part would be "
            f"augmented. Received: validation_split={kwargs['validation_split']!r}. Split with "
            "`split_table` and use `flow_from_tables`."
        )
        raise ValueError(msg)
    if kwargs.get("preprocessing_function") is not None:
        msg = (
            "`preprocessing_function` can't be given, because this function makes it. Received: "
            "another one. Pass it as `transform`."
        )
        raise ValueError(msg)


def _as_uint8(image: NDArray[Any]) -> NDArray[np.uint8]:
    if image.dtype == np.uint8:
        return image
    low, high = float(image.min()), float(image.max())
    fractions = 0 < high <= 1 and bool((image % 1).any())
    if not (low >= -0.5 and high <= 255.5) or fractions:  # also for NaN
        msg = (
            "Images must be pixels in 0..255 to be transformed. "
            f"Received: values from {low:.3g} to {high:.3g}. Leave the scaling to `mode`."
        )
        raise ValueError(msg)
    pixels: NDArray[np.uint8] = np.rint(image).clip(0, 255).astype(np.uint8)
    return pixels
