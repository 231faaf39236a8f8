"""GoogLeNet and ResNet18 as people write them out by hand, without names or checks."""

import keras
from keras import layers


def googlenet() -> keras.Model:
    """Return GoogLeNet for ten classes."""

    def conv(x, filters, size, strides=1):
        return layers.Conv2D(filters, size, strides, "same", activation="relu")(x)

    def module(x, a, b, c, d, e, f):
        pooled = layers.MaxPooling2D(3, 1, "same")(x)
        branches = [conv(x, a, 1), conv(conv(x, b, 1), c, 3), conv(conv(x, d, 1), e, 5)]
        return layers.Concatenate()([*branches, conv(pooled, f, 1)])

    def halve(x):
        return layers.MaxPooling2D(3, 2, "same")(x)

    inputs = keras.Input((224, 224, 3))
    x = halve(conv(inputs, 64, 7, 2))
    x = halve(conv(conv(x, 64, 1), 192, 3))
    x = module(x, 64, 96, 128, 16, 32, 32)
    x = halve(module(x, 128, 128, 192, 32, 96, 64))
    x = module(x, 192, 96, 208, 16, 48, 64)
    x = module(x, 160, 112, 224, 24, 64, 64)
    x = module(x, 128, 128, 256, 24, 64, 64)
    x = module(x, 112, 144, 288, 32, 64, 64)
    x = halve(module(x, 256, 160, 320, 32, 128, 128))
    x = module(x, 256, 160, 320, 32, 128, 128)
    x = module(x, 384, 192, 384, 48, 128, 128)
    x = layers.Dropout(0.4)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


def resnet18() -> keras.Model:
    """Return ResNet18 for ten classes."""

    def conv(x, filters, size, strides=1):
        x = layers.Conv2D(filters, size, strides, "same", use_bias=False)(x)
        return layers.BatchNormalization(epsilon=1.001e-5)(x)

    def block(x, filters, strides):
        shortcut = conv(x, filters, 1, strides) if strides > 1 else x
        y = layers.ReLU()(conv(x, filters, 3, strides))
        return layers.ReLU()(layers.Add()([shortcut, conv(y, filters, 3)]))

    inputs = keras.Input((224, 224, 3))
    x = layers.ReLU()(conv(inputs, 64, 7, 2))
    x = layers.MaxPooling2D(3, 2, "same")(x)
    for filters, strides in ((64, 1), (128, 2), (256, 2), (512, 2)):
        x = block(block(x, filters, strides), filters, 1)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
