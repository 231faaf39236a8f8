"""Show each trap: the naive way and ours, side by side. Fails where ours does not hold.

nox -s traps
"""

import sys

import data_traps
import file_traps
import network_traps
import pandas as pd
import pipeline_traps
import split_traps
import transfer_traps
import unfreezing_traps
from tqdm import tqdm


def main() -> int:
    """Run every experiment, print the table, and return 1 if one fails."""
    experiments = (
        *file_traps.TRAPS,
        *split_traps.TRAPS,
        *data_traps.TRAPS,
        *pipeline_traps.TRAPS,
        *network_traps.TRAPS,
        *transfer_traps.TRAPS,
        *unfreezing_traps.TRAPS,
    )
    rows = [experiment() for experiment in tqdm(experiments, "traps", unit="trap")]
    table = pd.DataFrame(rows).rename(columns={"title": "trap", "figure": "measured"})
    print(table.to_string(index=False, justify="left"))
    return int(not table["holds"].all())


if __name__ == "__main__":
    sys.exit(main())
