"""Transfer learning: build classifiers on backbones, freeze, fine-tune and calibrate them."""

from cnnkit.transfer._blocks import list_blocks
from cnnkit.transfer._calibrating import calibrate
from cnnkit.transfer._classifier import build_classifier
from cnnkit.transfer._features import cache_features
from cnnkit.transfer._fine_tune import fine_tune
from cnnkit.transfer._freezing import freeze, unfreeze
from cnnkit.transfer._layerwise import layerwise_learning_rates
from cnnkit.transfer._rate_scan import LearningRateScan, find_learning_rate
from cnnkit.transfer._splitting import split_model
from cnnkit.transfer._summary import trainable_summary

__all__ = [
    "LearningRateScan",
    "build_classifier",
    "cache_features",
    "calibrate",
    "find_learning_rate",
    "fine_tune",
    "freeze",
    "layerwise_learning_rates",
    "list_blocks",
    "split_model",
    "trainable_summary",
    "unfreeze",
]
