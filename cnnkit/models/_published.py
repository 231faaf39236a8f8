"""The `weights` argument of the builders."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import keras

from cnnkit.models._weights import load_weights


def check_published(
    weights: object,
    rule: str,
    *,
    available: bool,
    received: str,
    input_shape: Sequence[int | None],
) -> None:
    """Raise a ValueError if `weights` is misspelled, or published weights do not exist.

    Args:
        weights: The argument of the builder.
        rule: The networks that published weights exist for.
        available: Whether they exist for the requested network.
        received: A description of the requested network.
        input_shape: The shape of the images.
    """
    if weights != "imagenet":
        if isinstance(weights, str) and not Path(weights).suffix:
            msg = (
                "`weights` must be None, 'imagenet' or the path of a file. "
                f"Received: weights={weights!r}."
            )
            raise ValueError(msg)
        return
    if not available:
        msg = (
            f"`weights='imagenet'` is {rule}. Received: {received}. Use weights=None to train "
            "from scratch."
        )
        raise ValueError(msg)
    if tuple(input_shape)[-1] != 3:
        msg = (
            "`weights='imagenet'` needs three channels. "
            f"Received: input_shape={input_shape!r}. Repeat a grayscale image three times, for "
            "example with `to_grayscale(image, keep_channels=True)`."
        )
        raise ValueError(msg)


def model_name(name: str | None, architecture: str, weights: object) -> str:
    """Return the name of the model: that of keras.applications only with published weights."""
    plain = architecture.lower()
    return name or (plain if weights == "imagenet" else f"cnnkit_{plain}")


def start_from(
    model: keras.Model,
    weights: str | PathLike[str] | None,
    architecture: str = "",
    *,
    whole: bool = False,
) -> keras.Model:
    """Load the weights that a builder was asked for, and return the model.

    Args:
        model: The new network.
        weights: The argument of the builder.
        architecture: Name of the same network in keras.applications, which downloads the weights.
        whole: If True, load the published head too.
    """
    if weights == "imagenet":
        twin = getattr(keras.applications, architecture)(weights="imagenet", include_top=whole)
        load_weights(model, twin, skip_head=not whole)
    elif weights is not None:
        load_weights(model, weights)
    return model
