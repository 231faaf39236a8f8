"""Reading weights layer by layer from Keras, HDF5, PyTorch, safetensors and NumPy files."""

import importlib
import json
import pickle
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import h5py
import keras
import numpy as np
from numpy.typing import NDArray

from cnnkit._foundation.validation import listed
from cnnkit._keras.graph import DuplicateName, has_outputs, head_of, unique, weighted_layers
from cnnkit.models._torch_names import from_googlenet


class SourceLayer(NamedTuple):
    """The weights of one layer.

    Attributes:
        arrays: The weights in Keras's order.
        config: The configuration of the layer, as far as the source contains it.
        in_head: Whether the layer comes after the last feature maps; None if the source does not
            say.
    """

    arrays: list[NDArray[Any]]
    config: Mapping[str, Any]
    in_head: bool | None = None


Layers = dict[str, SourceLayer]


def read_layers(path: Path) -> Layers:
    """Return all layers of a file that have weights, by name.

    Args:
        path: The path of the file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ImportError: If a package that reads this kind of file is not installed.
        ValueError: If the kind of file is unknown or the file is damaged.
    """
    reader = next((read for ending, read in _READERS.items() if path.name.endswith(ending)), None)
    if reader is None:
        msg = (
            f"`source` must be a model or a file that ends in {listed(_READERS)}. "
            f"Received: {str(path)!r}."
        )
        raise ValueError(msg)
    if not path.is_file():
        msg = f"`source` must be a file that exists. Received: {str(path)!r}."
        raise FileNotFoundError(msg)
    try:
        return _some(reader(path))
    except (DuplicateName, ImportError):
        raise
    except Exception as error:  # the libraries that read the files raise many types
        reason = (str(error) or type(error).__name__).splitlines()[0]
        msg = f"Could not read weights from {str(path)!r}: {reason}"
        raise ValueError(msg) from error


def _some(layers: Layers) -> Layers:
    if not layers:
        msg = "it holds no weights that belong to layers."
        raise ValueError(msg)
    return layers


def layers_of_model(model: keras.Model) -> Layers:
    """Return all layers of a model that have weights, by name."""
    head = head_of(model) if has_outputs(model) else None
    return {
        name: SourceLayer(
            layer.get_weights(), layer.get_config(), None if head is None else name in head
        )
        for name, layer in weighted_layers(model).items()
    }


def _from_keras(path: Path) -> Layers:
    _check_zip(path, "config.json")
    return layers_of_model(keras.saving.load_model(path, compile=False, safe_mode=True))


def _check_zip(path: Path, member: str = "") -> None:
    """Raise a ValueError if a file is not a zip archive or lacks a member."""
    msg = f"it is damaged or not a {path.suffix} file."
    if not zipfile.is_zipfile(path):
        raise ValueError(msg)
    with zipfile.ZipFile(path) as archive:
        if member not in ("", *archive.namelist()):
            raise ValueError(msg)


def _from_hdf5(path: Path) -> Layers:
    with h5py.File(path) as file:
        if "layer_names" in file.attrs:
            return _from_old_groups(file, {})
        if "model_weights" in file:
            return _from_old_groups(file["model_weights"], _configs_in(file))
        return unique(_from_new_groups(file))


def _from_old_groups(file: Any, configs: Mapping[str, Any]) -> Layers:
    """Read the format of Keras 1 and 2, in which keras.applications publishes weights.

    It has a group for each layer. The group of a nested model holds the weights of all its layers;
    the name of each weight contains the name of its layer.
    """
    layers = []
    for name in map(_text, file.attrs["layer_names"]):
        weights = [_text(weight) for weight in file[name].attrs["weight_names"]]
        owners = [weight.split("/")[-2] if "/" in weight else name for weight in weights]
        several = len(set(owners)) > 1 and "/" not in name  # "/" names a Keras 1 layer
        is_model = several or "layers" in configs.get(name, {})
        grouped = defaultdict(list)
        for weight, owner in zip(weights, owners, strict=True):
            grouped[owner if is_model else name].append(np.asarray(file[name][weight]))
        layers += [
            (own, SourceLayer(arrays, configs.get(own, {}))) for own, arrays in grouped.items()
        ]
    return unique(layers)


def _configs_in(file: Any) -> dict[str, Any]:
    """Return the configuration of each layer of a whole model in HDF5, nested ones included."""
    configs = {}
    waiting = [json.loads(_text(file.attrs["model_config"]))["config"]]
    while waiting:
        config = waiting.pop()
        configs[config.get("name", "")] = config
        waiting += [layer["config"] for layer in config.get("layers", ())]
    return configs


def _from_new_groups(group: Any) -> Iterator[tuple[str, SourceLayer]]:
    """Read the format of `save_weights` in Keras 3: numbered weights and the name of the layer."""
    for key, inner in group.items():
        if key == "vars" and len(inner) and "name" in inner.attrs:
            arrays = [_array(inner[str(number)]) for number in range(len(inner))]
            yield _text(inner.attrs["name"]), SourceLayer(arrays, {})
        elif isinstance(inner, h5py.Group) and key not in ("optimizer", "seed_generator"):
            yield from _from_new_groups(inner)


def _array(stored: Any) -> NDArray[Any]:
    """Return an array. HDF5 has no bfloat16: Keras stores its bytes and sets an attribute."""
    array = np.asarray(stored)
    if stored.attrs.get("dtype") != "bfloat16":
        return array
    return (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _from_torch(path: Path) -> Layers:
    torch = _package("torch", path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        msg = "it is damaged or holds more than weights. Save `model.state_dict()`."
        raise ValueError(msg) from None
    if not (isinstance(state, Mapping) and all(hasattr(part, "numpy") for part in state.values())):
        msg = "it does not hold a state dict. Save `model.state_dict()`."
        raise ValueError(msg)
    return _converted({name: tensor.numpy() for name, tensor in state.items()})


def _from_safetensors(path: Path) -> Layers:
    return _converted(_package("safetensors.numpy", path).load_file(path))


def _from_npz(path: Path) -> Layers:
    _check_zip(path)
    with path.open("rb") as opened, np.load(opened) as file:
        return _converted(dict(file))


def _converted(state: Mapping[str, NDArray[Any]]) -> Layers:
    return {name: SourceLayer(*layer) for name, layer in from_googlenet(state).items()}


def _package(name: str, path: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.split(".", maxsplit=1)[0]
        msg = (
            f"Reading {path.name!r} needs the package {package}. Install it, or save the state "
            "dict with `numpy.savez` on a machine that has it."
        )
        raise ImportError(msg) from None


_READERS: dict[str, Callable[[Path], Layers]] = {
    ".keras": _from_keras,
    ".h5": _from_hdf5,
    ".hdf5": _from_hdf5,
    ".pth": _from_torch,
    ".pt": _from_torch,
    ".safetensors": _from_safetensors,
    ".npz": _from_npz,
}
