"""What changes folders on disk: parts written, classes renamed, files numbered.

It uses `_splits`, `_tables`, `_files` and `_foundation`.
"""
