"""Images in a few large files, and the pipeline that reads them.

It uses `_feeding`, `_tables`, `_files` and `_foundation`.
"""
