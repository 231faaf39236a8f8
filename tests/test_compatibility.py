"""The page on versions says what pyproject.toml says."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_lowest_versions_of_the_page_are_those_of_the_project() -> None:
    """A row for Python and for each dependency, and no others."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lowest = dict(requirement.split(">=") for requirement in project["dependencies"])
    lowest["Python"] = project["requires-python"].removeprefix(">=")
    page = (ROOT / "docs" / "explanation" / "compatibility.md").read_text("utf-8")

    told = re.findall(r"^\| ([\w-]+) \| ([\d.]+) \| [\d.]+ \|$", page, re.MULTILINE)

    assert sorted(lowest.items()) == sorted(told)
