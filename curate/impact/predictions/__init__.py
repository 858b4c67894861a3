"""Statistics of paired prediction files."""
