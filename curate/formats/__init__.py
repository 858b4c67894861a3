"""Dataset layouts, one file each, and the codec, the only place that touches pixels on disk."""
