"""Traps of splitting."""

import tempfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

from cnnkit.data import LoadedImages, list_images, load_images, split_arrays, split_table

from digits import digits
from trap import Trap

SEEDS = range(40)


def unstratified_split() -> Trap:
    """A random split may leave no image of a rare class for validation."""
    with tempfile.TemporaryDirectory() as name:
        for label, count in {"common": 60, "less": 20, "rare": 6}.items():
            Path(name, label).mkdir()
            for number in range(count):
                Image.new("RGB", (4, 4)).save(Path(name, label, f"{number}.png"))
        table = list_images(name)
        naive = [_rare_in_keras_split(name, seed) for seed in SEEDS]
    ours = [_rare_in_our_split(table, seed) for seed in SEEDS]
    return Trap(
        "unstratified split",
        f"seeds of {len(SEEDS)} without a rare image in validation",
        str(naive.count(0)),
        str(ours.count(0)),
        naive.count(0) > 0 == ours.count(0),
        "keras#14277",
    )


def _rare_in_keras_split(folder: str, seed: int) -> int:
    validation = keras.utils.image_dataset_from_directory(
        folder,
        validation_split=0.2,
        subset="validation",
        seed=seed,
        image_size=(4, 4),
        verbose=False,
    )
    return sum(Path(path).parent.name == "rare" for path in validation.file_paths)


def _rare_in_our_split(table: pd.DataFrame, seed: int) -> int:
    validation = split_table(table, test_size=0, random_state=seed).validation
    return int((validation["target_names"] == "rare").sum())


def patient_leak() -> Trap:
    """Images of one patient look alike: a model that was trained on one knows the others."""
    generator = np.random.default_rng(0)
    images, targets, patients = _scans(generator, count=60)
    new_images, new_targets, _ = _scans(generator, count=60)
    truth = _nearest_neighbor_score(images, targets, new_images, new_targets)
    scores = []
    for groups in (None, patients):
        split = split_arrays(
            images, targets, validation_size=0, test_size=0.2, groups=groups, random_state=0
        )
        scores.append(_nearest_neighbor_score(*split.train, *split.test))
    return Trap(
        "patient in train and test",
        f"test accuracy; on new patients: {truth:.2f}",
        f"{scores[0]:.2f}",
        f"{scores[1]:.2f}",
        scores[0] > truth + 0.2 and abs(scores[1] - truth) < 0.15,
        "RIAWELC#2",
    )


def _scans(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make 10 scans per patient: the patient's own body, a faint sign of the illness, noise."""
    patients = np.repeat(np.arange(count), 10)
    ill = patients % 2
    bodies = generator.normal(size=(count, 64))[patients]
    signs = np.outer(ill, np.r_[np.ones(16) * 0.7, np.zeros(48)])
    return bodies + signs + 0.3 * generator.normal(size=bodies.shape), ill, patients


def duplicate_leak() -> Trap:
    """Images collected on the web contain copies, and copies in test have been memorized."""
    images, targets = digits(0, 9)
    order = np.random.default_rng(0).permutation(len(images))  # the data is sorted by writer
    images, targets = images[order], targets[order]
    truth = _nearest_neighbor_score(images[:150], targets[:150], images[150:], targets[150:])
    with tempfile.TemporaryDirectory() as name:
        for place, (image, target) in enumerate(zip(images[:150], targets[:150], strict=True)):
            Path(name, str(target)).mkdir(exist_ok=True)
            for copy in range(3):
                Image.fromarray(image).save(Path(name, str(target), f"{place}_{copy}.png"))
        loaded = load_images(list_images(name), (16, 16), progress=False)
        scores = [
            np.mean([_score_of_split(loaded, groups, seed) for seed in range(5)])
            for groups in (None, "duplicates")
        ]
    return Trap(
        "copies in train and test",
        f"test accuracy; on new images: {truth:.2f}",
        f"{scores[0]:.2f}",
        f"{scores[1]:.2f}",
        scores[0] > truth + 0.05 and scores[1] < truth + 0.05,
        "RIAWELC#2",
    )


def _score_of_split(loaded: LoadedImages, groups: str | None, seed: int) -> float:
    rows = loaded.table.assign(row=range(len(loaded.table)))
    split = split_table(rows, validation_size=0, groups=groups, random_state=seed)
    train, test = split.train["row"], split.test["row"]
    return _nearest_neighbor_score(
        loaded.images[train], loaded.targets[train], loaded.images[test], loaded.targets[test]
    )


def _nearest_neighbor_score(images, targets, test_images, test_targets) -> float:
    model = KNeighborsClassifier(1).fit(images.reshape(len(images), -1), targets)
    return model.score(test_images.reshape(len(test_images), -1), test_targets)


TRAPS = (unstratified_split, patient_leak, duplicate_leak)
