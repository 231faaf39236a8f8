"""The public surface: what it is, and that it is documented and cheap to import."""

import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import types

import pytest

import cnnkit
from cnnkit.data import LoadedImages, Split
from cnnkit.models import LoadedWeights

SURFACE = {
    "cnnkit": ["data", "exceptions", "models", "preprocess", "transfer", "viz"],
    "cnnkit.exceptions": ["CnnkitError", "ImageReadError"],
    "cnnkit.preprocess": ["mode_for", "scale", "to_grayscale", "unscale"],
    "cnnkit.data": [
        "LoadedImages",
        "Split",
        "check_images",
        "find_label_errors",
        "find_leaks",
        "flow_from_tables",
        "image_data_generator",
        "image_dataset",
        "k_fold_tables",
        "list_images",
        "list_splits",
        "load_images",
        "predict_images",
        "preprocessing_function",
        "read_image",
        "record_dataset",
        "rename_classes",
        "renumber_files",
        "split_arrays",
        "split_folder",
        "split_table",
        "write_records",
    ],
    "cnnkit.models": [
        "LoadedWeights",
        "conv_block",
        "fuse_batch_norm",
        "googlenet",
        "identity_block",
        "inception_module",
        "load_weights",
        "min_pooling",
        "resnet",
        "resnet_stem",
        "simple_cnn",
        "vggnet",
    ],
    "cnnkit.transfer": [
        "LearningRateScan",
        "build_classifier",
        "cache_features",
        "calibrate",
        "find_learning_rate",
        "fine_tune",
        "freeze",
        "layerwise_learning_rates",
        "list_blocks",
        "split_model",
        "trainable_summary",
        "unfreeze",
    ],
    "cnnkit.viz": [
        "plot_confusion_matrix",
        "plot_history",
        "plot_learning_rate",
        "plot_pixel_histogram",
        "plot_reliability",
        "show_augmentations",
        "show_feature_maps",
        "show_grad_cam",
        "show_images",
        "show_predictions",
    ],
}
PACKAGES = [importlib.import_module(name) for name in SURFACE]
PUBLIC = [
    pytest.param(getattr(package, name), id=f"{package.__name__}.{name}")
    for package in PACKAGES[1:]
    for name in package.__all__
]
FUNCTIONS = [parameter for parameter in PUBLIC if inspect.isfunction(parameter.values[0])]
PUBLIC_FUNCTIONS = [parameter.values[0] for parameter in FUNCTIONS]
MODULES = [info.name for info in pkgutil.walk_packages(cnnkit.__path__, "cnnkit.")]


@pytest.mark.parametrize("package", PACKAGES, ids=SURFACE)
def test_the_surface_is_pinned(package: types.ModuleType) -> None:
    """Public names are added or removed only on purpose."""
    assert SURFACE[package.__name__] == list(package.__all__)


def test_the_fields_of_results_are_pinned() -> None:
    """The fields of returned tuples are public too."""
    assert ("train", "validation", "test") == Split._fields
    assert ("images", "targets", "class_names", "table", "skipped") == LoadedImages._fields
    assert ("loaded", "skipped", "unused") == LoadedWeights._fields


@pytest.mark.parametrize("package", PACKAGES, ids=SURFACE)
def test_no_public_name_is_also_a_submodule(package: types.ModuleType) -> None:
    """A function may not share its dotted path with a module."""
    submodules = {info.name for info in pkgutil.iter_modules(getattr(package, "__path__", []))}

    assert not {
        name
        for name in submodules & set(package.__all__)
        if not isinstance(getattr(package, name), types.ModuleType)
    }


