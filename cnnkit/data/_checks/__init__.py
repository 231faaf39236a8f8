"""Checks of the images of a table: damage, copies, leaks and label errors.

This package uses `_tables` and `_files`.
"""
