"""The parts of the networks: blocks, inputs, heads and pooling. Each maps a tensor to a tensor.

This package uses `preprocess`, `_keras` and `_foundation`.
"""
