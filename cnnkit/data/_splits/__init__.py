"""Splitting tables and arrays: into parts or folds, by shares and groups.

This package uses `_checks` and `_tables`.
"""
