"""Croissant 1.1 metadata with the RAI vocabulary."""
