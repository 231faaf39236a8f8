"""Images in a few large files, and the pipeline that reads them.

This package uses `_feeding`, `_tables`, `_files` and `_foundation`.
"""
