"""Reading files of the whitelist: what is sent is what was hashed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from curate.core.errors import DataError
from curate.manifest.store import digest_file
from curate.publishing.hub.batches import LocalFile
from curate.storage.regular import open_regular

IN_MEMORY = 32 << 20
"""Files up to this size are read once, hashed and sent from memory."""


def load_verified(file: LocalFile) -> bytes | str:
    """A file's content if it is small, else its path; either way its digest was checked just now.

    Raises:
        DataError: if it differs from the whitelist.
    """
    try:
        with open_regular(file.source) as stream:
            if file.bytes <= IN_MEMORY:
                data = stream.read(file.bytes + 1)
                _check(file, len(data), hashlib.sha256(data).hexdigest())
                return data
            _check(
                file,
                os.fstat(stream.fileno()).st_size,
                hashlib.file_digest(stream, "sha256").hexdigest(),
            )
    except OSError as error:
        raise DataError(
            f"{file.path} cannot be read ({error.strerror}); nothing of this batch was sent"
        ) from None
    return str(file.source)


def _check(file: LocalFile, size: int, sha256: str) -> None:
    if (size, sha256) != (file.bytes, file.sha256):
        raise DataError(
            f"{file.path} has changed since it was verified; nothing of this batch was sent; "
            "run `curate verify` on OUT"
        )


def describe_file(path: str, source: Path) -> LocalFile:
    """A file as it is now, for the whitelist."""
    return LocalFile(
        path=path, source=source, sha256=digest_file(source), bytes=source.stat().st_size
    )
