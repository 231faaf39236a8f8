"""A run that was killed goes on where it was, and ends as if nothing had happened."""

import csv
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from cnnkit.data import image_dataset
from cnnkit.transfer import build_classifier, fine_tune

HEAD_EPOCHS, EPOCHS = 3, 4


class Killed(BaseException):
    """What nobody catches."""


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

    Keras doesn't save the seeds of dropout, so there is none here, and no order of images: that is
    taken up where the log ends.
    """
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="conv")(layers.Rescaling(1 / 255)(inputs))
    model = build_classifier(keras.Model(inputs, x), 3, dropout=0, mode="auto")
    images = generator.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    data = tf.data.Dataset.from_tensor_slices((images, np.eye(3)[np.arange(12) % 3])).batch(4)
    train = data
    if shuffle:
        done = len(rows(folder)) if (folder / "log.csv").exists() else 0
        train = image_dataset(
            (images, np.arange(12) % 3), batch_size=4, shuffle=True, seed=0, initial_epoch=done
        )
    log = keras.callbacks.CSVLogger(folder / "log.csv", append=True)
    backups = keras.callbacks.BackupAndRestore(folder / "backup", double_checkpoint=double)
    counts = {"head_epochs": HEAD_EPOCHS, "epochs": EPOCHS}
    watching = [log, backups, *callbacks]
    try:
        return fine_tune(model, train, data, **counts | options, callbacks=watching, verbose=0)
    finally:
        log.csv_file.close()


def rows(folder: Path) -> list[list[str]]:
    with (folder / "log.csv").open() as file:
        return list(csv.reader(file))[1:]


@pytest.fixture
def uninterrupted(tmp_path):
    """Return the log of a run that nobody kills."""

    def log(**options) -> list[list[str]]:
        (tmp_path / "whole").mkdir()
        run(tmp_path / "whole", **options)
        return rows(tmp_path / "whole")

    return log


@pytest.mark.parametrize("cache", [True, False], ids=["cached", "not cached"])
@pytest.mark.parametrize("epoch", [1, HEAD_EPOCHS + 2])
def test_the_log_is_that_of_an_uninterrupted_run(epoch, cache, uninterrupted, tmp_path) -> None:
    """Killed in the head's stage or in the other."""
    with pytest.raises(Killed):
        run(tmp_path, Kill(epoch, raise_killed), cache=cache)
    before = len(rows(tmp_path))
    history = run(tmp_path, cache=cache)

    assert epoch == before
    assert uninterrupted(cache=cache) == rows(tmp_path)
    assert list(range(epoch, HEAD_EPOCHS + EPOCHS)) == history.epoch


@pytest.mark.parametrize("cache", ["auto", False], ids=["cached", "not cached"])
@pytest.mark.parametrize("epoch", [1, HEAD_EPOCHS + 2])
def test_a_seeded_order_goes_on_where_it_was(epoch, cache, uninterrupted, tmp_path) -> None:
    """`initial_epoch` is the number of epochs in the log, as the how-to says."""
    with pytest.raises(Killed):
        run(tmp_path, Kill(epoch, raise_killed), cache=cache, shuffle=True)
    run(tmp_path, cache=cache, shuffle=True)

    assert uninterrupted(cache=cache, shuffle=True) == rows(tmp_path)


def test_the_head_is_trained_again_where_the_second_stage_has_no_backup_yet(tmp_path) -> None:
    """Keras removes the backups of a stage that has ended."""
    with pytest.raises(Killed):
        run(tmp_path, Kill(HEAD_EPOCHS, raise_killed))
    history = run(tmp_path)

    assert list(range(HEAD_EPOCHS + EPOCHS)) == history.epoch


KILLED = """
import importlib.util, os, signal, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("runs", sys.argv[1])
runs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(runs)
runs.run(Path(sys.argv[2]), runs.Kill(4, lambda: os.kill(os.getpid(), signal.SIGKILL)))
"""


