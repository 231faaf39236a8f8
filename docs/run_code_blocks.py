"""Execute every Python block of README.md and of the documentation, page by page.

Each page runs in its own folder, which contains `photos/`: handwritten digits in class folders.
Pretrained weights are replaced by random ones, so that nothing is downloaded.

    python docs/run_code_blocks.py [PAGE …]
"""

import contextlib
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
REPLACEMENTS = {'weights="imagenet"': "weights=None"}


def pages() -> list[Path]:
    """Return the files that contain code."""
    return [ROOT / "README.md", *sorted(ROOT.glob("docs/*/*.md"))]


def code_of(page: Path) -> str:
    """Join the Python blocks of a page, with empty lines for the text between them."""
    text = page.read_text(encoding="utf-8")
    for old, new in REPLACEMENTS.items():
        text = text.replace(old, new)
    code = ["\n"] * (text.count("\n") + 1)
    for match in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        first = text.count("\n", 0, match.start(1))
        lines = match.group(1).splitlines(keepends=True)
        code[first : first + len(lines)] = lines
    return "".join(code)


def write_photos(folder: Path, count: int = 20) -> None:
    """Write `count` digits of each of three classes."""
    images, targets = load_digits(n_class=3, return_X_y=True)
    for target in range(3):
        (folder / f"digit_{target}").mkdir(parents=True)
        for number, image in enumerate(images[targets == target][:count]):
            pixels = (image.reshape(8, 8) * (255 / 16)).round().astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"digit_{target}" / f"{number}.png")


def run_in(folder: Path | str, page: Path, photos: int = 20) -> None:
    """Execute the blocks of a page with `photos` images per class; errors show the page's line."""
    with contextlib.chdir(folder):
        write_photos(Path("photos"), photos)
        exec(compile(code_of(page), str(page), "exec"), {"__name__": "__main__"})


def run(page: Path, photos: int = 20) -> None:
    """Execute the blocks of a page in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        run_in(folder, page, photos)


if __name__ == "__main__":
    chosen = [Path(name).resolve() for name in sys.argv[1:]] or pages()
    for page in tqdm(chosen, "pages"):
        run(page)
