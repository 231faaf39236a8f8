"""Names in any script: a font that has the letters is found, or a warning is given once."""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.font_manager import findfont, fontManager, get_font

from cnnkit.viz import show_images
from cnnkit.viz import _fonts

IMAGE = np.zeros((8, 8, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def forget() -> None:
    """Reset the warning for each test."""
    _fonts._warned.clear()
    _fonts._font_with.cache_clear()


@pytest.fixture
def foreign() -> str:
    """Return a letter that matplotlib's default font lacks and another installed font has."""
    own = set(get_font(findfont("DejaVu Sans")).get_charmap())
    others = next(entry for entry in fontManager.ttflist if entry.name == "STIXGeneral")
    letters = sorted(set(get_font(others.fname).get_charmap()) - own)
    return next(chr(letter) for letter in letters if chr(letter).isalpha())


def test_a_font_that_has_the_letters_is_taken(foreign) -> None:
    """No glyph is missing when it is drawn (matplotlib would warn), and no setting has changed."""
    before = dict(plt.rcParams)
    (ax,) = show_images([IMAGE], [f"a {foreign}"])
    ax.figure.canvas.draw()

    assert ax.title.get_fontfamily() != before["font.family"]
    assert before == dict(plt.rcParams)


def test_latin_names_keep_their_font() -> None:
    """No other font is searched for."""
    (ax,) = show_images([IMAGE], ["Käse über Œuvre"])

    assert plt.rcParams["font.family"] == ax.title.get_fontfamily()


def test_a_letter_that_no_font_has_is_told_once(monkeypatch) -> None:
    """The warning says what to install."""
    shipped = ("DejaVu Sans", "Last Resort")  # the latter has a box for every letter
    entries = [entry for entry in fontManager.ttflist if entry.name.startswith(shipped)]
    monkeypatch.setattr(fontManager, "ttflist", entries)
    with pytest.warns(UserWarning, match=r"^No installed font has the letter '옷'.*Install a font"):
        show_images([IMAGE], ["옷 스웨터"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        show_images([IMAGE], ["옷 원피스"])


def test_the_warning_names_the_line_that_drew(monkeypatch) -> None:
    """It is not a line of the library."""
    monkeypatch.setattr(_fonts, "_font_with", lambda _letters: None)
    with pytest.warns(UserWarning, match="No installed font") as caught:
        show_images([IMAGE], ["옷"])

    assert __file__ == caught[0].filename
