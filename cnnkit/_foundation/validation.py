"""Argument checks that several subpackages share, so that all errors read alike.

A message has three parts: the rule, what was received, and what to do.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from operator import index
from typing import Any


def listed(options: Iterable[object]) -> str:
    """Join options into a phrase: `a, b or c`."""
    *most, last = list(map(str, options)) or ["none"]
    return f"{', '.join(most)} or {last}" if most else last


def check_one_of(name: str, value: object, options: Sequence[object]) -> None:
    """Raise a ValueError unless `value` is one of `options`; the message suggests the nearest."""
    if value in options:
        return
    msg = f"`{name}` must be one of {listed(map(repr, options))}. Received: {name}={value!r}."
    raise ValueError(msg + _suggestion(value, options))


def _suggestion(value: object, options: Sequence[object]) -> str:
    numbers = [option for option in options if isinstance(option, int)]
    if numbers and isinstance(value, int | float):
        return f" Did you mean {min(numbers, key=lambda option: abs(option - value))}?"
    by_text = {str(option): option for option in options}
    near = get_close_matches(str(value).lower(), by_text, n=1)
    return f" Did you mean {by_text[near[0]]!r}?" if near else ""


def check_whole_number(name: str, value: object, *, least: int = 1) -> int:
    """Return `value` as an int, or raise unless it is a whole number of at least `least`."""
    try:
        number = index(value)  # type: ignore[arg-type]  # the type is checked here
    except TypeError:
        msg = f"`{name}` must be a whole number. Received: {name}={value!r}."
        raise TypeError(msg) from None
    if isinstance(value, bool) or number < least:
        msg = f"`{name}` must be a whole number of at least {least}. Received: {name}={value!r}."
        raise ValueError(msg)
    return number


def check_whole_numbers(name: str, values: object, *, least: int = 1) -> tuple[int, ...]:
    """Return `values` as ints, or raise unless they are whole numbers of at least `least`."""
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        msg = f"`{name}` must be a list of whole numbers. Received: {name}={values!r}."
        raise TypeError(msg)
    return tuple(check_whole_number(name, value, least=least) for value in values)


def check_image_size(image_size: Any) -> tuple[int, int]:
    """Return `image_size` as a pair of ints, or raise unless it is `(height, width)`."""
    try:
        height, width = (index(image_size[place]) for place in range(len(image_size)))
    except (KeyError, TypeError, ValueError):
        height = width = 0
    if min(height, width) < 1:
        msg = (
            "`image_size` must be a pair of whole numbers, (height, width), for example "
            f"(224, 224). Received: image_size={image_size!r}."
        )
        raise ValueError(msg)
    return height, width
