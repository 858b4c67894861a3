"""What a classifier's answers rest on: maps over images, and the shares of faces in them."""
