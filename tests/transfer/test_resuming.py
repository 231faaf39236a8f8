"""A killed run resumes where it was, and ends like a run that wasn't killed."""

import csv
import functools
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from cnnkit.data import image_dataset
from cnnkit.transfer import build_classifier, fine_tune

HEAD_EPOCHS, EPOCHS = 2, 3

pytestmark = pytest.mark.usefixtures("eagerly_all")


class Killed(BaseException):
    """An exception that nothing catches."""


class Kill(keras.callbacks.Callback):
    """End the run in the second batch of an epoch."""

    def __init__(self, epoch: int, end) -> None:
        super().__init__()
        self.epoch, self.end, self.present = epoch, end, -1

    def on_epoch_begin(self, epoch, logs=None):
        self.present = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.present, batch) == (self.epoch, 1):
            self.end()


def raise_killed() -> None:
    raise Killed


def run(
    folder: Path,
    *callbacks: keras.callbacks.Callback,
    double: bool = True,
    shuffle: bool = False,
    **options,
) -> keras.callbacks.History:
    """Fine-tune a small network with a log and backups in a folder.

    There is no dropout, because Keras doesn't save its seeds. Only `shuffle=True` shuffles the
    images; their order then continues at the epoch where the log ends.
    """
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="conv")(layers.Rescaling(1 / 255)(inputs))
    model = build_classifier(keras.Model(inputs, x), 3, dropout=0, mode="auto")
    images = generator.integers(0, 256, (8, 8, 8, 3), dtype=np.uint8)
    data = tf.data.Dataset.from_tensor_slices((images, np.eye(3)[np.arange(8) % 3]))
    train, validation = data.batch(4), data.batch(8)
    if shuffle:  # with datasets whose features may be kept
        done = len(rows(folder)) if (folder / "log.csv").exists() else 0
        pair = images, np.arange(8) % 3
        train = image_dataset(pair, batch_size=4, shuffle=True, seed=0, initial_epoch=done)
        validation = image_dataset(pair, batch_size=8)
    log = keras.callbacks.CSVLogger(folder / "log.csv", append=True)
    backups = keras.callbacks.BackupAndRestore(folder / "backup", double_checkpoint=double)
    counts = {"head_epochs": HEAD_EPOCHS, "epochs": EPOCHS, "verbose": 0}
    watching = [log, backups, *callbacks]
    try:
        return fine_tune(model, train, validation, **counts | options, callbacks=watching)
    finally:
        log.csv_file.close()


def rows(folder: Path) -> list[list[str]]:
    with (folder / "log.csv").open() as file:
        return list(csv.reader(file))[1:]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Callable[..., Path]:
    """Return a function that gives the folder of a run that nobody kills, made once a setting."""

    @functools.cache
    def folder(**options) -> Path:
        path = tmp_path_factory.mktemp("whole")
        run(path, **options)
        return path

    return folder


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory) -> Callable[..., Path]:
    """Return a function that gives the folder of a run killed in an epoch, made once a setting."""

    @functools.cache
    def folder(epoch: int, **options) -> Path:
        path = tmp_path_factory.mktemp("killed")
        with pytest.raises(Killed):
            run(path, Kill(epoch, raise_killed), **options)
        return path

    return folder


@pytest.fixture
def killed(killed_once, tmp_path) -> Callable[..., None]:
    """Return a function that copies the files of a killed run into `tmp_path`."""

    def copy(epoch: int, **options) -> None:
        shutil.copytree(killed_once(epoch, **options), tmp_path, dirs_exist_ok=True)

    return copy


@pytest.mark.parametrize("cache", ["auto", False], ids=["cached", "not cached"])
@pytest.mark.parametrize("epoch", [1, HEAD_EPOCHS + 1], ids=["head", "all"])
def test_the_log_is_that_of_an_uninterrupted_run(epoch, cache, killed, whole, tmp_path) -> None:
    """Killed in either stage; a seeded order goes on too, with as many epochs as the log has."""
    killed(epoch, cache=cache, shuffle=True)
    before = len(rows(tmp_path))
    history = run(tmp_path, cache=cache, shuffle=True)

    assert epoch == before
    assert rows(whole(cache=cache, shuffle=True)) == rows(tmp_path)
    assert list(range(epoch, HEAD_EPOCHS + EPOCHS)) == history.epoch


def test_the_head_is_trained_again_where_the_second_stage_has_no_backup_yet(
    killed, tmp_path
) -> None:
    """Keras removes the backups of a stage that has ended."""
    killed(HEAD_EPOCHS, cache=False)
    history = run(tmp_path, cache=False)

    assert list(range(HEAD_EPOCHS + EPOCHS)) == history.epoch


KILLED = """
import importlib.util, os, signal, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("runs", sys.argv[1])
runs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(runs)
kill = runs.Kill(runs.HEAD_EPOCHS + 1, lambda: os.kill(os.getpid(), signal.SIGKILL))
runs.run(Path(sys.argv[2]), kill, cache=False)
"""


