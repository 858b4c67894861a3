"""Parquet and Arrow tables with columns of images."""
