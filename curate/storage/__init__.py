"""Storage: locks, on-disk indices, regular files, operating-system errors."""
