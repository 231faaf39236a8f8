"""Choices of layers that `freeze` and `unfreeze` refuse, without a change to the model."""

import keras
import pytest

from cnnkit.models import vggnet
from cnnkit.transfer import freeze, list_blocks, trainable_summary, unfreeze

ALL = {"conv1", "bn1", "conv2", "bn2", "head_predictions"}


def trained(model: keras.Model) -> set[str]:
    table = trainable_summary(model)
    return set(table["layer"][table["trainable"]])


def test_an_unknown_name_is_refused_with_the_closest(classifier) -> None:
    """A name that matches nothing is an error."""
    with pytest.raises(
        ValueError,
        match=r"^`names` must name layers of the model\. Received: \['conv3'\]\. "
        r"The closest: conv[12], conv[12]\.$",
    ):
        freeze(classifier, names=["conv1", "conv3"])


def test_three_close_names_are_told(backbone) -> None:
    """The error lists no more, of `bn1`, `bn2`, `conv1`, `conv2` and the like."""
    x = backbone.output
    for name in ("conv3", "conv4"):
        x = keras.layers.Conv2D(4, 1, name=name)(x)
    with pytest.raises(ValueError, match=r"The closest: conv\d, conv\d, conv\d\.$"):
        freeze(keras.Model(backbone.input, x), names=["conv9"])


@pytest.mark.parametrize("function", [freeze, unfreeze])
@pytest.mark.parametrize(
    ("argument", "what", "where"),
    [
        ("names", "layers of the model", r"model\.summary\(\)"),
        ("blocks", "blocks of the model", r"list_blocks\(model\)"),
    ],
)
def test_a_name_that_is_close_to_none_is_refused(
    function, argument, what, where, classifier
) -> None:
    """The error says where the names are."""
    text = rf"^`{argument}` must name {what}\. Received: \['zzz'\]\. See `{where}`\.$"
    with pytest.raises(ValueError, match=text):
        function(classifier, **{argument: ["zzz"]})


def test_a_failed_call_changes_nothing(classifier) -> None:
    """A wrong name beside a right one freezes neither."""
    with pytest.raises(ValueError, match="must name layers"):
        freeze(classifier, names=["conv1", "conv3"])

    assert trained(classifier) == ALL


def test_a_string_of_names_is_refused(classifier) -> None:
    """A string is no list of names, although Python would take its letters for one."""
    with pytest.raises(TypeError, match=r"`names` must be a list.*Write \['conv1'\]"):
        freeze(classifier, names="conv1")


def test_an_unknown_layer_is_refused_by_its_argument(classifier) -> None:
    """The error speaks of the argument that was given."""
    with pytest.raises(ValueError, match=r"`from_layer` must name layers.*\['conv9'\]"):
        unfreeze(classifier, from_layer="conv9")


@pytest.mark.parametrize(("function", "argument"), [(freeze, "first"), (unfreeze, "last")])
def test_more_layers_than_there_are_is_refused(function, argument, classifier) -> None:
    """The error names the number of layers."""
    with pytest.raises(ValueError, match=rf"`{argument}` must be at most the number of layers, 11"):
        function(classifier, **{argument: 12})


@pytest.mark.parametrize("choice", [{"first": 11}, {"names": sorted(ALL)}, {"blocks": None}])
def test_a_choice_that_leaves_nothing_to_train_is_refused(choice, classifier) -> None:
    """As `[:150]` on a short network; nothing is frozen then."""
    if "blocks" in choice:
        choice = {"blocks": list_blocks(classifier)["name"].tolist()}
    with pytest.raises(
        ValueError,
        match=r"must leave something to train\. Received: a choice of all 5 layers that train\. "
        r"Choose fewer, or freeze all with `freeze\(model\)` and then `unfreeze` some\.$",
    ):
        freeze(classifier, **choice)

    assert trained(classifier) == ALL


@pytest.mark.parametrize(("function", "argument"), [(freeze, "first"), (unfreeze, "last")])
def test_a_negative_count_is_refused(function, argument, classifier) -> None:
    """Counts are whole numbers from 0."""
    with pytest.raises(ValueError, match=rf"`{argument}` must be a whole number of at least 0"):
        function(classifier, **{argument: -1})


@pytest.mark.parametrize("function", [freeze, unfreeze, trainable_summary])
def test_a_model_without_weights_is_refused(function) -> None:
    """The weights of its layers don't exist yet."""
    model = keras.Sequential([keras.layers.Dense(3)])
    text = (
        r"^`model` must be built\. Received: a model without weights\. Add a keras\.Input, or "
        r"call the model once\.$"
    )
    with pytest.raises(ValueError, match=text):
        function(model)


@pytest.mark.parametrize("function", [freeze, unfreeze, trainable_summary])
def test_what_is_no_model_is_refused(function) -> None:
    """A layer or a path, for example."""
    text = (
        r"^`model` must be a Keras model\. Received: str\. "
        r"Pass the model itself, not a layer or a file\.$"
    )
    with pytest.raises(TypeError, match=text):
        function("model.keras")


def test_an_unknown_block_is_refused_with_the_closest(classifier) -> None:
    """The error says where the names are."""
    with pytest.raises(ValueError, match=r"`blocks` must name blocks of the model\..*conv2"):
        freeze(classifier, blocks=["conv22"])


@pytest.mark.parametrize(
    ("function", "choice"),
    [(freeze, {"names": ["block2"]}), (unfreeze, {"from_layer": "block2"})],
)
def test_a_block_in_place_of_a_layer_is_refused_with_the_way(function, choice) -> None:
    """The error says that it is a block, and where blocks go."""
    with keras.StatelessScope():
        model = vggnet((32, 32, 3), depth=11)
    with pytest.raises(
        ValueError,
        match=rf"^`{next(iter(choice))}` must name layers of the model\. Received: \['block2'\], "
        r"where 'block2' is a block\. Write blocks=\['block2'\]\.",
    ):
        function(model, **choice)
