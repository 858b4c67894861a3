"""What was done to a dataset, written so that anyone can check it."""
