"""WebDataset: samples as members of tar files."""
