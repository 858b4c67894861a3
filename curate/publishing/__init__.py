"""Dataset card, Croissant metadata, and exchange with the Hugging Face Hub."""
