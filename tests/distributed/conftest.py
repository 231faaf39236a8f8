"""One processor as two devices, which has to be said before TensorFlow does anything."""

import pytest
import tensorflow as tf

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])


@pytest.fixture(scope="session")
def strategy():
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
