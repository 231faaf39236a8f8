"""Small data for the examples, from two photos and the digits that scikit-learn includes.

No pixel is in two files. Still, the tiles of a class share one photo and its light. A high accuracy
shows that the code works, not that the network would recognize another temple.
"""

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits, load_sample_image

TILE = 20  # height and width in pixels
# For each class, a photo and the regions that show almost nothing else: left, top, right, bottom.
REGIONS = {
    "flower": ("flower.jpg", (220, 130, 400, 310), (180, 190, 220, 250), (400, 190, 440, 250)),
    "leaves": ("flower.jpg", (0, 60, 140, 340), (490, 0, 630, 240)),
    "sky": ("china.jpg", (330, 0, 570, 200)),
    "temple": ("china.jpg", (120, 110, 300, 170), (100, 170, 320, 330)),
    "trees": ("china.jpg", (400, 320, 560, 420), (20, 350, 180, 410), (580, 200, 640, 420)),
    "water": ("china.jpg", (360, 240, 540, 280), (360, 280, 440, 300), (0, 280, 40, 300)),
}


def write_photos(folder: Path, regions: dict = REGIONS, layout: str = "{0}/{0}_{1}.png") -> Path:
    """Cut the regions into disjoint tiles, and write each tile to a file."""
    for name, (photo, *boxes) in regions.items():
        pixels = load_sample_image(photo)
        steps = [(range(box[1], box[3], TILE), range(box[0], box[2], TILE)) for box in boxes]
        corners = [corner for step in steps for corner in itertools.product(*step)]
        for number, (top, left) in enumerate(corners):
            path = folder / layout.format(name, number)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[top : top + TILE, left : left + TILE]).save(path)
    return folder


def write_digits(folder: Path) -> Path:
    """Write real handwritten digits, dark on white as on paper, into class folders."""
    digits = load_digits()
    for number, pixels in enumerate((255 - digits.images * (255 / 16)).astype(np.uint8)):
        path = folder / str(digits.target[number]) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


def parse_arguments(description: str, name: str, *, folder: bool = True) -> argparse.Namespace:
    """Parse the command line. A notebook has none and uses the defaults."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--output", type=Path, default=Path("output") / name, help="for results")
    if folder:
        parser.add_argument("folder", type=Path, nargs="?", help="images; samples by default")
    arguments = parser.parse_args([] if "ipykernel" in sys.modules else None)
    arguments.output.mkdir(parents=True, exist_ok=True)
    return arguments
