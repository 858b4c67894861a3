"""GIF: blocks, image data and palettes."""
