"""Storage: atomic and durable writes, locks, on-disk indices, regular files, OS errors."""
