"""What tests of networks ask of them."""

import keras
import numpy as np


def count(weights) -> int:
    return sum(int(np.prod(weight.shape)) for weight in weights)


def inputs_of(model: keras.Model, name: str) -> list[str]:
    """Return the names of the layers that a layer takes its input from."""
    node = model.get_layer(name)._inbound_nodes[0]
    return [x._keras_history.operation.name for x in node.input_tensors]
