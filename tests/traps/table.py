"""Show each trap: the naive way and ours, side by side. Fails if a trap does not hold.

    nox -s traps [-- --markdown FILE]

The table is also written to FILE, for the documentation.
"""

import argparse
import contextlib
import io
import re
import sys
from pathlib import Path

import data_traps
import file_traps
import keras
import network_traps
import pandas as pd
import pipeline_traps
import split_traps
import transfer_traps
import unfreezing_traps
from tqdm import tqdm

REPOSITORIES = {
    "albumentations": "albumentations-team/albumentations",
    "keras": "keras-team/keras",
    "vision": "pytorch/vision",
}


def as_markdown(table: pd.DataFrame) -> str:
    """Return the table in Markdown, with links to the issues of users who met the traps."""

    def link(match: re.Match[str]) -> str:
        repository = REPOSITORIES.get(match[1])
        return (
            f"[{match[0]}](https://github.com/{repository}/issues/{match[2]})"
            if repository
            else match[0]
        )

    cells = table.drop(columns="holds").astype(str)
    cells = cells.apply(lambda column: column.str.replace("<", r"\<", regex=False))
    cells["met"] = cells["met"].str.replace(r"([\w-]+)#(\d+)", link, regex=True)
    head = [list(cells.columns), ["---"] * cells.shape[1]]
    return "\n".join(f"| {' | '.join(row)} |" for row in head + cells.to_numpy().tolist()) + "\n"


def main() -> int:
    """Run every experiment, print the table, and return 1 if a trap does not hold."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    experiments = (
        *file_traps.TRAPS,
        *split_traps.TRAPS,
        *data_traps.TRAPS,
        *pipeline_traps.TRAPS,
        *network_traps.TRAPS,
        *transfer_traps.TRAPS,
        *unfreezing_traps.TRAPS,
    )
    rows = []
    for experiment in tqdm(experiments, "traps", unit="trap"):
        keras.utils.set_random_seed(0)  # initial weights, and the order in which Keras shuffles
        with contextlib.redirect_stdout(io.StringIO()):  # Keras prints the number of files
            rows.append(experiment())
    table = pd.DataFrame(rows).rename(columns={"title": "trap", "figure": "measured"})
    print(table.to_string(index=False, justify="left"))
    if options.markdown:
        options.markdown.parent.mkdir(parents=True, exist_ok=True)
        options.markdown.write_text(as_markdown(table), encoding="utf-8")
    return int(not table["holds"].all())


if __name__ == "__main__":
    sys.exit(main())
