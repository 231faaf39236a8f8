"""Fonts for names in any script: matplotlib's own has neither Korean nor Chinese letters."""

import warnings
from collections.abc import Iterable
from functools import cache

from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text


def make_readable(texts: Iterable[Text]) -> None:
    """Give texts an installed font for the letters that their own lacks; no setting is changed."""
    for text in texts:
        own = findfont(text.get_fontproperties())
        letters = frozenset(ord(letter) for letter in text.get_text() if not letter.isspace())
        missing = letters - _letters_of(own)
        if missing:
            name = _font_with(missing)
            if name is None:
                _warn_of(min(missing))
            else:
                text.set_fontfamily([FontProperties(fname=own).get_name(), name])


@cache
def _letters_of(path: str) -> frozenset[int]:
    return frozenset(get_font(path).get_charmap())


@cache
def _font_with(letters: frozenset[int]) -> str | None:
    """Return the name of an installed font that has all these letters."""
    # matplotlib ships one that has every letter, as a box.
    fonts = (entry for entry in fontManager.ttflist if not entry.name.startswith("Last Resort"))
    return next((font.name for font in fonts if letters <= _letters_of(font.fname)), None)


@cache  # once for each block of letters is enough
def _warn_of(letter: int) -> None:
    warnings.warn(
        f"No installed font has the letter {chr(letter)!r}, so that it is drawn as a box. Install "
        "one that has, such as Noto Sans CJK, and start Python again.",
        stacklevel=5,
    )
