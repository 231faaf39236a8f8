"""What `fit` trains is what `freeze` and `unfreeze` say, in every order of calls."""

import inspect

import keras
import numpy as np
import pytest

from cnnkit.models import vggnet
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
    """It is no input, which has nothing to freeze."""
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
    """BatchNorm whose statistics are still 0 and 1 has nothing to lose."""
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


def test_layers_of_a_frozen_nested_backbone_can_be_unfrozen(nested, data, changes) -> None:
    """A frozen container does not hide its unfrozen layer, nor does it say that none trains."""
    backbone = nested.get_layer("backbone")
    backbone.trainable = False
    unfreeze(nested, names=["conv2"])
    images, targets = data

    assert backbone.get_layer("conv2").weights == backbone.trainable_weights
    assert {"conv2", nested.layers[-1].name} == changes(nested, images, targets.argmax(axis=1))


def test_layers_of_a_frozen_model_can_be_unfrozen(classifier, data, changes) -> None:
    """A model frozen as a whole is opened for the layers that are to train."""
    classifier.trainable = False
    unfreeze(classifier, names=["conv2"])

    assert {"conv2"} == changes(classifier, *data)


@pytest.mark.parametrize("name", ["classifier", "nested"])
def test_fit_trains_what_the_summary_shows(name, request, data, changes) -> None:
    """After each call the weights that move are those of the trainable layers."""
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


def passes_training(mended: bool):
    """Return how a functional model calls its layers: up to Keras 3.15, or as it was mended."""

    def operation_fn(operation, training=None, **_):
        def call(*args, **kwargs):
            given = mended and kwargs.get("training") is not None
            takes = "training" in inspect.signature(operation.call).parameters
            if takes and not given and training is not None:
                kwargs["training"] = training
            return operation(*args, **kwargs)

        return call

    return operation_fn


@pytest.mark.parametrize("mended", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_batch_norm_stays_whatever_training_false_means(
    mended, frozen, backbone, data, monkeypatch
) -> None:
    """`fit` overrides `backbone(x, training=False)` up to Keras 3.15 and not in 3.16 (keras#20285).

    Frozen statistics stay in both; without freezing they move in the first.
    """
    monkeypatch.setattr("keras.src.models.functional.operation_fn", passes_training(mended))
    inputs = keras.Input((8, 8, 3))
    outputs = keras.layers.Flatten()(backbone(inputs, training=False))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(outputs))
    model.compile("adam", "categorical_crossentropy")
    if frozen:
        unfreeze(freeze(model))
    norm, convolution = backbone.get_layer("bn2"), backbone.get_layer("conv2")
    before = [layer.get_weights() for layer in (norm, convolution)]
    model.fit(*data, verbose=0)

    statistics, kernel = norm.get_weights()[2:], convolution.get_weights()[0]
    stayed = all(map(np.array_equal, before[0][2:], statistics))
    assert (frozen or mended) == stayed
    assert not np.array_equal(before[1][0], kernel)


def test_the_naive_way_goes_on_training_frozen_layers(classifier, data, changes) -> None:
    """The trap itself: `trainable = False` after the first `fit` is ignored."""
    changes(classifier, *data)
    classifier.get_layer("conv1").trainable = False

    assert "conv1" in changes(classifier, *data)


def test_a_stale_step_is_reported(classifier, data, changes) -> None:
    """The summary warns when `trainable` was set behind the train step's back."""
    changes(classifier, *data)
    classifier.get_layer("conv1").trainable = False

    with pytest.warns(UserWarning, match=r"train step is stale: .* Use `cnnkit.transfer.freeze`"):
        table = trainable_summary(classifier)
    assert table.attrs["stale"]


def test_freezing_mends_a_stale_step(classifier, data, changes) -> None:
    """After any call the step knows the state."""
    changes(classifier, *data)
    classifier.get_layer("conv1").trainable = False
    freeze(classifier, names=[])

    assert not trainable_summary(classifier).attrs["stale"]


def test_the_optimizer_keeps_its_settings(classifier) -> None:
    """The fresh optimizer is of the same kind, rate and decay."""
    classifier.compile(keras.optimizers.SGD(0.25, momentum=0.5, weight_decay=1e-3), loss="mse")
    before = classifier.optimizer
    freeze(classifier, names=["conv1"])

    assert before is not classifier.optimizer
    assert before.get_config() == classifier.optimizer.get_config()


def test_a_lambda_loss_and_the_metrics_are_kept(classifier, data) -> None:
    """Losses that no configuration can restore survive."""
    classifier.compile(
        "adam",
        loss=lambda truth, guess: keras.ops.mean((truth - guess) ** 2) + 100,
        metrics=["accuracy"],
    )
    freeze(classifier, names=["conv1"])
    history = classifier.fit(*data, verbose=0).history

    assert history["loss"][0] > 100
    assert "accuracy" in history


def test_an_uncompiled_model_is_frozen_too(backbone) -> None:
    """Nothing needs to be compiled."""
    freeze(backbone)

    assert [] == backbone.trainable_weights


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


