"""Reusable CNN building blocks for Keras: from a folder of images to a classifier.

The five subpackages load on first use, so `import cnnkit` itself is instant and imports no
third-party package.
"""

from importlib import import_module
from importlib.metadata import version
from types import ModuleType

__all__ = ["data", "exceptions", "models", "preprocess", "transfer", "viz"]
__version__ = version("cnnkit")


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
