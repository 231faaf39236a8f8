"""The table of images: from folders to rows, class names and targets.

This package uses `_files` and `_foundation`.
"""
