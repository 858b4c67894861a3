"""Correct how groups are represented: how many of each kind of record to keep, make or weigh."""
