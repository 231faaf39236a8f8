"""Class names that are stored in a model, in the name of its last layer.

Other attributes of a model are lost when it is saved or cloned, and a file must open without
cnnkit. Layer names are kept. TensorFlow allows only letters, digits and a few other characters in
them, so everything else is percent-encoded, with a hyphen in place of the percent sign.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, unquote

_MARK = "classes.are."
_KEPT_BY_QUOTE = {"-": "%2D", ".": "%2E", "~": "%7E"}


def layer_name_of(class_names: Sequence[str]) -> str:
    """Return a name for the last layer that contains the class names in their order."""
    return _MARK + ".".join(map(_encoded, class_names))


def class_names_in(model: Any) -> list[str] | None:
    """Return the class names that are stored in a model, or None."""
    for layer in reversed(getattr(model, "layers", [])):
        _, mark, names = layer.name.rpartition(_MARK)
        if mark:
            return [_decoded(name) for name in names.split(".")]
    return None


def _decoded(name: str) -> str:
    return unquote(name.replace("-", "%"), errors="surrogateescape")


def _encoded(name: str) -> str:
    text = quote(str(name), safe="", errors="surrogateescape")  # folder names may hold any bytes
    for sign, code in _KEPT_BY_QUOTE.items():
        text = text.replace(sign, code)
    return text.replace("%", "-")