def test_a_process_that_was_killed_resumes(whole, tmp_path) -> None:
    """SIGKILL leaves no time to write anything; the process had compiled its steps."""
    done = subprocess.run([sys.executable, "-c", KILLED, __file__, str(tmp_path)], check=False)
    history = run(tmp_path, cache=False)

    assert -signal.SIGKILL == done.returncode
    assert [3, 4] == history.epoch
    expected, actual = (
        np.array([[float(value) for value in row if value not in ("head", "all")] for row in log])
        for log in (rows(whole(cache=False)), rows(tmp_path))
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


class KillInBackup(keras.callbacks.Callback):
    """End the run in the middle of the backup of an epoch."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        save = self.model.save_weights

        def half(filepath, **options):
            save(filepath, **options)
            path = Path(filepath)
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            raise Killed

        if epoch == self.epoch:
            self.model.save_weights = half


@pytest.mark.parametrize(
    ("epoch", "begin", "cache"),
    [
        (0, 0, False),
        (1, 1, True),
        (HEAD_EPOCHS, 0, False),
        (HEAD_EPOCHS + 1, HEAD_EPOCHS + 1, False),
    ],
)
def test_killed_in_the_middle_of_a_backup(epoch, begin, cache, whole, tmp_path) -> None:
    """A half-written backup is ignored: the one before it counts, or the run starts again."""
    with pytest.raises(Killed):
        run(tmp_path, KillInBackup(epoch), cache=cache)
    history = run(tmp_path, cache=cache)

    assert list(range(begin, HEAD_EPOCHS + EPOCHS)) == history.epoch
    expected = rows(whole(cache=cache))
    assert expected[begin:] == rows(tmp_path)[begin - len(expected) :]


@pytest.mark.parametrize(
    ("epoch", "begin"), [(1, 0), (HEAD_EPOCHS + 1, 0), (HEAD_EPOCHS + 2, HEAD_EPOCHS + 1)]
)
def test_killed_while_the_number_of_the_epoch_is_written(
    epoch, begin, killed, whole, tmp_path
) -> None:
    """Keras empties the file first; then the backup before it counts, or none does."""
    killed(epoch, cache=False)
    (told,) = (tmp_path / "backup").rglob("training_metadata.json")
    told.write_bytes(b"")
    history = run(tmp_path, cache=False)

    assert list(range(begin, HEAD_EPOCHS + EPOCHS)) == history.epoch
    expected = rows(whole(cache=False))
    assert expected[begin:] == rows(tmp_path)[begin - len(expected) :]


def test_weights_whose_epoch_is_lost_stay(tmp_path) -> None:
    """Without a second backup nobody knows their epoch; a second loss doesn't replace the first."""
    left = []
    for _ in range(2):
        with pytest.raises(Killed):
            run(tmp_path, Kill(1, raise_killed), double=False, cache=False)
        (told,) = (tmp_path / "backup").rglob("training_metadata.json")
        left.append(told.with_name("latest.weights.h5").read_bytes())
        told.write_bytes(b"")
        with (
            pytest.warns(UserWarning, match="number of its epoch is missing.* 'of_no_epoch_"),
            pytest.raises(Killed),
        ):
            run(tmp_path, Kill(0, raise_killed), double=False, cache=False)

    kept = sorted((tmp_path / "backup").rglob("of_no_epoch_*"))
    assert left == [file.read_bytes() for file in kept]


class StopHead(keras.callbacks.Callback):
    """Stop the first stage after an epoch, as EarlyStopping may."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training |= epoch == 0


def test_a_head_that_stopped_early(tmp_path) -> None:
    """The second stage has the same epochs whether it was killed or not."""
    with pytest.raises(Killed):
        run(tmp_path, StopHead(), Kill(HEAD_EPOCHS + 1, raise_killed), cache=False)
    history = run(tmp_path, StopHead(), cache=False)
    (tmp_path / "other").mkdir()
    whole = run(tmp_path / "other", StopHead(), cache=False)

    assert [0, *range(HEAD_EPOCHS, HEAD_EPOCHS + EPOCHS)] == whole.epoch
    assert whole.epoch[-2:] == history.epoch
    assert rows(tmp_path / "other") == rows(tmp_path)


def test_an_interrupted_resumed_run_leaves_nothing_to_resume(classifier, data, tmp_path) -> None:
    """The next training starts at the first epoch."""
    backups = keras.callbacks.BackupAndRestore(tmp_path / "backup", double_checkpoint=True)
    counts = {"head_epochs": 2, "epochs": 1, "batch_size": 6, "cache": False, "verbose": 0}
    for _ in range(2):  # the second call resumes in the epoch that kills it again
        with pytest.raises(Killed):
            fine_tune(classifier, data, data, callbacks=[backups, Kill(1, raise_killed)], **counts)
    history = fine_tune(classifier, data, data, **counts)

    assert [0, 1, 2] == history.epoch


def test_a_run_that_has_ended_leaves_no_backup(whole, tmp_path) -> None:
    """The next one starts from the beginning."""
    shutil.copytree(whole(cache=False), tmp_path, dirs_exist_ok=True)
    left = [path for path in (tmp_path / "backup").rglob("*") if path.is_file()]
    history = run(tmp_path, head_epochs=1, epochs=1, cache=False)

    assert [] == left
    assert [0, 1] == history.epoch


def test_a_checkpoint_keeps_the_best_epoch_of_both_stages(tmp_path) -> None:
    """ModelCheckpoint goes on from one stage to the other."""
    best = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True)
    history = run(tmp_path, best, epochs=2, cache=False)
    model = keras.saving.load_model(tmp_path / "best.keras")

    assert min(history.history["val_loss"]) == pytest.approx(best.best)
    assert (None, 3) == model.output_shape
