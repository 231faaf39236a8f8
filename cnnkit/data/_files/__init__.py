"""One image file: its kind, its pixels, their size; and the same work on many files.

It uses Pillow, OpenCV, `preprocess` and `_foundation`.
"""
