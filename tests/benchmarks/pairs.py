"""The ratio of two times on the same work, from interleaved pairs: machines are noisy."""

import time
from collections.abc import Callable

import numpy as np

PAIRS = 21


def _nothing() -> None:
    """Prepare nothing."""


def seconds(function: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def ratio(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    pairs: int = PAIRS,
    prepare: Callable[[], object] = _nothing,
) -> tuple[float, float]:
    """Return the median of their time over ours, and the lower end of its 95 % interval.

    `prepare` runs before every call and isn't timed.
    """
    ratios = np.empty(pairs + 1)
    for pair in range(pairs + 1):
        prepare()
        their_time = seconds(theirs)
        prepare()
        ratios[pair] = their_time / seconds(ours)
    return median_and_low(ratios[1:])  # the first pair warms up


def median_and_low(ratios: np.ndarray) -> tuple[float, float]:
    """Return the median of ratios, and the lower end of its 95 % interval by bootstrap."""
    generator = np.random.default_rng(0)
    medians = np.median(generator.choice(ratios, (2000, len(ratios))), axis=1)
    return float(np.median(ratios)), float(np.quantile(medians, 0.025))