def test_what_has_no_weight_decay_keeps_none(backbone) -> None:
    """It stands in no configuration."""
    optimizer = keras.optimizers.AdamW(1e-3, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model = backbone
    model.compile(optimizer, loss="mse")
    freeze(model, names=["conv1"])
    bias, kernel = model.get_layer("conv2").bias, model.get_layer("conv2").kernel

    assert not model.optimizer._use_weight_decay(bias)
    assert model.optimizer._use_weight_decay(kernel)


def test_a_failed_renewal_changes_nothing(classifier) -> None:
    """An optimizer that can't be made again leaves the layers as they were."""

    class Local(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.1

        def get_config(self):
            return {}

    classifier.compile(keras.optimizers.SGD(Local()), loss="mse")
    before = [layer.trainable for layer in classifier.layers]
    with pytest.raises(Exception, match="Local"):
        freeze(classifier)

    assert before == [layer.trainable for layer in classifier.layers]


def test_the_saved_optimizer_is_the_fresh_one(classifier, data, tmp_path) -> None:
    """A file saved after a change opens without a warning, with the settings kept."""
    classifier.compile(keras.optimizers.SGD(0.25, momentum=0.5), loss="mse")
    classifier.fit(*data, verbose=0)
    freeze(classifier, names=["conv1"])
    classifier.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")

    assert classifier.optimizer.get_config() == loaded.optimizer.get_config()


def test_loss_scaling_is_kept(backbone) -> None:
    """What mixed_float16 wraps around the optimizer stays around the fresh one."""
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.25))
    backbone.compile(scaled, loss="mse")
    freeze(backbone, names=["conv1"])

    assert isinstance(backbone.optimizer, keras.optimizers.LossScaleOptimizer)
    assert 0.25 == float(keras.ops.convert_to_numpy(backbone.optimizer.learning_rate))


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
        match=r"must leave something to train\. Received: a choice that holds all 5 layers that "
        r"train\. Choose fewer, or write `freeze\(model\)` to freeze all and then `unfreeze` "
        r"some\.$",
    ):
        freeze(classifier, **choice)

    assert trained(classifier) == ALL


def test_what_is_frozen_already_may_be_frozen_again(classifier) -> None:
    """Nothing trained before, so the choice takes nothing away."""
    freeze(freeze(classifier), names=["conv1"])

    assert set() == trained(classifier)


@pytest.mark.parametrize(("function", "argument"), [(freeze, "first"), (unfreeze, "last")])
def test_a_negative_count_is_refused(function, argument, classifier) -> None:
    """Counts are whole numbers from 0."""
    with pytest.raises(ValueError, match=rf"`{argument}` must be a whole number of at least 0"):
        function(classifier, **{argument: -1})


@pytest.mark.parametrize("function", [freeze, unfreeze, trainable_summary])
def test_a_model_without_weights_is_refused(function) -> None:
    """Nothing is known of its layers yet."""
    model = keras.Sequential([keras.layers.Dense(3)])
    text = (
        r"^`model` must have its weights\. Received: a model that is not built\. Add a "
        r"keras\.Input in front, or call it once\.$"
    )
    with pytest.raises(ValueError, match=text):
        function(model)


@pytest.mark.parametrize("function", [freeze, unfreeze, trainable_summary])
def test_what_is_no_model_is_refused(function) -> None:
    """A layer or a path, for example."""
    with pytest.raises(TypeError, match=r"`model` must be a Keras model\. Received: str\."):
        function("model.keras")


class Written(keras.Model):
    """A model that is a class of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.body = keras.layers.Dense(4, name="body")
        self.head = keras.layers.Dense(3, name="head")

    def call(self, inputs):
        return self.head(self.body(inputs))


def test_a_model_of_a_class_of_its_own_is_frozen_by_name(data, changes) -> None:
    """Its layers have names, though no order and no blocks."""
    model = Written()
    model(np.zeros((1, 6)))
    model.compile("adam", loss="mse")
    freeze(model, names=["body"])

    assert {"head"} == changes(model, np.ones((12, 6)), data[1])
    with pytest.raises(TypeError, match=r"`model` must be a functional model.*Received: Written"):
        freeze(model, blocks=["body"])


def test_blocks_are_frozen_by_name(classifier, data, changes) -> None:
    """What `list_blocks` calls a block can be frozen and unfrozen."""
    freeze(classifier, blocks=["conv1"])
    unfreeze(freeze(classifier), blocks=["conv2", "head"])

    assert {"conv2", "head_predictions"} == changes(classifier, *data)


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


def test_names_and_blocks_may_be_columns_of_a_table(classifier) -> None:
    """As `list_blocks` and `trainable_summary` give them."""
    freeze(classifier, blocks=list_blocks(classifier)["name"][:1])
    freeze(classifier, names=trainable_summary(classifier)["layer"][2:3])

    assert {"bn2", "head_predictions"} == trained(classifier)
    unfreeze(classifier, blocks=list_blocks(classifier)["name"][:1], batch_norm=True)
    unfreeze(classifier, names=trainable_summary(classifier)["layer"][2:3])

    assert ALL == trained(classifier)
