"""Sessions for development: `nox -l` lists them, `nox -s NAME` runs one.

Each session creates its own environment, with uv if it is installed.
"""

import shutil
import time
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["tests", "lint", "types", "traps", "demo"]

PROJECT = nox.project.load_toml("pyproject.toml")
BENCHMARKS = (
    "scaling",
    "reading",
    "listing",
    "placing",
    "near_duplicates",
    "label_errors",
    "pipelines",
    "records",
    "predicting",
    "networks",
    "serving",
    "features",
    "memory",
)
NEEDS_FILES = ("recipes", "calibration")
NO_EXAMPLES = ("sample_photos", "train_on_folder")  # imported by the others; needs a folder
QUIET = {  # the library leaves these settings to users
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "MPLBACKEND": "agg",
}


def install(session: nox.Session, *groups: str) -> None:
    """Install the project as a wheel, and the named dependency groups."""
    session.install(".", *nox.project.dependency_groups(PROJECT, *groups))


def run_quietly(session: nox.Session, script: str, *args: str) -> None:
    """Run a script without the messages that TensorFlow prints at startup."""
    session.run("python", ".ci/run_quietly.py", script, *args, env=QUIET)


def build(session: nox.Session) -> Path:
    """Build the wheel and the sdist; return their folder."""
    folder = Path(session.create_tmp(), "dist")
    shutil.rmtree(folder, ignore_errors=True)
    session.install("build>=1.3")
    session.run("python", "-m", "build", "--outdir", str(folder))
    return folder


@nox.session
def demo(session: nox.Session) -> None:
    """Train, fine-tune and inspect a classifier of handwritten digits."""
    install(session)
    run_quietly(session, "examples/digits.py", *session.posargs)


@nox.session
def examples(session: nox.Session) -> None:
    """Run all examples in turn, or those named after `--`."""
    install(session)
    scripts = sorted(Path("examples").glob("*.py"))
    names = [path.stem for path in scripts if path.stem not in NO_EXAMPLES]
    for name in session.posargs or names:
        start = time.perf_counter()
        run_quietly(session, f"examples/{name}.py")
        session.log(f"{name}: {time.perf_counter() - start:.0f} seconds")


@nox.session
def notebooks(session: nox.Session) -> None:
    """Convert the examples to notebooks, in `output/notebooks`."""
    session.install("jupytext>=1.17")
    folder = Path("output/notebooks")
    folder.mkdir(parents=True, exist_ok=True)
    shared = Path("examples/sample_photos.py")  # not a notebook, but imported by them
    shutil.copy(shared, folder)
    for path in sorted(Path("examples").glob("*.py")):
        if path != shared:
            notebook = folder / f"{path.stem}.ipynb"
            session.run("jupytext", "--to", "notebook", "--output", str(notebook), str(path))


@nox.session
def tests(session: nox.Session) -> None:
    """Run the test suite without the slow tests."""
    install(session, "tests")
    quick = ("-m", "not slow")
    session.run("python", "-Im", "pytest", "-n", "2", *quick, *session.posargs, env=QUIET)


@nox.session
def slow(session: nox.Session) -> None:
    """Run the slow tests: large networks and long training."""
    install(session, "tests")
    session.run("python", "-Im", "pytest", "-n", "2", "-m", "slow", *session.posargs, env=QUIET)


@nox.session
def lint(session: nox.Session) -> None:
    """Check format and style; the test suite checks the directions of imports."""
    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types."""
    install(session, "types")
    session.run("mypy")


@nox.session
def package(session: nox.Session) -> None:
    """Build the wheel and the sdist, and check their contents."""
    folder = build(session)
    session.install("twine>=6.2")
    session.run("twine", "check", "--strict", *map(str, folder.iterdir()))
    session.run("python", ".ci/check_distributions.py", str(folder))


@nox.session
def sdist(session: nox.Session) -> None:
    """Build the documentation and run the tests from the contents of the sdist."""
    folder = build(session)
    (archive,) = folder.glob("*.tar.gz")
    session.install("nox>=2025.2.9")
    session.run("python", "-m", "tarfile", "-e", str(archive), str(folder))
    session.chdir(folder / archive.name.removesuffix(".tar.gz"))
    session.run("python", "-m", "nox", "-s", "docs", "tests")


@nox.session
def downstream(session: nox.Session) -> None:
    """Check a package that uses our wheel: its tests, its types, and our types as it sees them."""
    (wheel,) = build(session).glob("*.whl")
    tools = ("mypy>=1.18", "pandas-stubs>=2.3", "pyright[nodejs]>=1.1.400", "pytest>=9.0")
    session.install(str(wheel), *tools)
    session.chdir("tests/downstream")
    session.run("python", "-m", "pytest", env=QUIET)
    session.run("mypy", ".")
    session.run("pyright")
    session.run("pyright", "--verifytypes", "cnnkit", "--ignoreexternal")


@nox.session
def changes(session: nox.Session) -> None:
    """List the changes since the last tag that would break users' code."""
    told = session.run("git", "tag", "--sort=-creatordate", external=True, silent=True)
    tags = str(told).split()
    if not tags:
        session.skip("no version has been tagged yet")
    session.install("griffe>=2.0")
    session.run("griffe", "check", "cnnkit", "--against", tags[0])


