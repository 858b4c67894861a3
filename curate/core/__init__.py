"""Values and protocols: the standard library and NumPy only, and no I/O."""
