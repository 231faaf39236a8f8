"""Blocks found from the graph, and cutting a model between them."""

import re
from functools import cache
from pathlib import Path

import keras
import pytest

from cnnkit.models import googlenet, resnet, vggnet
from cnnkit.transfer import list_blocks


def numbered(prefix: str, *counts: int, first: int = 2) -> list[str]:
    """Return `conv2_block1`, `conv2_block2` … for stages of so many blocks."""
    return [
        f"{prefix}{stage}_block{block}"
        for stage, count in enumerate(counts, start=first)
        for block in range(1, count + 1)
    ]


DENSE = [
    name
    for stage, count in enumerate((6, 12, 24, 16), start=2)
    for name in [*numbered("conv", count, first=stage), f"pool{stage}"]
]
PAGE = Path(__file__).parents[2] / "docs" / "how_to" / "freeze.md"
APPLICATIONS = {
    "VGG16": [f"block{number}" for number in range(1, 6)],
    "ResNet50": ["conv1", *numbered("conv", 3, 4, 6, 3)],
    "MobileNetV2": [
        *("Conv1", "expanded_conv"),
        *(f"block_{number}" for number in range(1, 17)),
        "Conv_1",
    ],
    "EfficientNetB0": [
        "stem",
        *("block1a", "block2a", "block2b", "block3a", "block3b", "block4a", "block4b", "block4c"),
        *("block5a", "block5b", "block5c", "block6a", "block6b", "block6c", "block6d", "block7a"),
        "top",
    ],
    "DenseNet121": ["conv1", *DENSE[:-1], "bn"],
    "InceptionV3": ["stage1", "stage2", *(f"mixed{number}" for number in range(11))],
    "Xception": [f"block{number}" for number in range(1, 15)],
    "MobileNetV3Small": [
        *("conv", "expanded_conv"),
        *(f"expanded_conv_{number}" for number in range(1, 11)),
        *("conv_1", "conv_2", "logits"),
    ],
}
OURS = {
    "vggnet": (vggnet, APPLICATIONS["VGG16"]),
    "resnet": (resnet, APPLICATIONS["ResNet50"]),
    "googlenet": (
        googlenet,
        [
            *("conv1", "conv2", "inception_3a", "inception_3b", "inception_4a", "inception_4b"),
            *("inception_4c", "inception_4d", "inception_4e", "inception_5a", "inception_5b"),
        ],
    ),
}


@cache
def application(name: str) -> keras.Model:
    """Return a network of keras.applications, made once."""
    with keras.StatelessScope():  # weights without values
        return getattr(keras.applications, name)(weights=None)


def check_documented(name: str, found: list[str]) -> None:
    """Compare with the row of the how-to page: so many blocks, and those named among them."""
    text = PAGE.read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if re.match(rf"\|.*\b{name}\b.*\|.*\d+", line))
    count, names = row.split("|")[2:4]
    named = re.findall(r"`(.+?)`", names.split("each prefixed with")[0].split(":")[0])

    assert len(found) == int(count)
    assert named == [one for one in found if one in named]
    assert [found[0], found[-1]] == [named[0], named[-1]]


@pytest.mark.parametrize("name", APPLICATIONS)
def test_blocks_are_those_that_a_person_would_name(name: str) -> None:
    """The networks of keras.applications have the blocks of their papers."""
    check_documented(name, APPLICATIONS[name])

    assert [*APPLICATIONS[name], "head"] == list_blocks(application(name))["name"].tolist()


@pytest.mark.parametrize("name", OURS)
def test_our_blocks_are_those_of_the_papers(name: str) -> None:
    """Our networks have the blocks that their papers draw."""
    build, expected = OURS[name]
    with keras.StatelessScope():
        model = build()
    check_documented(name, expected)

    assert [*expected, "head"] == list_blocks(model)["name"].tolist()


def test_convnext_has_its_stages_and_what_stands_between() -> None:
    """Stem and downsampling are nested models, each of them a block."""
    names = list_blocks(application("ConvNeXtTiny"))["name"].tolist()
    plain = [name.removeprefix("convnext_tiny_") for name in names]
    stages = [
        [f"stage_{stage}_block_{block}" for block in range(count)]
        for stage, count in enumerate((3, 3, 9, 3))
    ]
    between = [f"downsampling_block_{number}" for number in range(3)]
    expected = ["stem", *stages[0]]
    for name, stage in zip(between, stages[1:], strict=True):
        expected += [name, *stage]
    check_documented("ConvNeXtTiny", expected)

    assert [*expected, "head"] == plain


def test_a_model_that_cannot_be_cut_says_so() -> None:
    """NASNet's cells take the last two: its blocks are the layers of each image size."""
    model = application("NASNetMobile")
    with pytest.warns(UserWarning, match=r"The model can't be cut.*the layers of each image size"):
        names = list_blocks(model)["name"].tolist()

    check_documented("NASNetMobile", names[:-1])

    assert ["stem_conv1", *(f"stage{number}" for number in range(1, 6)), "head"] == names


@pytest.mark.parametrize("name", [*APPLICATIONS, "ConvNeXtTiny"])
def test_every_weight_stands_in_one_block(name: str) -> None:
    """The parameters of the blocks are those of the model."""
    model = application(name)

    assert model.count_params() == list_blocks(model)["parameters"].sum()


def test_an_operation_may_have_several_outputs() -> None:
    """For example, a split whose halves are used separately or not at all."""
    inputs = keras.Input((8, 8, 4))
    x = keras.layers.Conv2D(4, 3, padding="same", name="conv1")(inputs)
    half, _ = keras.ops.split(x, 2, axis=-1)
    x = keras.layers.Conv2D(4, 3, padding="same", name="conv2")(half)
    model = keras.Model(inputs, keras.ops.split(x, 2, axis=-1)[0])

    blocks = list_blocks(model)
    assert ["conv1", "conv2"] == blocks["name"].tolist()
    assert (None, 8, 8, 2) == blocks["output_shape"].iloc[-1]


class Own(keras.Model):
    """A model that is a class of its own, whose graph nobody knows."""

    def __init__(self) -> None:
        super().__init__(name="own")
        self.inner = keras.layers.Conv2D(4, 1, name="inner")

    def call(self, x):
        return self.inner(x)


def test_a_model_without_a_graph_inside_is_a_layer() -> None:
    """Also where the model around it is inside another."""
    inputs = keras.Input((8, 8, 4))
    branch = keras.Model(inputs, Own()(inputs), name="branch")
    x = keras.layers.Conv2D(4, 3, padding="same", name="conv1")(inputs)
    model = keras.Model(inputs, keras.layers.Add(name="added")([x, branch(x)]))

    blocks = list_blocks(model)
    assert [["conv1"], ["own", "added"]] == blocks["layers"].tolist()
    assert [4 * 4 * 9 + 4, 4 * 4 + 4] == blocks["parameters"].tolist()
