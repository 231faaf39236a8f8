"""A file that can't be read is an error that names it."""

import gc
import importlib
import itertools
import re
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from cnnkit.models import load_weights


def halved(data: bytes) -> bytes:
    return data[: len(data) // 2]


def overwritten(data: bytes) -> bytes:
    """Turn bits in the middle, where most of a file's numbers are."""
    middle = len(data) // 2
    turned = bytes(255 ^ byte for byte in data[middle - 200 : middle + 200])
    return data[: middle - 200] + turned + data[middle + 200 :]


def pointer(_: bytes) -> bytes:
    """Return the pointer that replaces a file that Git LFS has not fetched."""
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 52147035\n"


def emptied(_: bytes) -> bytes:
    return b""


def renamed_zip(_: bytes) -> bytes:
    """Return an archive of something else."""
    return b"PK\x05\x06" + 18 * b"\0"


DAMAGES = [halved, pointer, emptied, renamed_zip]


@pytest.fixture
def no_file_left_open():
    """Make Python warn about open files in the test that left them open, not in a later one."""
    gc.freeze()  # what was there before needn't be looked through
    yield
    gc.collect()
    gc.unfreeze()


class TestFiles:
    """A file that can't be read is an error that names it."""

    @pytest.mark.parametrize("ending", ["", ".txt", ".H5", ".pb", ".ckpt.index", ".zip"])
    def test_an_unknown_kind(self, tmp_path, ending, network, assert_refused) -> None:
        """The error lists the kinds that there are."""
        path = tmp_path / f"model{ending}"
        path.touch()
        text = (
            r"^`source` must be a model or a file that ends in \.keras, \.h5, \.hdf5, \.pth, \.pt, "
            rf"\.safetensors or \.npz\. Received: '{re.escape(str(path))}'\.$"
        )

        assert_refused(network(), path, text)

    @pytest.mark.parametrize(
        "ending", [".keras", ".h5", ".weights.h5", ".hdf5", ".pth", ".pt", ".safetensors", ".npz"]
    )
    def test_a_missing_file(self, tmp_path, ending, network) -> None:
        """It isn't taken for a damaged one."""
        path = tmp_path / f"model{ending}"
        text = rf"^`source` must be a file that exists\. Received: '{re.escape(str(path))}'\.$"

        with pytest.raises(FileNotFoundError, match=text):
            load_weights(network(), path)

    def test_a_folder(self, tmp_path, network) -> None:
        """A folder is no file, whatever its name."""
        (tmp_path / "model.keras").mkdir()

        with pytest.raises(FileNotFoundError, match="`source` must be a file that exists"):
            load_weights(network(), tmp_path / "model.keras")

    @pytest.mark.parametrize("damage", [*DAMAGES, overwritten])
    @pytest.mark.parametrize("write", [".keras", "whole .h5", ".weights.h5"], indirect=True)
    def test_a_damaged_file_of_keras(self, write, damage, network, filled, assert_refused) -> None:
        """Whatever the reader raises, the error is a ValueError that names the file."""
        path = Path(write(filled(network())))
        path.write_bytes(damage(path.read_bytes()))

        text = rf"^Could not read weights from '{re.escape(str(path))}': \S"
        assert_refused(network(), path, text)

    @pytest.mark.usefixtures("no_file_left_open")
    @pytest.mark.parametrize(
        ("ending", "damage"),
        [
            *itertools.product([".pth", ".safetensors", ".npz"], DAMAGES),
            (".npz", overwritten),  # the others have no checksums
        ],
    )
    def test_a_damaged_state_dict(
        self, tmp_path, rng, ending, damage, network, assert_refused, write_state
    ) -> None:
        """Whatever the reader raises, the error is a ValueError that names the file."""
        state = {"conv1.conv.weight": rng.random((64, 3, 7, 7), dtype="float32")}
        path = write_state(state, tmp_path / f"state{ending}")
        path.write_bytes(damage(path.read_bytes()))

        text = rf"^Could not read weights from '{re.escape(str(path))}': \S"
        assert_refused(network(), path, text)

    def test_an_archive_without_weights(self, tmp_path, network, assert_refused) -> None:
        """A .keras file must hold a model."""
        path = tmp_path / "model.keras"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "{")

        assert_refused(network(), path, r"^Could not read weights from '.*model\.keras': \S")

    @pytest.mark.parametrize("content", [b"", b"no archive", None])
    def test_a_keras_file_that_is_none(self, tmp_path, content, network, assert_refused) -> None:
        """The error says that the file is damaged, not that it is missing."""
        path = tmp_path / "model.keras"
        if content is None:
            zipfile.ZipFile(path, "w").close()
        else:
            path.write_bytes(content)

        assert_refused(network(), path, r"model\.keras': it is damaged or not a \.keras file\.$")

    def test_an_array_that_is_called_npz(self, tmp_path, network, assert_refused) -> None:
        """One array is no state dict."""
        np.save(tmp_path / "array.npy", np.zeros(3))
        path = (tmp_path / "array.npy").rename(tmp_path / "state.npz")

        assert_refused(network(), path, r"state\.npz': it is damaged or not a \.npz file\.$")

    @pytest.mark.parametrize(
        "content",
        [
            lambda torch: {"state_dict": {"fc.weight": torch.zeros(2, 2)}, "epoch": 3},
            lambda torch: [torch.zeros(2)],
            lambda torch: torch.zeros(2),
            lambda torch: torch.nn.Linear(2, 2),
        ],
        ids=["checkpoint", "list", "tensor", "module"],
    )
    def test_something_else_of_pytorch(self, tmp_path, content, network, assert_refused) -> None:
        """A checkpoint with more than the state dict, or a whole module, is named as a file too."""
        torch = pytest.importorskip("torch")
        torch.save(content(torch), tmp_path / "model.pth")

        is_module = isinstance(content(torch), torch.nn.Module)
        told = (
            "is damaged or holds more than weights" if is_module else "does not hold a state dict"
        )
        advice = r"Save `model.state_dict\(\)`.$"
        text = rf"^Could not read weights from '.*model\.pth': it {told}.*\. {advice}"
        assert_refused(network(), tmp_path / "model.pth", text)

    def test_a_file_of_no_weights(self, tmp_path, network, assert_refused) -> None:
        """An HDF5 file without weights gets a different error than weights of another network."""
        with h5py.File(tmp_path / "data.h5", "w") as file:
            file["data"] = np.zeros(3)

        assert_refused(
            network(), tmp_path / "data.h5", r"data\.h5': it holds no weights that belong to "
        )

    @pytest.mark.parametrize(
        ("ending", "package"),
        [(".pth", "torch"), (".pt", "torch"), (".safetensors", "safetensors")],
    )
    def test_a_package_that_is_not_installed(
        self, tmp_path, monkeypatch, ending, package, network, bits
    ) -> None:
        """The error names the package and a way to do without it."""
        path = tmp_path / f"state{ending}"
        path.touch()
        model = network()
        before = bits(model)
        text = (
            rf"^Reading 'state{ending}' needs the package {package}\. Install it, or save the "
            r"state dict with `numpy\.savez` on a machine that has it\.$"
        )

        def missing(name):
            raise ModuleNotFoundError(name)

        monkeypatch.setattr(importlib, "import_module", missing)
        with pytest.raises(ImportError, match=text):
            load_weights(model, path)
        assert before == bits(model)
