"""Arrays that TensorFlow takes over as they are. NumPy's own it would copy first."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_ALIGNMENT = 64  # bytes: what the widest instructions want, and TensorFlow with them


def empty_aligned(shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
    """Return an array like `np.empty`, whose first byte lies at a multiple of 64."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    room = np.empty(size + _ALIGNMENT, dtype=np.uint8)
    start = -room.ctypes.data % _ALIGNMENT
    return room[start : start + size].view(dtype).reshape(shape)
