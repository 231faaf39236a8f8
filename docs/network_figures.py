"""Draw each classic network from its Keras model: sizes of maps, channels, parameters.

    python docs/network_figures.py [PICTURES]

PICTURES is the output folder, by default `docs/_gallery`.
"""

import sys
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from tqdm import tqdm

from cnnkit.models import googlenet, resnet, vggnet
from cnnkit.transfer import list_blocks

PICTURES = Path(__file__).parent / "_gallery"
SHAPE = (224, 224, 3)
NETWORKS = {
    "vggnet": lambda: vggnet(SHAPE, 1000, head="paper"),
    "googlenet": lambda: googlenet(SHAPE, 1000),
    "resnet": lambda: resnet(SHAPE, 1000),
}
BLUE = "#0072B2"


def blocks_of(model: keras.Model) -> pd.DataFrame:
    """Return a row for each block, with the size of its maps, its channels, and its parameters."""
    table = list_blocks(model)
    shapes = table["output_shape"]
    return pd.DataFrame(
        {
            "block": table["name"],
            "maps": [f"{s[1]} x {s[2]}" if len(s) == 4 else "" for s in shapes],
            "height": [s[1] if len(s) == 4 else 1 for s in shapes],
            "channels": [s[-1] for s in shapes],
            "parameters": table["parameters"],
        }
    )


def draw(ax: Axes, blocks: pd.DataFrame) -> None:
    """Draw a box for each block, as high as its maps, and darker for more parameters."""
    most, half = blocks["parameters"].max(), blocks["height"].max() / 2
    for place, row in enumerate(blocks.itertuples()):
        box = Rectangle((place - 0.4, -row.height / 2), 0.8, row.height, color=BLUE)
        box.set_alpha(0.15 + 0.85 * row.parameters / most)
        ax.add_patch(box)
        told = f"{row.maps or 'vector'}\n{row.channels}"
        ax.text(place, row.height / 2 + 2, told, ha="center", va="bottom", fontsize="x-small")
    ax.set(xlim=(-1, len(blocks)), ylim=(-half - 4, half + 18), yticks=[])
    ax.set_xticks(range(len(blocks)), blocks["block"], rotation=90, fontsize="small")
    ax.spines[["left", "right", "top"]].set_visible(False)


def main() -> None:
    """Write a picture for each network."""
    pictures = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES
    pictures.mkdir(parents=True, exist_ok=True)
    for name, build in tqdm(NETWORKS.items(), "networks"):
        model = build()
        blocks = blocks_of(model)
        figure, ax = plt.subplots(figsize=(9, 3.6), layout="constrained")
        draw(ax, blocks)
        ax.set_title(f"{name}: {model.count_params():,} parameters", fontsize="medium")
        figure.savefig(pictures / f"{name}.png", dpi=100)
        plt.close(figure)


if __name__ == "__main__":
    main()
