"""Addresses of datasets that are not on this disk, such as ``s3://bucket/photos``."""

from __future__ import annotations

import re

from curate.core.errors import UsageError

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_SECRET = re.compile(r"[?#]|^[^/]*@|:.*@", re.DOTALL)
_HERE = frozenset({"file", "local", "asynclocal"})


def is_address(place: str) -> bool:
    """Whether a place is an address, not a path on this machine."""
    return _ADDRESS.fullmatch(place) is not None


def is_hub_place(place: str) -> bool:
    """Whether a place is a dataset of the Hugging Face Hub, such as ``hf:owner/name``."""
    return place.startswith("hf:") and not is_address(place)


def parse_address(place: str, name: str) -> tuple[str, str]:
    """Split an address into its protocol and the path behind it.

    Args:
        place: such as ``s3://bucket/photos``.
        name: what messages call it.

    Raises:
        UsageError: if it names no folder, leads upwards, or may hold a secret,
            which would end up in messages and manifests.
    """
    found = _ADDRESS.fullmatch(place)
    if found is None:
        raise UsageError(f"{name} {place!r} is no address; write protocol://folder")
    protocol, path = found.group(1), found.group(2).rstrip("/")
    if _SECRET.search(path):
        raise UsageError(
            f"the {protocol}:// address of {name} has a user, a password or a query in it; "
            "give only the place, and credentials by the protocol's own settings"
        )
    if protocol in _HERE:
        raise UsageError(f"{name} {place!r} is on this machine; give its path, without {protocol}:")
    parts = path.removeprefix("/").split("/")
    if "::" in place or any(part in ("", ".", "..") for part in parts) or "\0" in path:
        raise UsageError(f"{name} {place!r} is no plain address; write {protocol}://folder")
    return protocol, path
