"""Allocation: weights, subsets and augmented sets that meet a target."""
