"""WebP: chunks, bitstreams and frames."""
