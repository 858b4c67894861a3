"""Upload to, download from, and verification of the Hugging Face Hub."""
