"""Graphs of all kinds before and after folding."""

import keras
import numpy as np
import pytest
from keras import layers

from cnnkit.models import fuse_batch_norm, googlenet, simple_cnn


def conv(**options) -> layers.Conv2D:
    return layers.Conv2D(3, 3, padding="same", **options)


def normalized(x, name: str | None = None):
    return layers.ReLU()(layers.BatchNormalization(name=name)(conv()(x)))


def small(name: str | None = None) -> keras.Model:
    """Return a network whose layers have the same names every time."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(3, 3, padding="same", name="conv")(inputs)
    x = layers.BatchNormalization(name="bn")(x)
    return keras.Model(inputs, layers.ReLU(name="relu")(x), name=name)


def in_a_model(x):
    return normalized(small("inner")(x))


def two_levels_deep(x):
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, normalized(small("inner")(inputs)), name="middle")(x)


def two_copies(x):
    first, second = small("first"), small("second")
    return layers.Add()([first(x), second(keras.ops.flip(x, axis=1))])


def siamese(x):
    shared = small("shared")
    return layers.Subtract()([shared(x), shared(keras.ops.flip(x, axis=1))])


def with_operations(x):
    return keras.ops.maximum(2 * normalized(keras.ops.flip(x, axis=-1)), 0.5) - 1


def several_heads(x):
    trunk = layers.GlobalAveragePooling2D()(normalized(x))
    return [
        layers.BatchNormalization()(layers.Dense(units, name=f"head{units}")(trunk))
        for units in (2, 3, 4)
    ]


def outputs_of_all_kinds(x):
    normal = layers.BatchNormalization()(conv()(x))
    return [normal, layers.ReLU()(normal), normal, x]


def called_with_an_argument(x):
    return layers.BatchNormalization()(conv()(x), training=False)


# What leads from the input to the output, all of whose BatchNorms fold.
FOLDED = {
    "a model inside": in_a_model,
    "models inside models": two_levels_deep,
    "two models with equal layer names": two_copies,
    "a model called twice": siamese,
    "operations": with_operations,
    "several heads": several_heads,
    "an argument of a call": called_with_an_argument,
    "an output used again, given twice, and an input": outputs_of_all_kinds,
    "BatchNorm as an output": lambda x: layers.BatchNormalization()(conv()(x)),
    "two folds in a row": lambda x: normalized(normalized(x)),
}


@pytest.mark.parametrize("lead", FOLDED.values(), ids=FOLDED)
def test_graphs_of_all_kinds_fold(lead, toy, assert_same_outputs, norms_in) -> None:
    """Nothing is left, and outputs are the same."""
    model = toy(lead, name="toy")
    fused = fuse_batch_norm(model)

    assert [] == norms_in(fused)
    assert "toy" == fused.name
    assert_same_outputs(model, fused)


def test_the_first_of_two_batch_norms_folds(toy, assert_same_outputs, norms_in) -> None:
    """The second has no convolution before it."""
    model = toy(conv(), layers.BatchNormalization(name="a"), layers.BatchNormalization(name="b"))
    fused = fuse_batch_norm(model)

    assert ["b"] == norms_in(fused)
    assert_same_outputs(model, fused)


def several_inputs() -> keras.Model:
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    both = layers.Concatenate()([normalized(left), normalized(right)])
    return keras.Model([left, right], [normalized(both), normalized(right)])


def several_by_name() -> keras.Model:
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    outputs = {"sum": normalized(left) + right, "own": normalized(right)}
    return keras.Model({"left": left, "right": right}, outputs)


@pytest.mark.parametrize("build", [several_inputs, several_by_name])
def test_several_inputs_and_outputs_keep_their_structure(
    build, randomized, assert_same_outputs, norms_in
) -> None:
    """Lists stay lists, dicts stay dicts."""
    model = randomized(build())
    fused = fuse_batch_norm(model)

    assert [] == norms_in(fused)
    keras.tree.assert_same_structure(model.input, fused.input)
    keras.tree.assert_same_structure(model.output, fused.output)
    assert_same_outputs(model, fused)


@pytest.mark.parametrize("built_by", ["input", "build", "call"])
def test_a_sequential_model_folds(built_by, randomized, assert_same_outputs, norms_in) -> None:
    """It becomes a functional one of the same name."""
    steps = [conv(), layers.BatchNormalization(), layers.ReLU()]
    steps = [keras.Input((8, 8, 3)), *steps] if built_by == "input" else steps
    model = keras.Sequential(steps, name="row")
    if built_by == "build":
        model.build((None, 8, 8, 3))
    elif built_by == "call":
        model(np.zeros((1, 8, 8, 3)))
    fused = fuse_batch_norm(randomized(model))

    assert [] == norms_in(fused)
    assert "row" == fused.name
    assert_same_outputs(model, fused)


def test_a_functional_model_in_a_sequential_one_folds(
    randomized, assert_same_outputs, norms_in
) -> None:
    """It is the common way to put a head on a backbone."""
    steps = [keras.Input((8, 8, 3)), small(), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    model = randomized(keras.Sequential(steps))
    fused = fuse_batch_norm(model)

    assert [] == norms_in(fused)
    assert_same_outputs(model, fused)


INSIDE = {
    "Sequential": lambda: keras.Sequential([conv(), layers.BatchNormalization()]),
    "Sequential with an input": lambda: keras.Sequential(
        [keras.Input((8, 8, 3)), conv(), layers.BatchNormalization()]
    ),
    "Sequential in Sequential": lambda: keras.Sequential(
        [keras.Sequential([conv(), layers.BatchNormalization()]), layers.ReLU()]
    ),
    "functional in Sequential": lambda: keras.Sequential([small(), layers.ReLU()]),
}


@pytest.mark.parametrize("build", INSIDE.values(), ids=INSIDE)
def test_a_sequential_model_inside_folds(build, toy, assert_same_outputs, norms_in) -> None:
    """What is inside folds, and so does what is outside."""
    model = toy(build(), normalized)
    fused = fuse_batch_norm(model)

    assert [] == norms_in(fused)
    assert_same_outputs(model, fused)


def test_a_wrapped_model_gives_the_same_outputs(toy, assert_same_outputs) -> None:
    """TimeDistributed hides the graph of what it wraps."""
    model = toy(layers.TimeDistributed(small()), shape=(2, 8, 8, 3))

    assert_same_outputs(model, fuse_batch_norm(model), within=0)


def test_auxiliary_outputs_fold(randomized, assert_same_outputs, norms_in) -> None:
    """GoogLeNet's three heads come out in their order."""
    model = googlenet((80, 80, 3), 4, variant="batch_norm", aux_outputs=True)
    model = randomized(model)
    fused = fuse_batch_norm(model)

    assert [] == norms_in(fused)
    assert model.output_names == fused.output_names
    assert_same_outputs(model, fused, within=1e-3)


