"""Bring a correction's shards together, edit the annotations, and write its manifest."""

from __future__ import annotations
