"""TIFF: pages, tags and pixels."""
