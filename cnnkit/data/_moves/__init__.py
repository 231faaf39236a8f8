"""Functions that change folders on disk: they write splits, rename classes and number files.

This package uses `_splits`, `_tables`, `_files` and `_foundation`.
"""
