"""Run a script without the messages that TensorFlow writes while it is imported.

TensorFlow 2.21 writes them before any log level takes effect, so the error stream is closed for
the length of the import. A failed import still shows its traceback.

    python .ci/run_quietly.py SCRIPT [ARGUMENT …]
"""

import contextlib
import os
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def closed_error_stream() -> Iterator[None]:
    """Send everything that is written to the error stream nowhere."""
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


if __name__ == "__main__":
    with closed_error_stream():
        import tensorflow as tf  # noqa: F401  # imported for what it writes
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))
    runpy.run_path(sys.argv[0], run_name="__main__")
