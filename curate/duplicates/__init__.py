"""Near-duplicate images: copies, re-encodings, rescaled, mirrored and slightly cropped ones."""
