"""Digests of the files that hold a model's weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

from curate.core.errors import WeightsError


def digest_weights(path: Path) -> str:
    """Hexadecimal SHA-256 of a file.

    Raises:
        WeightsError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(
            f"the model {path} cannot be read: {error.strerror}; give the path of an existing file"
        ) from None
