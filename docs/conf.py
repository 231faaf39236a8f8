"""Configuration of Sphinx."""

from importlib.metadata import version as installed_version

project = "cnnkit"
author = "the cnnkit contributors"
copyright = "2026, the cnnkit contributors"
version = release = installed_version("cnnkit")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "_gallery/traps.md"]
html_theme = "furo"
html_title = f"cnnkit {version}"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}
autodoc_typehints_description_target = "documented_params"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
default_role = "code"


def setup(app):
    """Leave out the generated descriptions of NamedTuple fields; the class describes them."""

    def leave_out(*told):
        documented = told[3].__doc__ or ""
        return True if documented.startswith("Alias for field number") else None

    app.connect("autodoc-skip-member", leave_out)
