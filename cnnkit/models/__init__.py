"""Classic networks and their building blocks, built from Keras layers only."""

from cnnkit.models._blocks.inception import inception_module
from cnnkit.models._blocks.pooling import min_pooling
from cnnkit.models._blocks.residual import conv_block, identity_block, resnet_stem
from cnnkit.models._fusing import fuse_batch_norm
from cnnkit.models._googlenet import googlenet
from cnnkit.models._resnet import resnet
from cnnkit.models._simple_cnn import simple_cnn
from cnnkit.models._vgg import vggnet
from cnnkit.models._weights import LoadedWeights, load_weights

__all__ = [
    "LoadedWeights",
    "conv_block",
    "fuse_batch_norm",
    "googlenet",
    "identity_block",
    "inception_module",
    "load_weights",
    "min_pooling",
    "resnet",
    "resnet_stem",
    "simple_cnn",
    "vggnet",
]
