"""The situations a caller may want to catch.

Wrong arguments are plain `ValueError` and `TypeError`. What is particular to images has a class of
its own, which is also the built-in that a caller would try first::

    Exception
    └── CnnkitError
        └── ImageReadError (also OSError)
"""

__all__ = ["CnnkitError", "ImageReadError"]


class CnnkitError(Exception):
    """Base class of the errors that cnnkit defines."""


class ImageReadError(CnnkitError, OSError):
    """A file could not be read as an image; the message names the file and the reason.

    Attributes:
        reason: What is wrong with the file, without its name.
    """

    reason: str = ""
