"""The learning rates of a stage of fine-tuning: over its steps and from block to block."""

import warnings
from collections.abc import Sequence
from typing import Any

import keras

from cnnkit._keras.layerwise import with_factors
from cnnkit.transfer._blocks import blocks_of

_WARM_UP = 0.3  # of the steps of a stage, the share that fastai's one-cycle policy gives it
_START = 1 / 25  # of the peak rate, likewise
_LEAST = 0.01  # of the head's rate: DenseNet121 has 64 blocks; fastai's first layers get as much


def one_cycle(peak: float, steps: int) -> keras.optimizers.Optimizer:
    """Return Adam with a rate that rises to its peak and falls to 0 within the steps."""
    warm_up = int(_WARM_UP * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=peak * _START if warm_up else peak,
        decay_steps=max(1, steps - warm_up),
        warmup_target=peak if warm_up else None,
        warmup_steps=warm_up,
    )
    return keras.optimizers.Adam(schedule)


def constant(rate: float) -> keras.optimizers.Optimizer:
    """Return Adam with a constant rate and the same variables as `one_cycle`.

    A plain number would add a variable, which a schedule doesn't have, and the file of one
    optimizer couldn't be loaded into the other.
    """
    return keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(rate, 1, 1.0))


def decayed(
    optimizer: keras.optimizers.Optimizer,
    model: keras.Model,
    head: Sequence[Any],
    layer_decay: float,
) -> keras.optimizers.Optimizer:
    """Return an optimizer whose rate decreases from block to block, from the head to the input.

    It goes by variables, not by names, because Keras omits some names in a model that is loaded.

    Args:
        optimizer: An optimizer with one rate, which the head gets.
        model: The model, with what doesn't train frozen.
        head: The layers of the head.
        layer_decay: Factor of the rate from each block to the one before it.
    """
    blocks = [] if layer_decay == 1 else _backbone(model, head)
    if not blocks:
        return optimizer
    factors = {
        variable: max(layer_decay**distance, _LEAST)
        for distance, variables in enumerate(blocks, start=1)
        for variable in variables
    }
    return with_factors(optimizer, [factors.get(id(x), 1.0) for x in model.trainable_variables])


def _backbone(model: keras.Model, head: Sequence[Any]) -> list[set[int]]:
    """Return the trainable variables of each block before the head, from the last block on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a stage of NASNet counts as a block
        blocks = list(blocks_of(model).values())
    seen = _trained(head)
    parts = []
    for layers in reversed(blocks):
        new = _trained(layers) - seen  # the later use of a shared layer counts
        seen |= new
        parts.append(new)
    return [part for part in parts if part]


def _trained(layers: Sequence[Any]) -> set[int]:
    # A graph holds plain operations as well, which have no variables.
    return {id(x) for layer in layers for x in getattr(layer, "trainable_variables", ())}
