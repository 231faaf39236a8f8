"""Read many damaged files: each is an image or an `ImageReadError`, soon and in little memory.

    nox -s fuzz [-- --count 20000] [--folder FOLDER]

Small images of every format that Pillow can write here, and the files of FOLDER if one is given,
are mutated: bits flipped, bytes replaced, parts left out, repeated or taken from another file. A
mutation is known by its number. `read_image` reads every file as it is and at a size, and
`check_images` looks at all. A process of its own does so, since a decoder may crash.
"""

import argparse
import importlib
import io
import resource
import select
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, features
from sklearn.datasets import load_sample_images
from tqdm import tqdm

SECONDS, MEGABYTES, TOGETHER = 10, 1000, 50
FORMATS = {
    "jpg": [{"quality": 90}, {"progressive": True}],
    "png": [{}],
    "gif": [{}],
    "bmp": [{}],
    "tif": [{}, {"compression": "tiff_lzw"}, {"compression": "jpeg"}, {"compression": "zstd"}],
    "webp": [{}, {"lossless": True}],
    "ppm": [{}],
    "jp2": [{}],
    "avif": [{}],
    "ico": [{}],
    "tga": [{"compression": "tga_rle"}],
    "dds": [{}],
    "sgi": [{}],
    "pcx": [{}],
}
MODES = ("RGB", "L", "P", "RGBA", "CMYK", "I;16", "1", "LA")


def originals(folder: str | None) -> list[tuple[str, bytes]]:
    """Return whole files: their suffixes and what is in them."""
    photo = Image.fromarray(load_sample_images().images[0]).resize((48, 40))
    found = []
    for suffix, options in FORMATS.items():
        for mode in MODES:
            for option in options:
                buffer = io.BytesIO()
                try:
                    kind = Image.registered_extensions()[f".{suffix}"]
                    photo.convert(mode).save(buffer, kind, **option)
                except (KeyError, OSError, ValueError):  # not this mode in this format
                    continue
                found.append((f".{suffix}", buffer.getvalue()))
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file()) if folder else []
    return found + [(path.suffix, path.read_bytes()[:200_000]) for path in paths]


def mutated(files: list[tuple[str, bytes]], number: int) -> tuple[str, bytes]:
    """Return the file of a number."""
    generator = np.random.default_rng(number)
    suffix, content = files[generator.integers(len(files))]
    data = bytearray(content)
    for _ in range(generator.integers(1, 6)):
        if not data:
            break
        # Half of the changes near the front, where the headers are.
        reach = min(len(data), 100) if generator.random() < 0.5 else len(data)
        place, length = int(generator.integers(reach)), int(generator.integers(1, 64))
        match generator.integers(6):
            case 0:
                data[place] ^= 1 << generator.integers(8)
            case 1:
                data[place : place + 4] = generator.choice([b"\0" * 4, b"\xff" * 4, b"\x7f\xff"])
            case 2:
                data[place : place + length] = generator.bytes(length)
            case 3:
                del data[place : place + length]
            case 4:
                data[place:place] = data[place : place + length]
            case 5:
                _, other = files[generator.integers(len(files))]
                data[place : place + length] = other[place : place + length]
    if generator.random() < 0.2:
        del data[generator.integers(len(data) + 1) :]
    return suffix, bytes(data)


def work(count: int, first: int, folder: str | None) -> None:
    """Read files by their numbers, and say after each what came of it."""
    data = importlib.import_module("cnnkit.data")
    error = importlib.import_module("cnnkit.exceptions").ImageReadError
    files = originals(folder)
    print("-1\t0\tchecked", flush=True)  # the imports are done: from here on the time counts
    with tempfile.TemporaryDirectory() as name:
        for start in range(first, count, TOGETHER):
            paths = []
            for number in range(start, min(start + TOGETHER, count)):
                suffix, content = mutated(files, number)
                path = Path(name, f"{number}{suffix}")
                path.write_bytes(content)
                paths.append(str(path))
                try:
                    shapes = data.read_image(path).shape, data.read_image(path, (32, 32)).shape
                    told = "image" if shapes[1] == (32, 32, 3) else f"wrong shape {shapes}"
                except error:
                    told = "ImageReadError"
                except Exception as other:  # noqa: BLE001  # what is looked for
                    told = f"{type(other).__name__}: {other}".replace("\n", " ")
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
                print(f"{number}\t{memory:.0f}\t{told}", flush=True)
            found = data.check_images(pd.DataFrame({"file_paths": paths}), progress=False)
            print(f"{number}\t0\tchecked {len(found)}", flush=True)
            for path in paths:
                Path(path).unlink()


def rows(count: int, folder: list[str]) -> list[tuple[int, str]]:
    """Return what came of each number; start again behind one that ends the process."""
    found: list[tuple[int, str]] = []
    first = 0
    with tqdm(total=count, disable=None) as bar:
        while first < count:
            command = [sys.executable, __file__, *folder, "--count", str(count)]
            process = subprocess.Popen(
                [*command, "--first", str(first)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            assert process.stdout is not None
            patience = 10 * SECONDS
            while first < count:
                ready, _, _ = select.select([process.stdout], [], [], patience)
                patience = SECONDS
                line = process.stdout.readline().decode() if ready else ""
                if not line:
                    fate = f"crash {process.wait()}" if ready else f"more than {SECONDS} seconds"
                    found.append((first, fate))
                    process.kill()
                    first += 1
                    break
                number, memory, told = line.rstrip("\n").split("\t")
                if told.startswith("checked"):
                    continue
                first = int(number) + 1
                bar.update()
                found.append((int(number), told))
                if int(memory) > MEGABYTES:
                    found.append((int(number), f"{memory} MB"))
                    process.kill()
                    break
            process.kill()
            process.communicate()
    return found


def main() -> int:
    """Print how often each came out; return how many must not."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--first", type=int)
    parser.add_argument("--folder")
    options = parser.parse_args()
    if options.first is not None:
        work(options.count, options.first, options.folder)
        return 0
    found = rows(options.count, ["--folder", options.folder] if options.folder else [])
    wrong = [row for row in found if row[1] not in ("image", "ImageReadError")]
    print(f"Pillow {Image.__version__}, AVIF: {features.check('avif')}; mutations: {options.count}")
    print(Counter(told for _, told in found if (_, told) not in wrong))
    print(f"anything else: {len(wrong)}", *wrong[:20], sep="\n")
    return min(1, len(wrong))


if __name__ == "__main__":
    sys.exit(main())
