"""URIs of remote datasets, such as ``s3://bucket/photos``."""

from __future__ import annotations

import re

from curate.core.errors import UsageError

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_SECRET = re.compile(r"[?#]|^[^/]*@|:.*@", re.DOTALL)
_HERE = frozenset({"file", "local", "asynclocal"})


def is_address(uri: str) -> bool:
    """Return whether a text is the URI of a remote dataset rather than a local path."""
    return _ADDRESS.fullmatch(uri) is not None


def is_hub_uri(uri: str) -> bool:
    """Return whether a text names a dataset of the Hugging Face Hub, such as ``hf:owner/name``."""
    return uri.startswith("hf:") and not is_address(uri)


def parse_address(uri: str, name: str) -> tuple[str, str]:
    """Split a URI into its protocol and its path.

    Args:
        uri: for example ``s3://bucket/photos``.
        name: name in messages.

    Raises:
        UsageError: if it names no folder, contains ``..``, or may contain a secret, which
            would be repeated in messages and manifests.
    """
    found = _ADDRESS.fullmatch(uri)
    if found is None:
        raise UsageError(f"{name} {uri!r} is not a URI; use protocol://folder")
    protocol, path = found.group(1), found.group(2).rstrip("/")
    if _SECRET.search(path):
        raise UsageError(
            f"the {protocol}:// URI of {name} contains a user name, a password or a query; "
            "pass only the location and set credentials in the protocol's own configuration"
        )
    if protocol in _HERE:
        raise UsageError(f"{name} {uri!r} is local; pass its path, without {protocol}:")
    parts = path.removeprefix("/").split("/")
    if "::" in uri or any(part in ("", ".", "..") for part in parts) or "\0" in path:
        raise UsageError(f"{name} {uri!r} is not a plain URI; use {protocol}://folder")
    return protocol, path
