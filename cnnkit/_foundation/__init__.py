"""What knows neither images nor Keras: arguments, files that are whole, journals, digests.

It uses the standard library, NumPy and pandas; nothing else of cnnkit but `exceptions`.
"""
