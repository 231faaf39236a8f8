"""Fine-tuning that can't go silently wrong."""

from cnnkit.transfer._classifier import build_classifier
from cnnkit.transfer._fine_tune import fine_tune
from cnnkit.transfer._freezing import freeze, unfreeze
from cnnkit.transfer._summary import trainable_summary

__all__ = ["build_classifier", "fine_tune", "freeze", "trainable_summary", "unfreeze"]
