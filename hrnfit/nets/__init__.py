"""The networks that start a fit and judge it: their layouts, checkpoints of others, and our own files of weights."""
