"""GIF: the container's blocks, palettes and frames."""
