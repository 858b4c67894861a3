"""Manifests: what was done to a dataset, so that anyone can check it."""
