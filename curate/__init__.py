"""Obfuscate the faces of an image dataset, balance its groups, account for both."""

from __future__ import annotations

__version__ = "0.1.0"
