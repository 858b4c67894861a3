"""JPEG: segments, DCT coefficients, and block-wise editing without re-encoding."""
