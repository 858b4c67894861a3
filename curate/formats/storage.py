"""Remote storages by their addresses, through fsspec."""

from __future__ import annotations

import os
from typing import Any

from curate.core.errors import MissingExtraError, SetupError, UsageError
from curate.formats.address import parse_address

AGAIN = "mend that and run the same command again to go on"
_EXTRAS = {
    "s3": ("s3fs", "s3"),
    "s3a": ("s3fs", "s3"),
    "gs": ("gcsfs", "gs"),
    "gcs": ("gcsfs", "gs"),
}


def connect(place: str, name: str) -> tuple[Any, str]:
    """The file system of an address, and the path that it has there.

    Args:
        place: such as ``s3://bucket/photos``.
        name: what messages call it.

    Raises:
        UsageError: if the address cannot be used.
        SetupError: if it cannot be opened, or a package is missing.
    """
    protocol, _ = parse_address(place, name)
    import fsspec

    if protocol not in fsspec.available_protocols():
        raise UsageError(f"{name} {place!r} has an unknown protocol; s3, gs and hf are some")
    try:
        storage, root = fsspec.core.url_to_fs(place)
    except ImportError as error:
        if protocol in _EXTRAS:
            raise MissingExtraError(f"{name} {place!r}", *_EXTRAS[protocol]) from error
        raise SetupError(
            f"{name} {place!r} needs a package that is not installed; see fsspec's list "
            f"of protocols for the one of {protocol}://"
        ) from error
    except Exception as error:
        raise SetupError(f"{name} {place!r} cannot be opened: {cause(error)}; {AGAIN}") from None
    return storage, str(root).rstrip("/")


def cause(error: Exception) -> str:
    """What went wrong, without the library's own text, which may quote a signed address."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number is not None else type(error).__name__
