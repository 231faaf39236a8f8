"""Reading one image file: its format, its pixels and their size. Also a parallel map over files.

This package uses Pillow, OpenCV, `preprocess` and `_foundation`.
"""
