"""The code of the README works."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_code_of_the_readme_runs() -> None:
    """A reader can copy the example and gets a table of predictions."""
    blocks = runpy.run_path(str(ROOT / "docs" / "run_code_blocks.py"))

    assert "predictions = predict_images(model, split.test)" in blocks["code_of"](
        ROOT / "README.md"
    )
    blocks["run"](ROOT / "README.md", photos=8)
