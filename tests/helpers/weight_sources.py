"""Sources of weights, and the parts of the messages about them."""

import pytest


SHAPE = (16, 16, 3)
BODY = ["block1_conv1", "block1_conv1_bn", "block2_conv1", "block2_conv1_bn"]
HEAD = ["fc1", "predictions"]
BUILD = r"Build the model that the weights belong to\.$"
SKIP = r"`load_weights\(\.\.\., skip_head=True\)` leaves the head out\.$"
RULE = r"^Every layer must get weights, and all weights must belong to a layer"


# Sources that tell how their layers work, and those that hold weights alone.
WHOLE = ["model", ".keras", "whole .h5"]
ALONE = [".weights.h5", "published, bytes", "published, text"]


every_source = pytest.mark.parametrize("write", [*WHOLE, *ALONE], indirect=True)


every_file_of_weights = pytest.mark.parametrize("write", ALONE, indirect=True)


files_of_keras = pytest.mark.parametrize(
    "write", ["model", ".keras", ".weights.h5", "whole .h5"], indirect=True
)


files_that_tell_depth = pytest.mark.parametrize(
    "write", ["model", ".keras", ".weights.h5"], indirect=True
)