def test_mixed_precision_stays_and_outputs_are_near(randomized, arrays, norms_in) -> None:
    """Each layer keeps its types; the fused network is no farther from float32's outputs."""
    exact = randomized(simple_cnn((16, 16, 3), 4, batch_norm=True, classifier_activation=None))
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = simple_cnn((16, 16, 3), 4, batch_norm=True, classifier_activation=None)
    finally:
        keras.config.set_dtype_policy(before)
    model.set_weights(exact.get_weights())
    fused = fuse_batch_norm(model)
    images = np.random.default_rng(3).normal(0, 1, (64, 16, 16, 3)).astype("float32")
    expected, mixed, folded = (arrays(net, images)[0] for net in (exact, model, fused))

    assert [] == norms_in(fused)
    assert "bfloat16" == fused.get_layer("block1_conv1").compute_dtype
    assert "float32" == fused.get_layer("predictions").compute_dtype
    assert np.abs(folded - expected).mean() <= 1.5 * np.abs(mixed - expected).mean()


def test_a_fused_model_can_be_saved(tmp_path, toy, assert_same_outputs, norms_in) -> None:
    """The file opens and gives the same outputs bit for bit."""
    model = toy(two_copies, normalized)
    fused = fuse_batch_norm(model)
    fused.save(tmp_path / "fused.keras")
    opened = keras.saving.load_model(tmp_path / "fused.keras")

    assert [] == norms_in(opened)
    assert_same_outputs(fused, opened, within=0)


