"""Access to datasets: local folders, remote storage through fsspec, the Hugging Face Hub."""
