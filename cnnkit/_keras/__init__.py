"""The only place that touches what Keras keeps private; each use says what stands in for it.

It uses Keras and `_foundation`. `nox -s nightly` runs its tests on the next Keras.
"""
