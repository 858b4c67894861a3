"""What the files beside the images still hold that can identify people, by key."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("places (GPS)", re.compile(r"gps|latitude|longitude|^lat$|^l(on|ng)$|geo", re.I)),
    ("embeddings", re.compile(r"embed|feature_?vector|clip_?vec", re.I)),
    ("landmarks of faces and bodies", re.compile(r"landmark|keypoint", re.I)),
    ("EXIF data", re.compile(r"exif|serial_?number|camera", re.I)),
    ("web addresses", re.compile(r"ur[li]s?$|_ur[li]|link|href", re.I)),
    ("digests of originals", re.compile(r"sha\d*|md5|hash|digest", re.I)),
    ("names of people or accounts", re.compile(
        r"person|author|photographer|user|owner|identity|celebrity|contact|e_?mail", re.I)),
    ("file names", re.compile(r"^file_?name$|^filename$|^path$|^file_?path$", re.I)),
    ("free text", re.compile(r"caption|text|title|description|comment|note", re.I)),
)  # fmt: skip
"""What a key of an annotation file suggests."""
_MOST_KEYS = 10_000
_EMBEDDING = 64


def kind_of(key: str, value: Any) -> str | None:
    """What a key and its value suggest, or None."""
    is_long = isinstance(value, list) and len(value) >= _EMBEDDING and "segment" not in key
    if is_long and all(isinstance(one, float) for one in value[:_EMBEDDING]):
        return "embeddings"
    if isinstance(value, str) and re.match(r"https?://", value):
        return "web addresses"
    return next((kind for kind, pattern in KINDS if pattern.search(key)), None)


def count_keys(values: Iterable[Any]) -> dict[str, dict[str, int]]:
    """Count the keys that suggest something about people, over JSON values or rows.

    Args:
        values: objects, lists and plain values; read once.

    Returns:
        By kind, the keys and how often each stands there with a value.
    """
    counts: dict[str, Counter[str]] = {}
    for value in values:
        for key, inner in _iter_keys(value, 0):
            kind = kind_of(key, inner)
            if kind is not None and len(counts.get(kind, ())) < _MOST_KEYS:
                counts.setdefault(kind, Counter())[key] += 1
    return {kind: dict(sorted(found.items())) for kind, found in sorted(counts.items())}


def _iter_keys(value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    if depth > 32:
        return
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if inner not in (None, "", [], {}):
                yield str(key), inner
            yield from _iter_keys(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, Mapping | list):
                yield from _iter_keys(inner, depth + 1)


def merge_counts(found: Iterable[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """Add up the counts of several files."""
    total: dict[str, Counter[str]] = {}
    for counts in found:
        for kind, keys in counts.items():
            total.setdefault(kind, Counter()).update(keys)
    return {kind: dict(sorted(keys.items())) for kind, keys in sorted(total.items())}


def iter_json_lines(lines: Iterable[str]) -> Iterator[Any]:
    """The values of JSON lines; a line that is none is passed over."""
    for line in lines:
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):
            continue
