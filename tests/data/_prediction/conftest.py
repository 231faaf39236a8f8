"""Fixtures of the tests of predictions."""

import pytest
from predictions import LEVELS, NAMES


@pytest.fixture
def table(level_table):
    """Images of one level each, in no order, with an index of their own."""
    return level_table(LEVELS, NAMES).set_axis([f"row {level}" for level in LEVELS])
