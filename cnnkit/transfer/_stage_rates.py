"""The learning rates of a stage of fine-tuning: over its steps, and from block to block."""

import warnings
from collections.abc import Collection
from typing import Any

import keras

from cnnkit.models._graph import leaves_of
from cnnkit.transfer._blocks import blocks_of
from cnnkit.transfer._layerwise import with_factors

_WARM_UP = 0.3  # of the steps of a stage, the share that fastai's one-cycle policy gives it
_START = 1 / 25  # of the peak rate, likewise


def one_cycle(peak: float, steps: int) -> keras.optimizers.Optimizer:
    """Return Adam with a rate that rises to its peak and falls to 0 in so many steps."""
    warm_up = int(_WARM_UP * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=peak * _START if warm_up else peak,
        decay_steps=max(1, steps - warm_up),
        warmup_target=peak if warm_up else None,
        warmup_steps=warm_up,
    )
    return keras.optimizers.Adam(schedule)


def constant(rate: float) -> keras.optimizers.Optimizer:
    """Return Adam with a rate that stays, and the variables of `one_cycle`.

    A number would be a variable more, where a schedule is none, and files couldn't be loaded.
    """
    return keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(rate, 1, 1.0))


def decayed(
    optimizer: keras.optimizers.Optimizer,
    model: keras.Model,
    head: Collection[str],
    layer_decay: float,
) -> keras.optimizers.Optimizer:
    """Return an optimizer with a rate that falls from block to block, from the head to the input.

    By the variables and not by names: of a model that is loaded Keras leaves some names out.

    Args:
        optimizer: An optimizer with one rate, which the head keeps.
        model: The model, with what doesn't train frozen.
        head: Names of the layers of the head.
        layer_decay: Factor from each block to the one in front of it.
    """
    blocks = _backbone(model, head)
    if not blocks or layer_decay == 1:
        return optimizer
    factors = {
        id(variable): layer_decay**distance
        for distance, variables in enumerate(reversed(blocks), start=1)
        for variable in variables
    }
    return with_factors(optimizer, [factors.get(id(x), 1.0) for x in model.trainable_variables])


def _backbone(model: keras.Model, head: Collection[str]) -> list[list[Any]]:
    """Return what trains of each block in front of the head, from the input on."""
    of_head = {id(leaf) for top in model.layers if top.name in head for leaf in leaves_of(top)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a stage of NASNet does for a block
        blocks = blocks_of(model).values()
    layers = [[layer for layer in block if id(layer) not in of_head] for block in blocks]
    trained = [[x for layer in block for x in _trained(layer)] for block in layers]
    return [variables for variables in trained if variables]


def _trained(layer: Any) -> list[Any]:
    return getattr(layer, "trainable_variables", [])  # a graph holds plain operations as well
