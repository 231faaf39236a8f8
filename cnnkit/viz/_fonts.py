"""Text that shows names as they are, in any script, of any length, and with any characters.

The default font of matplotlib has no Korean or Chinese letters, and matplotlib reads what stands
between two dollar signs as a formula.
"""

import textwrap
import warnings
from collections.abc import Iterable
from functools import cache
from unicodedata import east_asian_width

from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text


def make_readable(texts: Iterable[Text]) -> None:
    """Give each text an installed font for letters that its own lacks. Settings don't change."""
    for text in texts:
        text.set_parse_math(False)
        own = findfont(text.get_fontproperties())
        letters = [ord(letter) for letter in text.get_text() if not letter.isspace()]
        missing = [letter for letter in letters if letter not in _letters_of(own)]
        if missing:
            name = _font_with(frozenset(missing))
            if name is None:
                _warn_of(missing[0])
            else:
                text.set_fontfamily([FontProperties(fname=own).get_name(), name])


_warned: list[int] = []


@cache
def _letters_of(path: str) -> frozenset[int]:
    return frozenset(get_font(path).get_charmap())


@cache
def _font_with(letters: frozenset[int]) -> str | None:
    """Return the name of an installed font that has all these letters."""
    # "Last Resort" ships with matplotlib and draws every letter as a box.
    fonts = (entry for entry in fontManager.ttflist if not entry.name.startswith("Last Resort"))
    return next((font.name for font in fonts if letters <= _letters_of(font.fname)), None)


def _warn_of(letter: int) -> None:
    """Warn once; the next missing letter is probably of the same script."""
    if _warned:
        return
    _warned.append(letter)
    warnings.warn(
        f"No installed font has the letter {chr(letter)!r}, so it is drawn as a box. Install a "
        "font that has it, such as Noto Sans CJK, and restart Python.",
        stacklevel=4,
    )


def wrapped(title: str, width: int = 24) -> str:
    """Break a title into lines that fit above an image. East Asian letters count as two."""
    return "\n".join(
        textwrap.fill(line, _letters_in(width, line)) for line in str(title).splitlines()
    )


def _letters_in(width: int, line: str) -> int:
    wide = sum(east_asian_width(letter) in "WF" for letter in line)
    return width * len(line) // (len(line) + wide) if line else width
