"""Evaluation of a classifier on original, obfuscated and control images."""
