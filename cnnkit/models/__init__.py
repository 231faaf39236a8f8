"""Classic networks and their building blocks, in plain Keras."""

from cnnkit.models._googlenet import googlenet, inception_module
from cnnkit.models._resnet import conv_block, identity_block, resnet, resnet_stem
from cnnkit.models._simple_cnn import simple_cnn
from cnnkit.models._vgg import vggnet

__all__ = [
    "conv_block",
    "googlenet",
    "identity_block",
    "inception_module",
    "resnet",
    "resnet_stem",
    "simple_cnn",
    "vggnet",
]
