"""Fixtures of the data tests: small images whose pixels tell which file they are."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

WriteImage = Callable[..., Path]
LevelTable = Callable[..., pd.DataFrame]


@pytest.fixture
def file_size_limit() -> Callable[[int], Any]:
    """Return a context manager within which no file grows larger, as on a full disk."""
    resource = pytest.importorskip("resource", reason="this system has no limits to set")

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        before, writes = resource.getrlimit(resource.RLIMIT_FSIZE), sys.dont_write_bytecode
        sys.dont_write_bytecode = True  # Python would keep a part of a module it imports meanwhile
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            sys.dont_write_bytecode = writes

    return limited


@pytest.fixture
def write_image(tmp_path: Path) -> WriteImage:
    """Return a function that saves pixels or a Pillow image under a name and returns the path."""

    def write(name: str, image: NDArray[Any] | Image.Image, **options: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
        picture.save(path, **options)
        return path

    return write


@pytest.fixture
def level_table(write_image: WriteImage) -> LevelTable:
    """Return a function that makes a table of images of one gray level each.

    Levels and class names are given row by row, so that an image tells its row.
    """

    def make(
        levels: Sequence[int], names: Sequence[str], size: tuple[int, int] = (8, 8)
    ) -> pd.DataFrame:
        paths = [
            str(write_image(f"level_{level:03}.png", np.full((*size, 3), level, dtype=np.uint8)))
            for level in levels
        ]
        target_names = pd.Categorical(names)
        return pd.DataFrame({"file_paths": paths, "target_names": target_names}).assign(
            targets=target_names.codes.astype("int64")
        )

    return make


@pytest.fixture
def pixels(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A wide picture of random pixels, which every rotation or flip changes."""
    return rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.fixture
def smooth() -> NDArray[np.uint8]:
    """A picture with smooth gradients, which lossy formats hardly change."""
    rows, columns = np.mgrid[0:64, 0:96]
    return np.stack([rows * 3, columns * 2, 255 - rows - columns], axis=-1).astype(np.uint8)