def test_a_fused_model_fuses_again(toy, assert_same_outputs) -> None:
    """There is nothing more to fold."""
    once = fuse_batch_norm(toy(normalized))
    again = fuse_batch_norm(once)

    assert_same_outputs(once, again, within=0)


def test_a_model_that_was_loaded_folds(tmp_path, toy, assert_same_outputs, norms_in) -> None:
    """A file's model is as good as one just built."""
    model = toy(in_a_model)
    model.save(tmp_path / "model.keras")
    fused = fuse_batch_norm(keras.saving.load_model(tmp_path / "model.keras"))

    assert [] == norms_in(fused)
    assert_same_outputs(model, fused)


def test_layers_called_elsewhere_as_well_fold(toy, assert_same_outputs, norms_in) -> None:
    """Calls of the same layers in another model make no difference."""
    model = toy(layers.Conv2D(3, 3, name="conv"), layers.BatchNormalization(name="n"))
    other = model.get_layer("conv")(keras.Input((5, 5, 3)))
    model.get_layer("n")(layers.ReLU()(other))
    fused = fuse_batch_norm(model)

    assert [] == norms_in(fused)
    assert_same_outputs(model, fused)


class Written(keras.Model):
    """A subclassed model, which has no graph."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = layers.BatchNormalization()

    def call(self, x):
        return self.norm(x)


def written() -> keras.Model:
    model = Written()
    model(np.zeros((1, 4)))
    return model


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (Written, "Written"),
        (written, "Written"),
        (lambda: keras.Sequential([layers.Conv2D(4, 3)]), "Sequential"),
        (lambda: layers.Dense(3), "Dense"),
        (lambda: "model.keras", "str"),
    ],
)
def test_a_model_without_a_graph_is_refused(build, name) -> None:
    """The error says which models have one, and what was received."""
    message = (
        r"`model` must be a functional model, or a Sequential one that is built, so that its graph "
        rf"can be read\. Received: {name}\."
    )
    with pytest.raises(TypeError, match=message):
        fuse_batch_norm(build())


def test_a_functional_model_of_a_class_of_its_own_folds(
    randomized, norms_in, assert_same_outputs
) -> None:
    """A training step of one's own doesn't hide the graph."""

    class Own(keras.Model):
        def train_step(self, data):
            return {}

    inputs = keras.Input((8, 8, 3))
    model = randomized(Own(inputs, normalized(inputs)))
    fused = fuse_batch_norm(model)

    assert [] == norms_in(fused)
    assert_same_outputs(model, fused)


def test_an_adapted_normalization_stays_adapted(assert_same_outputs) -> None:
    """Normalization, which EfficientNet contains, computes with copies of its weights."""
    normalization = layers.Normalization()
    normalization.adapt(np.random.default_rng(3).normal(5, 3, (64, 8, 8, 3)))
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, normalized(normalization(inputs)))

    assert_same_outputs(model, fuse_batch_norm(model))


def test_an_adapted_normalization_in_a_wrapped_model_stays_adapted(assert_same_outputs) -> None:
    """TimeDistributed hides the layers inside it."""
    normalization = layers.Normalization()
    normalization.adapt(np.random.default_rng(3).normal(5, 3, (64, 8, 8, 3)))
    inputs = keras.Input((8, 8, 3))
    wrapped = keras.Model(inputs, normalized(normalization(inputs)))
    videos = keras.Input((2, 8, 8, 3))
    model = keras.Model(videos, layers.TimeDistributed(wrapped)(videos))

    assert_same_outputs(model, fuse_batch_norm(model))


class Doubled(keras.Model):
    """A functional model that does more than its graph."""

    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


class DoubledRow(keras.Sequential):
    """A Sequential model that does more than its layers."""

    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


def doubled() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    return Doubled(inputs, normalized(inputs))


def doubled_row() -> keras.Model:
    return DoubledRow([keras.Input((8, 8, 3)), conv(), layers.BatchNormalization()])


@pytest.mark.parametrize("build", [doubled, doubled_row])
def test_a_model_that_does_more_than_its_graph_is_refused(build) -> None:
    """Its graph isn't what it calculates."""
    with pytest.raises(TypeError, match=rf"`model` must be .*Received: {type(build()).__name__}\."):
        fuse_batch_norm(build())