@nox.session
def traps(session: nox.Session) -> None:
    """Show each trap: the naive way and ours, side by side."""
    install(session)
    run_quietly(session, "tests/traps/table.py", *session.posargs)


@nox.session
def backends(session: nox.Session) -> None:
    """Compare our networks on TensorFlow, JAX and PyTorch."""
    install(session, "backends")
    run_quietly(session, "tests/backends/networks.py", *session.posargs)


@nox.session
def distributed(session: nox.Session) -> None:
    """Train on two devices, in two processes, and from a tf.data service."""
    install(session, "tests", "backends")
    session.run("python", "-Im", "pytest", "tests/distributed", *session.posargs, env=QUIET)


@nox.session
def faults(session: nox.Session) -> None:
    """Kill operations that write files at random moments: all, or those named after `--`."""
    install(session)
    run_quietly(session, "tests/faults/kills.py", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Read 20,000 damaged files."""
    install(session)
    run_quietly(session, "tests/faults/fuzz.py", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Mutate the code that must not fail silently; list what no test notices. Takes hours."""
    install(session, "tests", "backends")
    session.install("mutmut>=3.8.1")
    # Without bytecode files, the process of each mutant would compile everything.
    compiled = {"PYTHONDONTWRITEBYTECODE": ""}
    session.run("mutmut", "run", *session.posargs, env=QUIET | compiled)
    session.run("python", ".ci/mutation_score.py", env=QUIET)


@nox.session(venv_backend="uv")
def minimums(session: nox.Session) -> None:
    """Run the test suite with the lowest versions that pyproject.toml allows. Requires uv."""
    # Only the dependencies named here get their lowest versions; others get the newest.
    session.install(
        "--resolution=lowest-direct",
        ".",
        *PROJECT["project"]["dependencies"],
        *nox.project.dependency_groups(PROJECT, "tests"),
    )
    # Old versions of some packages warn about new versions of others, which we can't fix.
    ignore = ("-W", "ignore::DeprecationWarning")
    options = ("-m", "not slow", *ignore, *session.posargs)
    session.run("python", "-Im", "pytest", "-n", "2", *options, env=QUIET)


@nox.session(venv_backend="uv")
def nightly(session: nox.Session) -> None:
    """Run what depends on Keras's private side on its next release. It reports; it needs uv."""
    install(session, "tests")
    session.run("uv", "pip", "uninstall", "keras", external=True)
    session.install("--prerelease=allow", "keras-nightly")
    session.run("python", "-c", "import keras; print('Keras', keras.__version__)", env=QUIET)
    chosen = session.posargs or ("tests/_keras", "tests/models/test_contract.py")
    session.run("python", "-Im", "pytest", "-n", "2", *chosen, env=QUIET, success_codes=(0, 1))


@nox.session
def bench(session: nox.Session) -> None:
    """Measure speed in comparison with peers: all benchmarks, or those named after `--`."""
    install(session, "bench")
    known = (*BENCHMARKS, *NEEDS_FILES)
    names = [name for name in session.posargs if name in known]
    arguments = [word for word in session.posargs if word not in known]
    for name in names or BENCHMARKS:
        run_quietly(session, f"tests/benchmarks/{name}.py", *arguments)


@nox.session
def architectures(session: nox.Session) -> None:
    """Fine-tune networks briefly and compare every weight: all, or those named after `--`."""
    install(session)
    run_quietly(session, "tests/architectures/weight_changes.py", *session.posargs)


@nox.session
def gallery(session: nox.Session) -> None:
    """Draw every function of `cnnkit.viz` on real images, and a sheet of all pictures."""
    install(session)
    run_quietly(session, "docs/gallery.py", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, with warnings as errors, and run every code block."""
    install(session, "docs")
    run_quietly(session, "docs/gallery.py")
    run_quietly(session, "docs/network_figures.py")
    run_quietly(session, "tests/traps/table.py", "--markdown", "docs/_gallery/traps.md")
    session.run("sphinx-build", "-W", "--keep-going", "docs", "docs/_build/html", env=QUIET)
    run_quietly(session, "docs/run_code_blocks.py")
