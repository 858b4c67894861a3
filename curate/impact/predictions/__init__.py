"""Statistics of paired predictions."""
