"""split_folder, interrupted and killed: no file is incomplete, and a repeated call continues."""

from placing import PHOTOS, place


import errno
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from cnnkit.data import list_images

# One import for all: a child of it for each kill, which ends itself in the middle of the operation.
SIGKILLED = """
import json, os, shutil, signal, sys
from itertools import count
from pathlib import Path
from cnnkit.data import split_folder

def place_or_die(source, destination, how, operation, step, moment):
    module, name = operation.split(".")
    owner = {"os": os, "shutil": shutil, "Path": Path}[module]
    work, steps = getattr(owner, name), count()

    def broken(*arguments):
        if next(steps) == step:
            if moment == "after":
                work(*arguments)
            elif name == "copy2":
                Path(arguments[1]).write_bytes(Path(arguments[0]).read_bytes()[:50])
            elif name == "write_bytes":
                work(arguments[0], arguments[1][:50])
            os.kill(os.getpid(), signal.SIGKILL)
        return work(*arguments)

    setattr(owner, name, broken)
    split_folder(source, destination, how=how, progress=False)

for case in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        place_or_die(*case)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
# A child for each destination, all at once; their numbers are told, and how they have ended.
SLOW = """
import os, shutil, sys, time
from cnnkit.data import split_folder

def slowed(work):
    def slow(*arguments):
        time.sleep(float(sys.argv[2]))
        return work(*arguments)
    return slow

os.link, shutil.copy2 = slowed(os.link), slowed(shutil.copy2)
children = []
for destination, how in zip(sys.argv[3::2], sys.argv[4::2]):
    child = os.fork()
    if not child:
        split_folder(sys.argv[1], destination, how=how, progress=False)
        os._exit(0)
    children.append(child)
print(*children, flush=True)
print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


class TestInterrupted:
    """An interrupted call leaves whole files only, and the next one goes on."""

    @pytest.mark.parametrize("step", range(len(PHOTOS)))
    @pytest.mark.parametrize(
        "error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")]
    )
    def test_copying(self, photos, parts, tmp_path, step, error, states, contents, breaking):
        """An interrupted copy leaves no partial file, and a repeated call completes the split."""
        place(photos, tmp_path / "undisturbed")
        expected = contents(tmp_path / "undisturbed")

        with breaking(shutil, "copy2", step, error), pytest.raises(type(error)):
            place(photos, parts)

        assert contents(parts).items() <= expected.items()
        assert step == len(contents(parts))
        before = states(parts)
        place(photos, parts)
        assert expected == contents(parts)
        assert before.items() <= states(parts).items()

    @pytest.mark.parametrize("step", [0, 5, 10])
    @pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EIO, "Broken disk")])
    @pytest.mark.parametrize(
        ("how", "owner", "name"), [("hardlink", os, "link"), ("copy", os, "replace")]
    )
    def test_linking_and_moving(
        self, photos, parts, tmp_path, step, error, how, owner, name, contents, breaking
    ):
        """The same for hard links, and for copies that can't get their names."""
        place(photos, tmp_path / "undisturbed")

        with breaking(owner, name, step, error), pytest.raises(type(error)):
            place(photos, parts, how=how)

        assert step == len(contents(parts))
        place(photos, parts, how=how)
        assert contents(tmp_path / "undisturbed") == contents(parts)

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space")])
    def test_manifest(self, photos, parts, error, states, breaking):
        """If `split.csv` can't be written completely, it is not created."""
        with breaking(Path, "write_bytes", 0, error), pytest.raises(type(error)):
            place(photos, parts)

        assert len(PHOTOS) == len(states(parts))
        place(photos, parts)
        assert (parts / "split.csv").exists()

    def test_no_room(self, photos, parts, breaking):
        """The message names both files, the reason, and what to do."""
        old, new = photos / "cat/0.jpg", parts / "train/cat/0.jpg"
        text = (
            rf"Could not place {re.escape(repr(str(old)))} as .*/cat/{new.name}': "
            r"No space left on device\. Once the cause is removed, repeat the call to go on"
        )

        with (
            breaking(shutil, "copy2", 0, OSError(errno.ENOSPC, "No space left on device")),
            pytest.raises(OSError, match=text) as caught,
        ):
            place(photos, parts)

        assert errno.ENOSPC == caught.value.errno

    def test_other_file_system(self, photos, parts, breaking):
        """A hard link to another file system fails with the reason."""
        error = OSError(errno.EXDEV, os.strerror(errno.EXDEV))

        with (
            breaking(os, "link", 0, error),
            pytest.raises(OSError, match="Could not place .* as .*cross-device link") as caught,
        ):
            place(photos, parts, how="hardlink")

        assert errno.EXDEV == caught.value.errno

    def test_no_permission_for_files(self, photos, parts, breaking):
        """A file that can't get its name is a PermissionError that names it."""
        error = PermissionError(errno.EACCES, "Permission denied")

        with (
            breaking(os, "replace", 3, error),
            pytest.raises(PermissionError, match="Could not place .* as .*: Permission denied"),
        ):
            place(photos, parts)

    def test_no_permission_for_folders(self, photos, parts, states, breaking):
        """A folder that can't be made is a PermissionError, before any file is written."""
        error = PermissionError(errno.EACCES, "Permission denied", str(parts))

        with (
            breaking(os, "makedirs", 1, error),
            pytest.raises(PermissionError, match=f"Permission denied.*{re.escape(str(parts))}"),
        ):
            place(photos, parts)

        assert {} == states(parts)

    @pytest.mark.parametrize(
        ("how", "module", "name"), [("copy", shutil, "copy2"), ("hardlink", os, "link")]
    )
    def test_file_that_appears_meanwhile(
        self, photos, parts, monkeypatch, how, module, name, contents
    ):
        """A file that another program writes during the call is not overwritten."""
        work = getattr(module, name)
        appeared = Path(place(photos, parts)["file_paths"].iloc[0])
        shutil.rmtree(parts)

        def late(old, new):
            if Path(old).name == appeared.name:
                appeared.write_bytes(b"another's")
            return work(old, new)

        monkeypatch.setattr(module, name, late)

        with pytest.raises(
            FileExistsError, match=f"as {re.escape(repr(str(appeared)))}: File exists"
        ):
            place(photos, parts, how=how)

        assert {os.path.relpath(appeared, parts): b"another's"} == contents(parts)

    def test_missing_original(self, photos, parts):
        """A row whose file is gone is named; with the file back, a repeat goes on."""
        table = list_images(photos)
        content = (photos / "dog/e.png").read_bytes()
        (photos / "dog/e.png").unlink()

        with pytest.raises(FileNotFoundError, match=r"Received: 1 missing.*e\.png'.*Nothing was"):
            place(table, parts)

        assert not parts.exists()
        (photos / "dog/e.png").write_bytes(content)
        assert len(PHOTOS) == len(place(table, parts))


