"""The description of a folder of records: `records.json`, beside the shards."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cnnkit._foundation.kept_files import naming
from cnnkit._foundation.validation import check_image_size, check_whole_number

NAME = "records.json"
_FORMAT = "cnnkit records 1"


@dataclass
class Manifest:
    """The content of `records.json`. It holds no file names, so no path is ever taken from it.

    Attributes:
        key: A digest of the images and of how they were read.
        shape: `(height, width, channels)` of every image.
        class_names: All class names in the order of their numbers, or None.
        in_class_order: Whether the images are sorted by class.
        images: How many images each shard holds.
        sha256: The checksum of each shard; None until it is written.
    """

    key: str
    shape: tuple[int, int, int]
    class_names: list[str] | None
    in_class_order: bool
    images: list[int]
    sha256: list[str | None]

    def shard(self, directory: Path, number: int) -> Path:
        """Return the path of a shard."""
        return directory / f"images-{number:05}-of-{len(self.images):05}.tfrecord"


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Replace `records.json` atomically."""
    path, part = directory / NAME, directory / f"{NAME}.part"
    try:
        with naming(path):
            part.write_text(json.dumps({"format": _FORMAT, **asdict(manifest)}, indent=1), "utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_manifest(directory: Path) -> Manifest:
    """Read and check `records.json`.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is not a manifest.
    """
    path = directory / NAME
    if not path.exists():
        msg = (
            f"`directory` must hold {NAME} and its shards, as `write_records` makes them. "
            f"Received: {os.fspath(directory)!r}, where it is missing."
        )
        raise FileNotFoundError(msg)
    try:
        return _checked(json.loads(path.read_text("utf-8")))
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        msg = (
            f"{NAME} must be as `write_records` made it. Received: {os.fspath(path)!r}, in which "
            f"something is missing or wrong: {error!r}. Write the records again, to another folder."
        )
        raise ValueError(msg) from error


def _checked(given: dict[str, Any]) -> Manifest:
    """Return a manifest if everything in it has the right form."""
    if given.pop("format") != _FORMAT:
        msg = f"the format is not {_FORMAT!r}"
        raise ValueError(msg)
    manifest = Manifest(**given)
    manifest.shape = *check_image_size(manifest.shape[:2]), manifest.shape[2]
    names = manifest.class_names or []
    sums = [told for told in manifest.sha256 if told is not None]
    if manifest.shape[2] not in (1, 3) or not all(isinstance(word, str) for word in names + sums):
        msg = "channels, class names or checksums"
        raise ValueError(msg)
    for count in manifest.images:
        check_whole_number("images", count, least=0)
    if not manifest.images or len(manifest.images) != len(manifest.sha256):
        msg = "as many counts as checksums, of one shard at least"
        raise ValueError(msg)
    return manifest
