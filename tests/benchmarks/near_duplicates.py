"""What the perceptual hash of `check_images` finds, and what it mistakes.

    nox -s bench -- near_duplicates

or, for one's own images, `python near_duplicates.py FOLDER ...` in this folder. Pairs of different
images that count as near are mistakes, unless the folder really has copies: look at the nearest.
Changed copies that don't count as near are missed.
"""

import sys
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance
from sklearn.datasets import load_digits, load_sample_images
from tqdm import tqdm

from cnnkit.data import list_images, read_image
from cnnkit.data._checks.duplicates import NEAR, looks_of

TILE = 80
SAMPLE = 100
NEAREST = 10
BLOCK = 1000  # rows whose distances to all are known at once


def compressed(image: Image.Image, quality: int) -> Image.Image:
    """Return what is left of an image after saving it as a JPEG."""
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=quality)
    return Image.open(encoded)


def scaled(image: Image.Image, width: float, height: float) -> Image.Image:
    """Return an image with each side multiplied."""
    return image.resize((max(1, round(width * image.width)), max(1, round(height * image.height))))


def cropped(image: Image.Image, share: float) -> Image.Image:
    """Return an image without a share of it on each side."""
    left, upper = round(share * image.width), round(share * image.height)
    return image.crop((left, upper, image.width - left, image.height - upper))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG quality 50": lambda image: compressed(image, 50),
    "JPEG quality 20": lambda image: compressed(image, 20),
    "half the size": lambda image: scaled(image, 0.5, 0.5),
    "aspect changed by 0.7": lambda image: scaled(image, 1, 0.7),
    "brightness 1.2": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "gray": lambda image: image.convert("L"),
    "cropped by 1.5 % a side": lambda image: cropped(image, 0.015),
    "cropped by 3 % a side": lambda image: cropped(image, 0.03),
}


def write_tiles(folder: Path) -> None:
    """Cut the two sample photos into tiles."""
    for number, photo in enumerate(load_sample_images().images):
        for y in range(0, photo.shape[0] - TILE + 1, TILE):
            for x in range(0, photo.shape[1] - TILE + 1, TILE):
                tile = Image.fromarray(photo[y : y + TILE, x : x + TILE])
                tile.save(folder / f"photo {number} at {x} {y}.png")


def write_digits(folder: Path) -> None:
    """Save the scanned digits, which are no photos."""
    for number, pixels in enumerate(load_digits().images):
        Image.fromarray(np.uint8(pixels * 15)).save(folder / f"{number}.png")


def nearest_pairs(signs: np.ndarray) -> tuple[int, pd.DataFrame]:
    """Return how many pairs are near, and the nearest: `distance`, `one` and `other` rows."""
    near, kept = 0, []
    for start in range(0, len(signs), BLOCK):
        block = signs[start : start + BLOCK]
        distances = (signs.shape[1] - block @ signs.T) / 2
        rows, columns = np.indices(distances.shape, sparse=True)
        distances[columns <= rows + start] = np.inf  # each pair once
        near += int((distances <= NEAR).sum())
        places = np.argsort(distances, axis=None)[:NEAREST]
        one, other = np.unravel_index(places, distances.shape)
        kept.append(
            pd.DataFrame({"distance": distances.flat[places], "one": one + start, "other": other})
        )
    pairs = pd.concat(kept).sort_values("distance", kind="stable").head(NEAREST)
    return near, pairs[np.isfinite(pairs["distance"])].astype(int)


def recognized(paths: list[str]) -> pd.DataFrame:
    """Return the share of changed copies of a sample that count as near their originals."""
    sample = np.random.default_rng(0).permutation(paths)[:SAMPLE]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        copy = str(Path(folder, "copy.png"))
        for path in tqdm(sample, "changing copies"):
            image, looks = Image.fromarray(read_image(path)), looks_of(path)
            row = {}
            for name, change in CHANGES.items():
                change(image).save(copy)
                changed = looks_of(copy)
                row[name] = changed is not None and (changed != looks).sum() <= NEAR
            rows.append(row)
    return pd.DataFrame(rows).mean().rename("recognized").map("{:.0%}".format)


def report(name: str, folder: Path) -> None:
    """Print what the hash makes of the images below a folder."""
    paths = list(list_images(folder, labels=None)["file_paths"])
    looks = [looks_of(path) for path in tqdm(paths, f"hashing {name}")]
    known = [path for path, signs in zip(paths, looks, strict=True) if signs is not None]
    signs = np.stack([signs for signs in looks if signs is not None]).astype(np.float32)
    near, pairs = nearest_pairs(signs)
    count = len(known) * (len(known) - 1) // 2
    print(f"\n{name}: {len(paths)} images, {len(paths) - len(known)} of them blank")
    print(f"{near} of {count} pairs are near ({NEAR} of 255 signs or less): {near / count:.5%}")
    names = [str(Path(path).relative_to(folder)) for path in known]
    print(
        pairs.assign(
            one=[names[row] for row in pairs["one"]], other=[names[row] for row in pairs["other"]]
        ).to_string(index=False)
    )
    print(f"\nChanged copies of {min(SAMPLE, len(known))} of them")
    print(recognized(known).to_string())


def main() -> None:
    """Print a report for each folder named, or for photos and for digits."""
    if sys.argv[1:]:
        for folder in map(Path, sys.argv[1:]):
            report(str(folder), folder)
        return
    for name, write in {"tiles of photos": write_tiles, "digits": write_digits}.items():
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder))
            report(name, Path(folder))


if __name__ == "__main__":
    main()
