"""Correct how groups are represented in a dataset, write what was done, and say what it cost."""