@pytest.mark.parametrize("public", PUBLIC)
def test_every_public_name_has_a_docstring(public: object) -> None:
    """This holds for functions, classes and exceptions."""
    assert inspect.getdoc(public)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_arguments_in_the_docstring_are_those_of_the_signature(function) -> None:
    """`Args` names every parameter, in order, and no other."""
    section = re.search(r"\n    Args:\n(.*?)\n\n    \w", function.__doc__, re.DOTALL)
    documented = re.findall(r"^ {8}\**(\w+):", section.group(1), re.MULTILINE)

    assert list(inspect.signature(function).parameters) == documented


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_has_its_sections(function) -> None:
    """A docstring says what is returned and shows an example."""
    assert "\n    Returns:\n" in function.__doc__
    assert "\n    Example:\n        >>> " in function.__doc__


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_parameter_has_a_type(function) -> None:
    """Signatures are typed, results too."""
    hints = inspect.get_annotations(function)

    assert {*inspect.signature(function).parameters, "return"} == set(hints)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    """Each example gives the output that it shows, and needs only its own imports."""
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, globs={}, optionflags=doctest.NORMALIZE_WHITESPACE)

    assert 0 == failed


def test_the_example_of_every_function_is_run() -> None:
    """The test above finds it, even if the function is wrapped."""
    finder = doctest.DocTestFinder()
    found = {test.name for name in MODULES for test in finder.find(importlib.import_module(name))}

    assert {f"{f.__module__}.{f.__qualname__}" for f in PUBLIC_FUNCTIONS} <= found


ROOMS = [
    info.name
    for info in pkgutil.walk_packages(cnnkit.__path__, "cnnkit.")
    if info.ispkg and info.name.rpartition(".")[2].startswith("_")
]


@pytest.mark.parametrize("name", ROOMS)
def test_each_room_says_what_is_in_it_and_what_it_may_use(name: str) -> None:
    """Private packages have a docstring of two paragraphs, and re-export nothing."""
    room = importlib.import_module(name)
    content, uses = room.__doc__.strip().split("\n\n")

    assert content
    assert uses.startswith("This package uses ")
    assert all(
        isinstance(part, types.ModuleType) for key, part in vars(room).items() if key[0] != "_"
    )


def test_directions_of_import_are_kept() -> None:
    """The contracts in pyproject.toml hold."""
    from importlinter.cli import lint_imports

    assert 0 == lint_imports(no_cache=True)


HEAVY = {"tensorflow", "keras", "matplotlib", "pandas", "cv2", "albumentations", "PIL", "numpy"}
# Statements, run in this order in one process, and the packages loaded after each.
LOADED = {
    "import cnnkit": set(),
    "import cnnkit.exceptions": set(),
    "cnnkit.preprocess": {"numpy", "cv2"},
    "import cnnkit.data": {"numpy", "cv2", "pandas", "PIL"},
    "import cnnkit.viz": {"numpy", "cv2", "pandas", "PIL", "matplotlib"},
}


@pytest.fixture(scope="module")
def loaded_by() -> dict[str, set[str]]:
    """Return the heavy packages loaded after each statement, in a new interpreter."""
    told = "print(*{name.split('.')[0] for name in sys.modules})"
    program = "\n".join(["import sys", *(f"{statement}\n{told}" for statement in LOADED)])
    result = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    )
    lines = result.stdout.splitlines()
    return {
        statement: HEAVY & set(line.split()) for statement, line in zip(LOADED, lines, strict=True)
    }


@pytest.mark.parametrize("statement", LOADED)
def test_importing_loads_only_what_is_needed(statement: str, loaded_by) -> None:
    """TensorFlow and Keras load with the first model or dataset, not before."""
    assert LOADED[statement] == loaded_by[statement]


def test_an_unknown_subpackage_is_an_attribute_error() -> None:
    """The lazy package behaves like any other."""
    with pytest.raises(AttributeError, match="module 'cnnkit' has no attribute 'train'"):
        _ = cnnkit.train


def test_dir_lists_the_subpackages() -> None:
    """Completion in a notebook lists them before they are loaded."""
    assert {*SURFACE["cnnkit"], "__version__"} == set(dir(cnnkit))
