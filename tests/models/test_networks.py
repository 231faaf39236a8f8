"""What is particular to each network and block."""

import keras
import numpy as np
import pytest

from cnnkit.models import (
    conv_block,
    identity_block,
    inception_module,
    resnet,
    resnet_stem,
    simple_cnn,
    vggnet,
)


def test_blocks_of_course_notes_compose_into_a_resnet() -> None:
    """The calls that courses write, word for word, build the layers of ResNet50's stage 2."""
    inputs = keras.Input((64, 64, 3))
    x = resnet_stem(inputs)
    x = conv_block(x, 3, [64, 64, 256], stage=2, block="a", strides=(1, 1))
    x = identity_block(x, 3, [64, 64, 256], stage=2, block="b")
    x = identity_block(x, 3, [64, 64, 256], stage=2, block="c")
    names = [layer.name for layer in keras.Model(inputs, x).layers[1:]]

    whole = resnet((64, 64, 3), depth=50)
    assert [layer.name for layer in whole.layers[1 : len(names) + 1]] == names


def test_an_identity_block_with_a_silent_branch_is_relu(rng) -> None:
    """With the last BatchNorm's gamma and beta at zero only the shortcut is left."""
    x = keras.Input((8, 8, 16))
    model = keras.Model(x, identity_block(x, 3, [4, 4, 16], stage=2, block=2))
    last = model.get_layer("conv2_block2_3_bn")
    last.gamma.assign(np.zeros(16))
    features = rng.standard_normal((2, 8, 8, 16)).astype("float32")

    np.testing.assert_array_equal(np.maximum(features, 0), model.predict_on_batch(features))


def test_an_identity_block_refuses_other_channels() -> None:
    """The error names both numbers and the block to use."""
    with pytest.raises(ValueError, match=r"`filters\[2\]` must be.* 64\] and 16 ch.*`conv_block`"):
        identity_block(keras.Input((8, 8, 16)), 3, [16, 16, 64], stage=2, block="b")


@pytest.mark.parametrize("add_block", [identity_block, conv_block])
@pytest.mark.parametrize("filters", [64, [64, 256]])
def test_filters_that_are_not_three_are_refused(add_block, filters) -> None:
    """A block has three convolutions."""
    with pytest.raises(ValueError, match=r"`filters` must be three numbers.*Received: filters="):
        add_block(keras.Input((8, 8, 64)), 3, filters, stage=2, block="b")


@pytest.mark.parametrize("block", ["A", "", 0])
def test_a_block_is_a_letter_or_a_number(block) -> None:
    """Other places would give names that no weight file has."""
    with pytest.raises(ValueError, match=r"`block` must be a letter from 'a' or a number from 1"):
        conv_block(keras.Input((8, 8, 64)), 3, [4, 4, 16], stage=2, block=block)


def test_hidden_units_beside_the_paper_head_are_refused() -> None:
    """They would be ignored."""
    with pytest.raises(ValueError, match=r"`hidden_units` are for head='pooled'"):
        vggnet((32, 32, 3), head="paper", hidden_units=(120,))


def test_the_paper_head_needs_height_and_width() -> None:
    """Its first layer has a weight for each place."""
    with pytest.raises(ValueError, match=r"`input_shape` must give height and width for head="):
        vggnet((None, None, 3), head="paper")


def test_conv_block_halves_height_and_width() -> None:
    """The default strides are those of the paper's later stages."""
    x = conv_block(keras.Input((8, 8, 16)), 3, [4, 4, 32], stage=3, block="a")

    assert (None, 4, 4, 32) == x.shape


def test_an_inception_module_joins_its_four_branches() -> None:
    """The channels of the output are those of the four branches."""
    x = inception_module(keras.Input((28, 28, 192)), 64, 96, 128, 16, 32, 32)

    assert (None, 28, 28, 64 + 128 + 32 + 32) == x.shape


