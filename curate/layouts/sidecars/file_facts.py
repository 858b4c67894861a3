"""Sizes, checksums and fingerprints of the source's files in descriptions of a dataset.

They depend on every pixel of the images, those in hidden regions too, and are wrong for the output.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from curate.layouts.sidecars.rules import Rules
from curate.layouts.sidecars.values import Limits

FINGERPRINT = "_fingerprint"
"""Key of ``state.json`` of `datasets` on disk, which needs a value to be loaded."""

_SIZES = frozenset(
    {"num_bytes", "download_size", "dataset_size", "size_in_bytes", "post_processing_size"}
)
_CHECKSUMS = frozenset({"download_checksums", "fingerprint", "post_processed"})
_FEATURES = "features"  # their keys are names of columns
_MAX_DEPTH = 32
_HEADER = re.compile(r"\ufeff?---[ \t]*\r?\n(?:.*\n)*?---[ \t]*(?:\r?\n|\Z)")
_LINE = re.compile(
    rf"^[ \t]+({'|'.join(sorted(_SIZES))})[ \t]*:[ \t]*[\d._eE+-]*[ \t]*\r?\n", re.MULTILINE
)


def drop_file_facts(value: Any, limits: Rules, depth: int = 0) -> Any:
    """Return a description of a dataset without sizes and checksums of files, which are counted."""
    if depth > _MAX_DEPTH or not isinstance(value, Mapping | list):
        return value
    if isinstance(value, list):
        return [drop_file_facts(item, limits, depth + 1) for item in value]
    kept = {}
    for key, item in value.items():
        is_size = key in _SIZES and not isinstance(item, Mapping | list)
        if (is_size or key in _CHECKSUMS) and item is not None:
            limits.drop(key)
            continue
        kept[key] = item if key == _FEATURES else drop_file_facts(item, limits, depth + 1)
    return kept


def renew_fingerprint(value: dict[str, Any]) -> dict[str, Any]:
    """Return values such as those of ``state.json``, the fingerprint a digest of the others.

    It is called with the values that are written: a digest of any other could tell those.
    """
    if FINGERPRINT not in value:
        return value
    rest = {key: item for key, item in value.items() if key != FINGERPRINT}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
    return {**value, FINGERPRINT: digest[:16]}  # as short as `datasets` writes it


def drop_file_lines(text: str, limits: Rules) -> str:
    """Return a document without the lines of its YAML header that state sizes of files."""
    header = _HEADER.match(text)
    if header is None:
        return text
    found = _LINE.findall(header[0])
    for key in found:
        limits.drop(key)
    return _LINE.sub("", header[0]) + text[header.end() :] if found else text


def rewrite_metadata(data: bytes, limits: Rules) -> bytes | None:
    """Return metadata of a table without sizes and fingerprints of files.

    Returns:
        None unless they are JSON within the limits, written as a program writes it.
    """
    try:
        value = json.loads(data)
        plain = json.dumps(value, ensure_ascii=data.isascii()).encode()
    except (ValueError, RecursionError):
        return None
    if len(plain) < len(data) or Limits(()).document_record({"": value}) != {"": value}:
        return None
    kept = drop_file_facts(value, limits)
    kept = renew_fingerprint(kept) if isinstance(kept, dict) else kept
    return data if kept == value else json.dumps(kept, ensure_ascii=data.isascii()).encode()
