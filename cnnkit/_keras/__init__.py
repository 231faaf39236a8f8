"""The only package that uses private parts of Keras; each use names an alternative.

This package uses Keras and `_foundation`. `nox -s nightly` runs its tests on the next Keras.
"""
