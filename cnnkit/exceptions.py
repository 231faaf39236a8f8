"""The exceptions that cnnkit defines.

Wrong arguments raise a plain `ValueError` or `TypeError`. Unreadable images raise a class of their
own, which also derives from the built-in exception that a caller would expect::

    Exception
    └── CnnkitError
        └── ImageReadError (also OSError)
"""

__all__ = ["CnnkitError", "ImageReadError"]


class CnnkitError(Exception):
    """Base class of the errors that cnnkit defines."""


class ImageReadError(CnnkitError, OSError):
    """A file could not be read as an image. The message names the file and the reason.

    Attributes:
        reason: What is wrong with the file, without its name.
    """

    reason: str = ""
