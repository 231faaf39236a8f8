"""From a table or arrays to batches: source, kept, whole, batches, dataset.

This package uses `_tables`, `_files`, `preprocess`, `_keras` and `_foundation`.
"""
