"""Metadata: an allow-list of EXIF tags, and ICC profiles rebuilt from color tags."""
