"""Digests, which tell whether two files have the same content."""

import hashlib
from pathlib import Path


def digest(path: str) -> str:
    """Return the SHA-256 of a file, or its path if it can't be read."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return path
