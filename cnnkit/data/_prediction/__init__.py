"""From a model and images to a table of predictions.

This package uses `_feeding`, `_tables`, `_files` and `_keras`.
"""
