"""Models in the file formats of others: one module a format, one row each in `kinds.py`.

Imports nothing here: `isolated.py` starts a bare Python that must come up in a moment.
"""
