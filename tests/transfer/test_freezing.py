"""What `fit` trains is what `freeze` and `unfreeze` say, in every order of calls."""

import keras
import numpy as np
import pytest

from cnnkit.transfer import freeze, list_blocks, trainable_summary, unfreeze

ALL = {"conv1", "bn1", "conv2", "bn2", "head_predictions"}


def trained(model: keras.Model) -> set[str]:
    table = trainable_summary(model)
    return set(table["layer"][table["trainable"]])


def test_freezing_without_arguments_freezes_everything(classifier) -> None:
    """No layer trains."""
    freeze(classifier)

    assert set() == trained(classifier)


def test_first_counts_from_the_input(classifier) -> None:
    """The first layers freeze, the input and layers without weights counted."""
    freeze(classifier, first=4)  # input, scaling, conv1, bn1

    assert {"conv2", "bn2", "head_predictions"} == trained(classifier)


def test_names_freeze_the_named_layers(classifier) -> None:
    """A list of names freezes these and no others."""
    freeze(classifier, names=["conv1", "bn2"])

    assert {"bn1", "conv2", "head_predictions"} == trained(classifier)


def test_the_first_layer_of_a_sequential_model_is_not_frozen_unasked() -> None:
    """A Sequential model's first layer isn't an input layer."""
    model = keras.Sequential([keras.Input((4,))])
    for name in ("first", "second", "third"):
        model.add(keras.layers.Dense(4, name=name))
    freeze(model, names=["second"])

    assert {"first", "third"} == trained(model)


def test_freezing_adds_to_the_present_state(classifier) -> None:
    """A second call keeps what the first froze."""
    freeze(freeze(classifier, names=["conv1"]), names=["conv2"])

    assert {"bn1", "bn2", "head_predictions"} == trained(classifier)


def test_unfreezing_leaves_trained_batch_norm_frozen(classifier) -> None:
    """BatchNorm with trained statistics trains only if asked for."""
    unfreeze(freeze(classifier))
    without = trained(classifier)
    unfreeze(classifier, batch_norm=True)

    assert (ALL - {"bn1", "bn2"}, ALL) == (without, trained(classifier))


def test_unfreezing_includes_batch_norm_at_its_start(classifier) -> None:
    """BatchNorm with initial statistics, 0 and 1, trains."""
    classifier.get_layer("bn2").moving_mean.assign(np.zeros(4))
    unfreeze(freeze(classifier))

    assert ALL - {"bn1"} == trained(classifier)


def test_last_counts_from_the_output(classifier) -> None:
    """The last layers unfreeze: predictions, dropout, pool, relu2, bn2, conv2."""
    unfreeze(freeze(classifier), last=6)

    assert {"conv2", "head_predictions"} == trained(classifier)


def test_from_layer_unfreezes_all_behind_it(classifier) -> None:
    """The named layer and all behind it train."""
    unfreeze(freeze(classifier), from_layer="conv2")

    assert {"conv2", "head_predictions"} == trained(classifier)


def test_a_nested_backbone_is_frozen_by_its_name(nested) -> None:
    """The name of a nested model means every layer in it."""
    freeze(nested, names=["backbone"])

    assert {"dense"} == {name.split("_")[0] for name in trained(nested)}


@pytest.mark.usefixtures("eagerly")
def test_layers_of_a_frozen_nested_backbone_can_be_unfrozen(nested, data, changes) -> None:
    """A frozen container does not hide its unfrozen layer, nor does it say that none trains."""
    backbone = nested.get_layer("backbone")
    backbone.trainable = False
    unfreeze(nested, names=["conv2"])
    images, targets = data

    assert backbone.get_layer("conv2").weights == backbone.trainable_weights
    assert {"conv2", nested.layers[-1].name} == changes(nested, images, targets.argmax(axis=1))


@pytest.mark.usefixtures("eagerly")
def test_layers_of_a_frozen_model_can_be_unfrozen(classifier, data, changes) -> None:
    """A model frozen as a whole is opened for the layers that are to train."""
    classifier.trainable = False
    unfreeze(classifier, names=["conv2"])

    assert {"conv2"} == changes(classifier, *data)


@pytest.mark.parametrize(
    ("name", "compiled"), [("classifier", True), ("nested", False)], ids=["flat", "nested"]
)
def test_fit_trains_what_the_summary_shows(name, compiled, request, data, changes) -> None:
    """After each call the weights that move are those of the trainable layers."""
    if not compiled:
        request.getfixturevalue("eagerly")
    model = request.getfixturevalue(name)
    images, targets = data
    targets = targets if name == "classifier" else targets.argmax(axis=1)
    changes(model, images, targets)  # the train step is compiled with everything trainable
    for step in (
        lambda: unfreeze(freeze(model), last=1),
        lambda: unfreeze(model),
        lambda: freeze(model, names=["conv1"]),
        lambda: unfreeze(model, batch_norm=True),
    ):
        step()

        expected = trained(model)
        assert expected == changes(model, images, targets)
    assert len(expected) == 5


