"""JPEG: segments, DCT coefficients, and pixels spliced without re-encoding."""