def test_a_process_that_was_killed_resumes(uninterrupted, tmp_path) -> None:
    """SIGKILL leaves no time to write anything."""
    done = subprocess.run([sys.executable, "-c", KILLED, __file__, str(tmp_path)], check=False)
    history = run(tmp_path)

    assert -signal.SIGKILL == done.returncode
    assert [4, 5, 6] == history.epoch
    expected, actual = (
        np.array([[float(value) for value in row if value not in ("head", "all")] for row in log])
        for log in (uninterrupted(), rows(tmp_path))
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


@pytest.mark.parametrize("cache", [True, False], ids=["cached", "not cached"])
@pytest.mark.parametrize("epoch", [0, 1, HEAD_EPOCHS, HEAD_EPOCHS + 1])
def test_killed_in_the_middle_of_a_backup(epoch, cache, uninterrupted, tmp_path) -> None:
    """A backup in part is none: the one before it holds, or the beginning of the head's stage."""
    with pytest.raises(Killed):
        run(tmp_path, KillInBackup(epoch), cache=cache)
    history = run(tmp_path, cache=cache)

    begin = 0 if epoch == HEAD_EPOCHS else epoch
    assert list(range(begin, HEAD_EPOCHS + EPOCHS)) == history.epoch
    expected = uninterrupted(cache=cache)
    assert expected[begin:] == rows(tmp_path)[begin - len(expected) :]


@pytest.mark.parametrize(
    ("epoch", "begin"), [(1, 0), (2, 1), (HEAD_EPOCHS + 1, 0), (HEAD_EPOCHS + 2, HEAD_EPOCHS + 1)]
)
def test_killed_while_the_number_of_the_epoch_is_written(
    epoch, begin, uninterrupted, tmp_path
) -> None:
    """Keras empties the file first; the backup before holds then, or none does."""
    with pytest.raises(Killed):
        run(tmp_path, Kill(epoch, raise_killed))
    (told,) = (tmp_path / "backup").rglob("training_metadata.json")
    told.write_bytes(b"")
    history = run(tmp_path)

    assert list(range(begin, HEAD_EPOCHS + EPOCHS)) == history.epoch
    expected = uninterrupted()
    assert expected[begin:] == rows(tmp_path)[begin - len(expected) :]


@pytest.mark.parametrize("times", [1, 2])
def test_weights_whose_epoch_is_lost_stay(times, tmp_path) -> None:
    """Without a second backup nobody knows which epoch they are of, and they may be of many."""
    left = []
    for _ in range(times):
        with pytest.raises(Killed):
            run(tmp_path, Kill(2, raise_killed), double=False)
        (told,) = (tmp_path / "backup").rglob("training_metadata.json")
        left.append(told.with_name("latest.weights.h5").read_bytes())
        told.write_bytes(b"")
        with (
            pytest.warns(UserWarning, match="before the number of its epoch.* 'of_no_epoch_"),
            pytest.raises(Killed),
        ):
            run(tmp_path, Kill(0, raise_killed), double=False)

    kept = sorted((tmp_path / "backup").rglob("of_no_epoch_*"))
    assert left == [file.read_bytes() for file in kept]


class StopHead(keras.callbacks.Callback):
    """Stop the first stage after an epoch, as EarlyStopping may."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training |= epoch == 0


def test_a_head_that_stopped_early(tmp_path) -> None:
    """The second stage has the same epochs whether it was killed or not."""
    with pytest.raises(Killed):
        run(tmp_path, StopHead(), Kill(HEAD_EPOCHS + 2, raise_killed))
    history = run(tmp_path, StopHead())
    (tmp_path / "other").mkdir()
    whole = run(tmp_path / "other", StopHead())

    assert [0, *range(HEAD_EPOCHS, HEAD_EPOCHS + EPOCHS)] == whole.epoch
    assert whole.epoch[-2:] == history.epoch
    assert rows(tmp_path / "other") == rows(tmp_path)


def test_an_interrupted_resumed_run_leaves_nothing_to_resume(classifier, data, tmp_path) -> None:
    """What is trained next begins at the beginning."""
    backups = keras.callbacks.BackupAndRestore(tmp_path / "backup", double_checkpoint=True)
    counts = {"head_epochs": HEAD_EPOCHS, "epochs": EPOCHS, "verbose": 0}
    for epoch in (1, 2):
        callbacks = [backups, Kill(epoch, raise_killed)]
        with pytest.raises(Killed):
            fine_tune(classifier, data, data, batch_size=4, callbacks=callbacks, **counts)
    history = fine_tune(classifier, data, data, **counts)

    assert list(range(HEAD_EPOCHS + EPOCHS)) == history.epoch


def test_a_run_that_has_ended_leaves_no_backup(tmp_path) -> None:
    """The next one starts from the beginning."""
    run(tmp_path)
    history = run(tmp_path)

    assert list(range(HEAD_EPOCHS + EPOCHS)) == history.epoch
    assert [] == [path for path in (tmp_path / "backup").rglob("*") if path.is_file()]


def test_a_checkpoint_keeps_the_best_epoch_of_both_stages(tmp_path) -> None:
    """ModelCheckpoint goes on from one stage to the other."""
    best = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True)
    history = run(tmp_path, best)
    model = keras.saving.load_model(tmp_path / "best.keras")

    assert min(history.history["val_loss"]) == pytest.approx(best.best)
    assert (None, 3) == model.output_shape
