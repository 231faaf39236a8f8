"""Which rows go where: shares, groups, parts and folds.

It uses `_checks` and `_tables`.
"""