def test_an_uncompiled_model_is_frozen_too(backbone) -> None:
    """Nothing needs to be compiled."""
    freeze(backbone)

    assert [] == backbone.trainable_weights


def test_batch_norm_with_trained_variance_stays_frozen(classifier) -> None:
    """Mean or variance tell that it has been trained."""
    layer = classifier.get_layer("bn2")
    layer.moving_mean.assign(np.zeros(4))
    layer.moving_variance.assign(np.full(4, 2.0))
    unfreeze(freeze(classifier))

    assert ALL - {"bn1", "bn2"} == trained(classifier)


def test_a_model_under_a_wrapper_is_looked_into() -> None:
    """TimeDistributed hides a model; its trained BatchNorm stays frozen, the rest trains."""
    inner = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="d"), keras.layers.BatchNormalization()]
    )
    inner.layers[-1].moving_mean.assign(np.ones(3))
    model = keras.Sequential([keras.Input((2, 4)), keras.layers.TimeDistributed(inner)])
    unfreeze(freeze(model))

    assert ["kernel", "bias"] == [weight.name for weight in model.trainable_weights]


class Residual(keras.layers.Layer):
    """A layer that is made of others, as people write their blocks."""

    def __init__(self, **options):
        super().__init__(**options)
        self.conv = keras.layers.Conv2D(3, 3, padding="same", name="inner_conv")
        self.norm = keras.layers.BatchNormalization(name="inner_bn")

    def build(self, shape):
        self.conv.build(shape)
        self.norm.build(shape)

    def call(self, x, training=None):
        return x + self.norm(self.conv(x), training=training)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("batch_norm", [False, True])
def test_batch_norm_inside_another_layer_stays_frozen(batch_norm, data, changes) -> None:
    """Wherever it is, trained statistics are kept unless it is asked for."""
    model = keras.Sequential([keras.Input((8, 8, 3)), Residual(name="block")])
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(3, activation="softmax", name="head"))
    norm = model.get_layer("block").norm
    norm.moving_mean.assign([3.0, 3.0, 3.0])
    unfreeze(freeze(model), batch_norm=batch_norm)
    model.compile("adam", loss="categorical_crossentropy")
    before = norm.get_weights()
    moved = changes(model, *data)

    assert {"block", "inner_conv", "head"} <= moved
    assert batch_norm == norm.trainable
    assert batch_norm == (not all(map(np.array_equal, before, norm.get_weights())))


def test_what_is_frozen_already_may_be_frozen_again(classifier) -> None:
    """Nothing trained before, so the choice takes nothing away."""
    freeze(freeze(classifier), names=["conv1"])

    assert set() == trained(classifier)


class Written(keras.Model):
    """A model that is a class of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.body = keras.layers.Dense(4, name="body")
        self.head = keras.layers.Dense(3, name="head")

    def call(self, inputs):
        return self.head(self.body(inputs))


@pytest.mark.usefixtures("eagerly")
def test_a_model_of_a_class_of_its_own_is_frozen_by_name(data, changes) -> None:
    """Its layers have names, though no order and no blocks."""
    model = Written()
    model(np.zeros((1, 6)))
    model.compile("adam", loss="mse")
    freeze(model, names=["body"])

    assert {"head"} == changes(model, np.ones((12, 6)), data[1])
    with pytest.raises(TypeError, match=r"`model` must be a functional model.*Received: Written"):
        freeze(model, blocks=["body"])


@pytest.mark.usefixtures("eagerly")
def test_blocks_are_frozen_by_name(classifier, data, changes) -> None:
    """What `list_blocks` calls a block can be frozen and unfrozen."""
    freeze(classifier, blocks=["conv1"])
    unfreeze(freeze(classifier), blocks=["conv2", "head"])

    assert {"conv2", "head_predictions"} == changes(classifier, *data)


def test_names_and_blocks_may_be_columns_of_a_table(classifier) -> None:
    """As `list_blocks` and `trainable_summary` give them."""
    freeze(classifier, blocks=list_blocks(classifier)["name"][:1])
    freeze(classifier, names=trainable_summary(classifier)["layer"][2:3])

    assert {"bn2", "head_predictions"} == trained(classifier)
    unfreeze(classifier, blocks=list_blocks(classifier)["name"][:1], batch_norm=True)
    unfreeze(classifier, names=trainable_summary(classifier)["layer"][2:3])

    assert ALL == trained(classifier)