KILLS = [
    ("copy", "shutil.copy2", 0, "half"),
    ("copy", "shutil.copy2", 57, "half"),
    ("copy", "shutil.copy2", 99, "after"),
    ("copy", "os.replace", 33, "after"),
    ("copy", "Path.write_bytes", 0, "half"),
    ("hardlink", "os.link", 0, "after"),
    ("hardlink", "os.link", 57, "before"),
]


@pytest.fixture(scope="module")
def killed(many, tmp_path_factory):
    """For each kill, the destination and how the process has ended."""
    folders = [str(tmp_path_factory.mktemp("killed")) for _ in KILLS]
    cases = json.dumps(
        [(str(many), folder, *kill) for folder, kill in zip(folders, KILLS, strict=True)]
    )
    command = [sys.executable, "-P", "-c", SIGKILLED, cases]
    codes = subprocess.run(command, check=True, capture_output=True).stdout.split()
    return dict(zip(KILLS, zip(map(Path, folders), map(int, codes), strict=True), strict=True))


@contextmanager
def slow_runs(source, *runs, pause):
    """Place files slowly into several folders at once; yield the process and its children."""
    command = [sys.executable, "-P", "-c", SLOW, source, str(pause), *itertools.chain(*runs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        yield process, [int(child) for child in process.stdout.readline().split()]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system knows no SIGKILL")
class TestKilled:
    """After a process was killed, the next call continues and completes the work."""

    @pytest.mark.parametrize("kill", KILLS, ids=lambda kill: "-".join(map(str, kill)))
    def test_kills_itself(self, many, expected, killed, kill, contents):
        """After a kill before, in or after an operation, a repeated call completes the split."""
        parts, code = killed[kill]
        left = contents(parts)
        whole = {name for name in left if ".cnnkit-partial-" not in name}

        place(many, parts, how=kill[0])

        assert -signal.SIGKILL == code
        assert whole == {name for name, content in left.items() if expected.get(name) == content}
        assert len(whole) < len(expected)
        assert expected == contents(parts)

    def test_two_runs_at_once(self, many, parts, expected, contents):
        """Two runs at once may fail, but leave no wrong or incomplete file."""
        with slow_runs(many, (parts, "copy"), (parts, "copy"), pause=0.003) as (process, _):
            process.wait()

        left = contents(parts)
        place(many, parts)

        assert all(expected[name] == left[name] for name in left if "partial" not in name)
        assert expected == contents(parts)

    def test_is_killed(self, many, expected, tmp_path, contents):
        """After a kill from outside at some moment, a repeated call completes the split."""
        ways = {tmp_path / how: how for how in ("copy", "hardlink")}
        before = {}
        with slow_runs(many, *ways.items(), pause=0.02) as (process, children):
            for parts, child in zip(ways, children, strict=True):
                deadline = time.monotonic() + 60
                while len(list(parts.glob("*/*/*.jpg"))) < 20 and time.monotonic() < deadline:
                    time.sleep(0.01)
                os.kill(child, signal.SIGKILL)
                before[parts] = len(list(parts.glob("*/*/*.jpg")))
            codes = [int(code) for code in process.stdout.readline().split()]

        for parts, how in ways.items():
            place(many, parts, how=how)

        assert [-signal.SIGKILL] * 2 == codes
        assert all(20 <= count < 100 for count in before.values())
        assert [expected] * 2 == [contents(parts) for parts in ways]