@pytest.mark.parametrize("build", [doubled, doubled_row])
def test_a_model_inside_that_does_more_than_its_graph_does_it_still(
    build, toy, assert_same_outputs
) -> None:
    """It is copied as a layer of its own class, folded or not."""
    model = toy(build(), normalized)

    assert_same_outputs(model, fuse_batch_norm(model))


def own_loss(y_true, y_pred):
    return keras.ops.mean(keras.ops.square(y_true - y_pred))


@pytest.mark.parametrize("loss", ["mse", own_loss], ids=["by name", "own"])
@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
def test_a_compiled_model_folds_and_is_not_compiled(
    loss, inside, toy, assert_same_outputs, norms_in
) -> None:
    """The loss is not copied, whatever it is."""
    compiled = toy(normalized)
    compiled.compile("sgd", loss=loss)
    model = toy(compiled) if inside else compiled
    fused = fuse_batch_norm(model)

    assert [] == norms_in(fused)
    assert not fused.compiled
    assert_same_outputs(model, fused)


def convolution_inside_and_outside(x):
    shared, inputs = conv(), keras.Input((8, 8, 3))
    inner = keras.Model(inputs, layers.BatchNormalization()(shared(inputs)))
    return [inner(x), layers.ReLU()(shared(x))]


def convolution_in_two_models(x):
    shared, first, second = conv(), keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    inner = keras.Model(first, layers.BatchNormalization()(shared(first)))
    other = keras.Model(second, layers.BatchNormalization()(shared(second)))
    return [inner(x), other(x)]


def norm_in_two_models(x):
    shared, first, second = (
        layers.BatchNormalization(),
        keras.Input((8, 8, 3)),
        keras.Input((8, 8, 3)),
    )
    inner = keras.Model(first, shared(conv()(first)))
    other = keras.Model(second, shared(layers.ReLU()(second)))
    return [inner(x), other(x)]


def a_model_and_a_part_of_it(x):
    whole = small()
    part = keras.Model(whole.input, whole.get_layer("conv").output)
    return [whole(x), part(x)]


@pytest.mark.parametrize(
    "lead",
    [
        convolution_inside_and_outside,
        convolution_in_two_models,
        norm_in_two_models,
        a_model_and_a_part_of_it,
    ],
)
def test_layers_that_two_models_share_give_the_same_outputs(lead, toy, assert_same_outputs) -> None:
    """A layer that is used in two graphs of one model can't take up what only one of them has."""
    model = toy(lead)

    assert_same_outputs(model, fuse_batch_norm(model))


@pytest.mark.parametrize(
    ("layer", "shape"), [(layers.Dense(4), (5,)), (layers.Conv2D(4, 3), (8, 8, 3))]
)
def test_low_rank_adaptation_gives_the_same_outputs(layer, shape, toy, assert_same_outputs) -> None:
    """A layer with LoRA has more weights than a kernel and a bias."""
    model = toy(layer, layers.BatchNormalization(), shape=shape)
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(np.random.default_rng(4).normal(0, 1, layer.lora_kernel_b.shape))

    assert_same_outputs(model, fuse_batch_norm(model))


def test_a_quantized_layer_gives_the_same_outputs(toy, assert_same_outputs) -> None:
    """Its kernel is in int8, with a scale beside it."""
    dense = layers.Dense(4)
    model = toy(dense, layers.BatchNormalization(), shape=(5,))
    dense.quantize("int8")

    assert_same_outputs(model, fuse_batch_norm(model))
