"""Hugging Face folder: images with ``metadata.jsonl``, ``.csv`` or ``.parquet``."""
