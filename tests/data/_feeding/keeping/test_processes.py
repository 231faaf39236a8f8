"""A cache file and several processes, killed or at the same time."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
import numpy as np
import pytest
import cnnkit
from cache_files import LEVELS, MAKER, levels_of, opened, beside


class TestInterrupted:
    """The cache is whole, or it isn't there."""

    @pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
    def test_in_the_middle(self, table, cache, at_read, error):
        """Whatever ends the call leaves no file."""

        def fail():
            raise error

        at_read(fail)

        with pytest.raises(error):
            opened(table, cache, workers=1)

        assert [] == beside(cache)
        assert levels_of(opened(table, cache)) == LEVELS

    @pytest.mark.parametrize("has_old", [False, True])
    def test_disk_is_full(self, table, cache, has_old, file_size_limit):
        """A write that fails is told; an earlier cache stays, nothing else is left."""
        if has_old:
            opened(table[::-1], cache)
        before = cache.read_bytes() if has_old else b""
        with file_size_limit(600), pytest.raises(OSError, match="File too large"):
            opened(table, cache)

        assert ([cache.name] if has_old else []) == beside(cache)
        assert before == (cache.read_bytes() if has_old else b"")
        assert levels_of(opened(table, cache)) == LEVELS

    @pytest.mark.parametrize(
        "owner_and_name", [(os, "fsync"), (Path, "replace")], ids=["fsync", "replace"]
    )
    @pytest.mark.parametrize("has_old", [False, True])
    def test_end_fails(self, table, cache, monkeypatch, owner_and_name, has_old):
        """A failure after the last image does no more damage than one before."""

        def fail(*_):
            message = "no space left"
            raise OSError(message)

        if has_old:
            opened(table[::-1], cache)
        before = cache.read_bytes() if has_old else b""
        with monkeypatch.context() as patch:
            patch.setattr(*owner_and_name, fail)
            with pytest.raises(OSError, match="no space left"):
                opened(table, cache)

        assert ([cache.name] if has_old else []) == beside(cache)
        assert before == (cache.read_bytes() if has_old else b"")

    def test_not_there_before_it_is_whole(self, table, cache, at_read):
        """While images are read, an old cache stands as it was, or none."""
        seen = []
        at_read(lambda: seen.append(cache.exists()))
        opened(table, cache, workers=1)
        before = cache.read_bytes()
        at_read(lambda: seen.append(cache.read_bytes()))

        opened(table[::-1], cache, workers=1)

        assert [False, before] == seen


