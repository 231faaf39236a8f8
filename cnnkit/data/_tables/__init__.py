"""The table of images: from folders to rows, class names and targets.

It uses `_files` and `_foundation`.
"""
