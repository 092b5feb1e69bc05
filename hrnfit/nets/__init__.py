"""The networks that start a fit and judge it: their layouts, without weights."""
