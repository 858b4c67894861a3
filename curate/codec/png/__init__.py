"""PNG and animated PNG: chunks, pixels and frames."""
