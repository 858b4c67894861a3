"""Units of work and the processes that do them; knows nothing about images."""