class TestProcesses:
    """Processes that make one cache at the same time don't disturb each other."""

    @pytest.fixture
    def start(self, table, cache, tmp_path):
        """Return a context in which some processes are ready to make the cache."""
        table.to_csv(tmp_path / "files.csv", index=False)
        (tmp_path / "maker.py").write_text(MAKER)
        here = str(Path(cnnkit.__file__).parents[1])  # the cnnkit that is under test

        @contextmanager
        def started(count, stop_at=-1):
            makers = [
                subprocess.Popen(
                    [
                        *(sys.executable, str(tmp_path / "maker.py")),
                        *(str(tmp_path / "files.csv"), str(cache)),
                        *(str(tmp_path / f"images_{number}.npy"), str(stop_at)),
                    ],
                    env={**os.environ, "PYTHONPATH": here},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                for number in range(count)
            ]
            try:
                for maker in makers:
                    assert maker.stdout.readline() == "ready\n", maker.stderr.read()
                for maker in makers:
                    maker.stdin.write("go\n")
                    maker.stdin.flush()
                yield makers
            finally:
                for maker in makers:
                    maker.kill()
                    maker.communicate()

        return started

    @pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
    def test_killed(self, table, cache, start):
        """A killed process leaves no cache, and the next call makes one and clears up."""
        with start(1, stop_at=5) as (maker,):
            assert "stopped\n" == maker.stdout.readline()
            maker.send_signal(signal.SIGKILL)
            maker.wait(timeout=60)
            assert not cache.exists()

            assert levels_of(opened(table, cache)) == LEVELS
            assert [cache.name] == beside(cache)
            assert levels_of(opened(table, cache)) == LEVELS

    @pytest.mark.parametrize("count", [3])
    def test_at_the_same_time(self, table, cache, reads, tmp_path, start, count):
        """All have the right images, and one cache remains."""
        with start(count) as makers:
            for maker in makers:
                _, errors = maker.communicate(timeout=120)
                assert 0 == maker.returncode, errors

        for number in range(count):
            images = np.load(tmp_path / f"images_{number}.npy")
            assert LEVELS == images[:, 0, 0, 0].tolist()
        assert [cache.name] == beside(cache)
        assert levels_of(opened(table, cache)) == LEVELS
        assert [] == reads

    def test_another_is_done_first(self, table, cache, at_read):
        """Whoever comes second finds its work done, and both have the right images."""
        faster = []
        at_read(lambda: faster.append(opened(table, cache, workers=1)))

        slower = opened(table, cache, workers=1)

        assert levels_of(slower) == LEVELS
        assert levels_of(faster[0]) == LEVELS
        assert [cache.name] == beside(cache)

    def test_another_begins_before_this_one_ends(self, table, cache, at_read):
        """What another process has begun isn't damaged by one that begins later."""
        parts = []

        def look():
            parts.append({part: part.read_bytes() for part in cache.parent.glob("*.part")})

        def begin():
            look()
            at_read(look, number=1)
            opened(table, cache, workers=1)

        at_read(begin)
        opened(table, cache, workers=1)

        ours, both = parts
        assert [1, 2] == [len(ours), len(both)]
        assert ours.items() <= both.items()

    def test_another_makes_a_cache_of_a_longer_name(self, table, cache, at_read):
        """Tidying up takes what was left of this cache, and of no other."""
        longer, own = cache.with_name(f"{cache.name}.v2"), cache.with_name(f"{cache.name}.x.part")
        own.write_text("mine")
        at_read(lambda: opened(table, cache, workers=1))

        opened(table, longer, workers=1)

        assert longer.exists()
        assert own.read_text() == "mine"

    def test_another_reads_another_table(self, table, cache, at_read):
        """Whoever is given the same path by mistake mixes nothing up."""
        others = []
        at_read(lambda: others.append(opened(table[::-1], cache, workers=1)))

        ours = opened(table, cache, workers=1)

        assert levels_of(ours) == LEVELS
        assert levels_of(others[0]) == LEVELS[::-1]
        assert [cache.name] == beside(cache)
        assert levels_of(opened(table, cache)) == LEVELS

    def test_another_is_interrupted(self, table, cache, at_read):
        """Whoever gives up takes nothing away from who goes on."""

        def interrupt():
            raise KeyboardInterrupt

        def other():
            at_read(interrupt)
            with pytest.raises(KeyboardInterrupt):
                opened(table, cache, workers=1)

        at_read(other)

        assert levels_of(opened(table, cache, workers=1)) == LEVELS
        assert levels_of(opened(table, cache)) == LEVELS
        assert [cache.name] == beside(cache)

    def test_another_makes_an_other_cache_there(self, table, cache, monkeypatch):
        """Whoever is given the same path by mistake has no images of another table."""
        replace = Path.replace

        def replace_and_lose(part, path):
            replace(part, path)
            monkeypatch.setattr(Path, "replace", replace)
            opened(table[::-1], cache)

        monkeypatch.setattr(Path, "replace", replace_and_lose)

        assert levels_of(opened(table, cache)) == LEVELS

    @pytest.mark.parametrize("step", ["mkdir", "touch"])
    def test_another_is_done_before_this_one_begins(self, table, cache, monkeypatch, step):
        """A cache that comes between looking and making does no harm."""
        take_step = getattr(Path, step)

        def lose(*args, **options):
            take_step(*args, **options)
            monkeypatch.setattr(Path, step, take_step)
            opened(table, cache)

        monkeypatch.setattr(Path, step, lose)

        assert levels_of(opened(table, cache)) == LEVELS
        assert [cache.name] == beside(cache)
