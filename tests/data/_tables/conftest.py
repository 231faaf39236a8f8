"""Fixtures of the tests of tables."""

import pytest


@pytest.fixture
def make_files(tmp_path):
    """Return a function that makes empty files; listing goes by names alone."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return make
