"""Arrays that TensorFlow can use without a copy. It copies those that NumPy allocates itself."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_ALIGNMENT = 64  # bytes; the widest vector instructions, and so TensorFlow, require it


def empty_aligned(shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
    """Return an array like that of `np.empty`, but aligned to 64 bytes."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    room = np.empty(size + _ALIGNMENT, dtype=np.uint8)
    start = -room.ctypes.data % _ALIGNMENT
    return room[start : start + size].view(dtype).reshape(shape)
