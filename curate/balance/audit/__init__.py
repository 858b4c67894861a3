"""Representation audit: group shares, associations with labels, base rates."""