def test_an_inception_module_takes_the_names_of_course_notes() -> None:
    """Arguments may be given by name, and the name is that of the concatenation."""
    inputs = keras.Input((8, 8, 4))
    x = inception_module(
        inputs,
        filters_1x1=1,
        filters_3x3_reduce=2,
        filters_3x3=3,
        filters_5x5_reduce=4,
        filters_5x5=5,
        filters_pool_reduce=6,
        name="inception_3a",
    )

    assert "inception_3a" == keras.Model(inputs, x).layers[-1].name


def test_the_first_pool_of_vgg_has_stride_two() -> None:
    """At 224 pixels five pools leave 7x7."""
    assert (None, 7, 7, 512) == vggnet(include_top=False).output_shape


def test_hidden_units_give_the_head_of_course_notes() -> None:
    """GlobalAveragePooling, Dropout, Dense 120, Dropout, Dense."""
    model = vggnet((32, 32, 3), 5, hidden_units=(120,))

    assert [
        "GlobalAveragePooling2D",
        "Dropout",
        "Dense",
        "Dropout",
        "Dense",
    ] == [type(layer).__name__ for layer in model.layers[-5:]]


@pytest.mark.parametrize("build", [vggnet, resnet])
def test_an_unknown_depth_is_refused_with_the_nearest(build) -> None:
    """The error names the depths there are."""
    with pytest.raises(ValueError, match=r"`depth` must be one of .*Received: depth=17. Did you"):
        build((32, 32, 3), depth=17)


def test_height_and_width_may_be_left_open(rng) -> None:
    """One network takes images of several sizes."""
    model = resnet((None, None, 3), 4, depth=18)
    shapes = [model.predict_on_batch(rng.random((1, side, side, 3))).shape for side in (32, 48)]

    assert [(1, 4), (1, 4)] == shapes


def test_simple_cnn_counts_as_by_hand() -> None:
    """Three blocks, Flatten, Dense 128 and a logits head: the sum of each layer's weights."""
    convolutions = (3 * 9 + 1) * 16 + (16 * 9 + 1) * 32 + (32 * 9 + 1) * 64
    dense = (22 * 22 * 64 + 1) * 128 + (128 + 1) * 5
    model = simple_cnn((180, 180, 3), 5, mode="unit", classifier_activation=None)

    assert convolutions + dense == model.count_params()


def test_simple_cnn_normalizes_between_convolution_and_activation() -> None:
    """Every convolution has its BatchNorm and then its activation."""
    model = simple_cnn((16, 16, 3), 2, convs_per_block=2, batch_norm=True, pooling="avg")
    kinds = [type(layer).__name__ for layer in model.layers if layer.name.startswith("block")]

    one = ["Conv2D", "BatchNormalization", "Activation"]
    assert 3 * [*one, *one, "MaxPooling2D"] == kinds


def test_simple_cnn_penalizes_every_kernel_but_the_last() -> None:
    """L2 stands on convolutions and on the hidden layer."""
    model = simple_cnn((16, 16, 3), 2, l2=1e-3)
    kernels = [layer.kernel.numpy() for layer in model.layers if hasattr(layer, "kernel")][:-1]

    expected = [1e-3 * (kernel.astype("float64") ** 2).sum() for kernel in kernels]
    np.testing.assert_allclose([float(loss) for loss in model.losses], expected, rtol=1e-5)


def test_augmentation_acts_in_training_only(rng) -> None:
    """Prediction sees the image as it is."""
    augmentation = keras.layers.RandomFlip("horizontal", seed=0)
    plain = simple_cnn((16, 16, 3), 2)
    augmented = simple_cnn((16, 16, 3), 2, augmentation=augmentation)
    augmented.set_weights(plain.get_weights())
    images = rng.random((4, 16, 16, 3)).astype("float32")

    np.testing.assert_array_equal(
        plain.predict_on_batch(images), augmented.predict_on_batch(images)
    )
    assert not np.allclose(augmented(images, training=True), plain(images), atol=1e-6)


def test_separable_convolutions_have_fewer_parameters() -> None:
    """A 3x3 separable layer holds 9 weights a channel and a 1x1 convolution."""
    model = simple_cnn((16, 16, 3), 2, filters=(8,), separable=True, include_top=False)

    assert 3 * 9 + 3 * 8 + 8 == model.count_params()
