"""The learning rate range test."""

import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cnnkit._foundation.validation import check_whole_number
from cnnkit._keras.compiling import fresh_optimizer, renew_train_step
from cnnkit._keras.distribution import check_batches, check_distribution
from cnnkit._keras.optimizers import inner_of
from cnnkit.transfer._data_checks import batches_of, check_inputs, count_images

_DIVERGED = 4.0  # times the smallest smoothed loss
_NOISE = 10  # steps that show how much the loss varies between batches


class LearningRateScan(NamedTuple):
    """The result of `find_learning_rate`.

    Attributes:
        learning_rates: The learning rate of each step.
        losses: The loss of the batch of each step.
        suggestion: A learning rate to train with.
    """

    learning_rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    suggestion: float


def find_learning_rate(
    model: keras.Model,
    data: Any,
    *,
    lowest: float = 1e-6,
    highest: float = 1.0,
    steps: int = 100,
    batch_size: int = 32,
    progress: bool = True,
) -> LearningRateScan:
    """Suggest a learning rate from a short training run in which the rate rises at every step.

    This is the range test of Smith, "Cyclical learning rates for training neural networks", 2017,
    arXiv:1506.01186. The suggested rate lies in the middle of the longest descent of the loss, as
    in fastai's "valley", because the steepest point alone is mostly noise. The run stops when the
    loss diverges. The model is the same before and after.

    Args:
        model: A compiled model. Its weights, its optimizer and the states of its random layers are
            restored bit for bit. So are the global random states of Python and NumPy.
        data: Arrays `(images, targets)`, a dataset or a PyDataset, as for `fit`. It is repeated as
            often as needed.
        lowest: Learning rate of the first step.
        highest: Learning rate of the last step.
        steps: Number of steps; each trains on one batch.
        batch_size: Images per batch, for arrays.
        progress: If True, show a progress bar.

    Returns:
        The rates, the losses and the suggestion. `cnnkit.viz.plot_learning_rate` draws them.

    Raises:
        ValueError: If the model isn't compiled, if all its layers are frozen, if its optimizer uses
            a schedule, if the images don't fit the model's input or are already scaled although the
            model scales them, if the classes are in another order, or if the loss is not a number
            at the first step.

    Example:
        >>> import numpy as np
        >>> from cnnkit.models import simple_cnn
        >>> from cnnkit.transfer import find_learning_rate
        >>> model = simple_cnn((8, 8, 1), 2, filters=(4,), mode="unit")
        >>> model.compile("adam", loss="sparse_categorical_crossentropy")
        >>> images = np.zeros((64, 8, 8, 1), dtype=np.uint8)
        >>> scan = find_learning_rate(model, (images, np.arange(64) % 2), progress=False)
        >>> 1e-6 < scan.suggestion < 1
        True
    """
    check_whole_number("steps", steps, least=10)
    check_whole_number("batch_size", batch_size)
    _check_model(model)
    check_distribution(model)
    if not 0 < lowest < highest:
        msg = (
            "`lowest` must be above 0 and below `highest`. "
            f"Received: lowest={lowest!r}, highest={highest!r}."
        )
        raise ValueError(msg)
    rates = np.geomspace(lowest, highest, steps)
    losses: list[float] = []
    with _restored(model):
        images, _ = check_inputs(model, "data", data, batch_size)
        check_batches(model, "data", len(images), count_images(data))
        batches = itertools.chain.from_iterable(
            batches_of(data, batch_size) for _ in itertools.count()
        )
        for rate in tqdm(rates, "rates", disable=not progress):
            model.optimizer.learning_rate = rate
            model.reset_metrics()
            loss = model.train_on_batch(*next(batches), return_dict=True)["loss"]
            losses.append(float(loss))
            if not np.isfinite(losses[-1]) or _diverged(_smooth(np.array(losses))):
                break
    finite = np.isfinite(losses)
    if not finite[0]:
        msg = (
            "The loss must be a number at the first step. "
            f"Received: {losses[0]}. Check the scaling of the images and the labels."
        )
        raise ValueError(msg)
    kept = np.array(losses)[finite]
    return LearningRateScan(rates[: len(kept)], kept, float(rates[_valley(_smooth(kept))]))


def _check_model(model: keras.Model) -> None:
    if not model.compiled:
        msg = (
            "`model` must be compiled. Received: a model without loss. Call `model.compile` first."
        )
        raise ValueError(msg)
    if not model.trainable_weights:
        msg = (
            "`model` must have trainable weights. Received: a model whose layers are all frozen. "
            "Unfreeze some with `cnnkit.transfer.unfreeze`."
        )
        raise ValueError(msg)
    rate = inner_of(model.optimizer).get_config()["learning_rate"]
    if isinstance(rate, dict):  # the configuration of a schedule
        msg = (
            "`model` must be compiled with a number as learning rate, because the range test sets "
            "the rate. Received: a schedule. Compile the model with any number first."
        )
        raise ValueError(msg)  # noqa: TRY004  # the type is right, its setting isn't


@contextmanager
def _restored(model: keras.Model) -> Iterator[None]:
    """Give the model a new optimizer with the same settings, and restore everything at the end."""
    optimizer = model.optimizer
    values = [keras.ops.convert_to_numpy(variable).copy() for variable in model.variables]
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  # other code may use them
    renew_train_step(model, fresh_optimizer(model))
    try:
        yield
    finally:
        renew_train_step(model, optimizer, builds=False)
        for variable, value in zip(model.variables, values, strict=False):
            variable.assign(value)
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


def _diverged(smooth: NDArray[np.float64]) -> bool:
    """Tell whether the loss has risen far above its minimum and above the noise of the start."""
    rise = smooth[-1] - smooth.min()
    far = rise > (_DIVERGED - 1) * abs(smooth.min())
    return bool(len(smooth) > _NOISE and far and smooth[-1] > smooth[:_NOISE].max())


def _smooth(losses: NDArray[np.float64], weight: float = 0.9) -> NDArray[np.float64]:
    """Return the exponential moving average of the losses, with bias correction."""
    mean, smooth = 0.0, np.empty_like(losses)
    for step, loss in enumerate(losses):
        mean = weight * mean + (1 - weight) * loss
        smooth[step] = mean / (1 - weight ** (step + 1))
    return smooth


def _valley(losses: NDArray[np.float64]) -> int:
    """Return the step half-way down the longest decreasing subsequence of the losses.

    As in fastai, half its length is counted back from its end. A few noisy steps at the beginning,
    where nothing is learned yet, don't move the result.
    """
    lengths = np.ones(len(losses), dtype=int)
    for step in range(1, len(losses)):
        higher = np.flatnonzero(losses[:step] > losses[step])
        if higher.size:
            lengths[step] = lengths[higher].max() + 1
    last = int(lengths.argmax())
    return last - int(lengths[last]) // 2
