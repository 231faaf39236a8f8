"""What Keras keeps private is touched in one room only."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import cnnkit

ROOT = Path(cnnkit.__file__).parent
ROOM = ROOT / "_keras"
ELSEWHERE = sorted(path for path in ROOT.rglob("*.py") if ROOM not in path.parents)
INSIDE = sorted(ROOM.rglob("*.py"))
NAMED_TUPLE = {"_asdict", "_fields", "_make", "_replace"}  # documented, in spite of their names
OVERRIDDEN = {"_apply_weight_decay", "_get_current_learning_rate"}  # of Keras's optimizers
REFLECTION = {"getattr", "hasattr", "setattr", "delattr"}


def is_private(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_") and not name.startswith("__")


def own_names(scope: ast.AST) -> set[str]:
    """Return the private names that a class or module defines: methods, attributes, variables."""
    names: set[str] = set()
    for node in ast.walk(scope):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr if is_self(node.value) else "")
    return names


def is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def private_uses(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and name of each private attribute of an object that isn't the module's own."""
    tree = ast.parse(source)
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    own = {id(node): own_names(scope) for scope in classes for node in ast.walk(scope)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            is_own = is_self(node.value) and node.attr in own.get(id(node), ())
            if not is_own and node.attr not in NAMED_TUPLE:
                yield node.lineno, node.attr
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in REFLECTION:
            names = [x.value for x in node.args[1:2] if isinstance(x, ast.Constant)]
            yield from ((node.lineno, name) for name in names if is_private(name))


@pytest.mark.parametrize("path", ELSEWHERE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_private_attribute_of_others_elsewhere(path: Path) -> None:
    """A Keras release that renames what is private breaks one room, and not nine files."""
    assert [] == list(private_uses(path.read_text("utf-8")))


@pytest.mark.parametrize("path", INSIDE, ids=lambda path: path.name)
def test_each_use_says_on_which_keras_and_what_else_would_do(path: Path) -> None:
    """A comment stands in the five lines above, if the attribute isn't one of the module's own."""
    source = path.read_text("utf-8")
    lines, own = source.splitlines(), own_names(ast.parse(source))
    uses = [(line, name) for line, name in private_uses(source) if name not in own - OVERRIDDEN]
    comments = [" ".join(lines[max(0, line - 6) : line]) for line, _ in uses]

    assert [] == [
        use
        for use, comment in zip(uses, comments, strict=True)
        if not re.search(r"Keras 3\.\d+.*(without it:|see above)", comment, re.IGNORECASE)
    ]


@pytest.mark.parametrize(
    "source",
    [
        "model._nodes_by_depth",
        "model.layers[0]._inbound_nodes[0]",
        "getattr(layer, '_seed_generators', ())",
        "setattr(model, '_initial_epoch', 0)",
        "class Own(keras.Model):\n    def step(self):\n        self._symbolic_build()",
        "class Own(keras.Optimizer):\n    def _decay(self):\n        super()._decay()",
    ],
)
def test_a_private_attribute_is_seen(source: str) -> None:
    """The search finds what it is for."""
    assert list(private_uses(source))


@pytest.mark.parametrize(
    "source",
    [
        "class Own:\n    def __init__(self):\n        self._mine = 1\n        self._mine",
        "class Own:\n    def _mine(self):\n        return self._mine()",
        "named._replace(a=1)",
        "x.__class__",
    ],
)
def test_what_is_ones_own_is_not_taken_for_private(source: str) -> None:
    """Names that a class defines itself are its own, and those of named tuples are public."""
    assert [] == list(private_uses(source))
