"""The layer names of torchvision's GoogLeNet and of ours."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STEM = {"conv1": "conv1_7x7_s2", "conv2": "conv2_3x3_reduce", "conv3": "conv2_3x3"}
_BRANCHES = {
    "branch1": "1x1",
    "branch2.0": "3x3_reduce",
    "branch2.1": "3x3",
    "branch3.0": "5x5_reduce",
    "branch3.1": "5x5",
    "branch4.1": "pool_proj",
}
_MODULES = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
_CONVOLUTIONS = _STEM | {
    f"inception{module}.{branch}": f"inception_{module}_{ours}"
    for module in _MODULES
    for branch, ours in _BRANCHES.items()
}
_HEAD = {"fc.weight", "fc.bias"}
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")  # in Keras's order
_LEFT_OUT = re.compile(r"aux[12]\..*|.*\.num_batches_tracked")  # auxiliary heads are not loaded


def from_googlenet(
    state: Mapping[str, NDArray[Any]],
) -> dict[str, tuple[list[NDArray[Any]], dict[str, Any]]]:
    """Return the weights and the known configuration of each layer, by our names.

    Args:
        state: The state dict, with arrays in place of tensors.

    Raises:
        ValueError: If the state dict belongs to another network.
    """
    expected = _names_taken()
    left = {name for name in state if not _LEFT_OUT.fullmatch(name)} - expected
    missing = expected - state.keys()
    if missing == _HEAD:  # the whole head is missing, so the network was saved without it
        missing = set()
    if left or missing:
        some = f"with {sorted(left)[:3]}" if left else f"without {sorted(missing)[:3]}"
        resnet = "layer1.0.conv1.weight" in state
        hint = (
            " torchvision's ResNets differ in strides and padding. Use `weights='imagenet'`, which "
            "loads the weights of keras.applications."
        )
        msg = (
            "only the state dict of torchvision's googlenet can be converted. "
            f"Received: a state dict {some}.{hint if resnet else ''}"
        )
        raise ValueError(msg)
    return dict(_converted(state))


def _converted(
    state: Mapping[str, NDArray[Any]],
) -> Iterator[tuple[str, tuple[list[NDArray[Any]], dict[str, Any]]]]:
    for theirs, ours in _CONVOLUTIONS.items():
        yield ours, ([np.transpose(state[f"{theirs}.conv.weight"], (2, 3, 1, 0))], {})
        statistics = [state[f"{theirs}.bn.{part}"] for part in _BATCH_NORM]
        yield f"{ours}_bn", (statistics, {"epsilon": 1e-3})
    if "fc.weight" in state:
        yield "predictions", ([state["fc.weight"].T, state["fc.bias"]], {})


def _names_taken() -> set[str]:
    names = {f"{theirs}.bn.{part}" for theirs in _CONVOLUTIONS for part in _BATCH_NORM}
    return names | {f"{theirs}.conv.weight" for theirs in _CONVOLUTIONS} | _HEAD
