"""What the networks are built of: blocks, ends and pooling, from a tensor to a tensor.

It uses `preprocess`, `_keras` and `_foundation`.
"""
