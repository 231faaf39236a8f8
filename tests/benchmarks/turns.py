"""Ways of feeding a model that take turns, each in a process of its own.

A process for each, because they leave traces: on Python 3.11 `Dataset.from_generator`, which Keras
puts under ImageDataGenerator, slows down all later allocations of memory in its process.
"""

import contextlib
import importlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pairs import median_and_low
from tqdm import tqdm

KINDS = ("fit", "iteration")
_own: dict[str, Any] = {}  # of a worker process: its data and its model


class Way(NamedTuple):
    """A function of `pipeline_peers.py` by its name, and its options."""

    function: str
    options: dict[str, Any]


def way(function: str, **options: Any) -> Way:
    return Way(function, options)


def compare(
    title: str, ways: dict[str, Way], folder: str, side: int, rounds: int, epochs: int = 1
) -> None:
    """Print images a second of each way, and how many times faster the first is.

    Short epochs are timed several at once.
    """
    pools = {name: _process(one, folder, side) for name, one in ways.items()}
    times = []
    for _ in tqdm(range(rounds + 1), title):
        row = {}
        for kind in KINDS:
            for name, pool in pools.items():
                row[name, kind] = pool.submit(_seconds, kind, epochs).result()
        times.append(row)
    images = next(iter(pools.values())).submit(_count).result()
    for pool in pools.values():
        pool.shutdown()
    table = pd.DataFrame(times[1:])  # the first round warms up
    table.columns = pd.MultiIndex.from_tuples(table.columns)
    _report(title, table, images)


def megabytes(folder: str, count: int, epochs: int) -> list[float]:
    """Return the memory of a fresh process after each epoch."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        sizes: list[float] = pool.submit(_megabytes, folder, count, epochs).result()
    return sizes


def _megabytes(folder: str, count: int, epochs: int) -> list[float]:
    with _closed_error_stream():
        peers = importlib.import_module("pipeline_peers")
    sizes: list[float] = peers.megabytes_after_epochs(folder, count, epochs)
    return sizes


def _process(one: Way, folder: str, side: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, context, _prepare, (one, folder, side))


def _prepare(one: Way, folder: str, side: int) -> None:
    with _closed_error_stream():
        peers = importlib.import_module("pipeline_peers")
        photos = peers.Photos(folder, side)
        made = getattr(peers, one.function)(photos, **one.options)
    _own.update(made=made, count=len(photos.table))
    if not callable(made):
        _own["model"] = peers.trivial_model(len(photos.table["target_names"].cat.categories))


@contextlib.contextmanager
def _closed_error_stream() -> Iterator[None]:
    """Silence what TensorFlow writes when it starts."""
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _count() -> int:
    return int(_own["count"])


def _seconds(kind: str, epochs: int) -> float:
    """Return the seconds of an epoch, by `fit` or by iteration; the bound tells its own."""
    made: Callable[[], float] | Any = _own["made"]
    if callable(made):
        return float(made())
    start = time.perf_counter()
    if kind == "fit":
        _own["model"].fit(made, epochs=epochs, shuffle=hasattr(made, "samples"), verbose=0)
    else:
        for _ in range(epochs):
            for _ in _batches_of(made):
                pass
    return (time.perf_counter() - start) / epochs


def _batches_of(data: Any) -> Iterable[Any]:
    """Return one epoch's batches; ImageDataGenerator's iterator would go on for ever."""
    return (data[place] for place in range(len(data))) if hasattr(data, "samples") else data


def _report(title: str, times: pd.DataFrame, images: int) -> None:
    first = times.columns[0][0]
    rows = []
    for name in dict.fromkeys(times.columns.get_level_values(0)):
        row: list[Any] = [name]
        for kind in KINDS:
            ratios = (times[name, kind] / times[first, kind]).to_numpy()
            row += [round(images / float(np.median(times[name, kind]))), *median_and_low(ratios)]
        rows.append(row)
    kinds = ("images/s in fit", "ratio", "low", "iterated", "ratio", "low")
    table = pd.DataFrame(rows, columns=[title, *kinds])
    print("\n" + table.to_string(index=False, float_format="{:.2f}".format), flush=True)
