"""What is wrong with the images of a table, and what they share with others.

It uses `_tables` and `_files`.
"""
