"""Helpers that know neither images nor Keras: argument checks, safe files, journals, digests.

This package uses the standard library, NumPy and pandas. Of cnnkit, it uses only `exceptions`.
"""
