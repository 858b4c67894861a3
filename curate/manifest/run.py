"""Validation of ``run.json``, version 1, without a JSON Schema library.

The schema is ``manifests/run-1.schema.json``; a test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from curate.core.errors import ManifestError

MAX_TEXT = 65_536
"""Maximum length of a text in ``run.json`` and ``balance.json``, characters."""
_MAX_MESSAGE = 300


@dataclass(frozen=True, slots=True)
class _Value:
    """A plain value: its name in messages, and a test for it."""

    name: str
    holds: Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class _ListOf:
    items: _Shape


@dataclass(frozen=True, slots=True)
class _AnyKeys:
    values: _Shape


_Shape = _Value | _ListOf | _AnyKeys | Mapping[str, Any]


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, float) or _is_text(value) or _is_small_int(value)


def _is_small_int(value: Any) -> bool:
    return isinstance(value, int) and abs(value) < 1 << 63


_MOST = f"of at most {MAX_TEXT:,} characters"
_TEXT = _Value(f"a string {_MOST}", _is_text)
_TEXT_OR_NULL = _Value(f"a string or null, {_MOST}", lambda value: value is None or _is_text(value))
_COUNT = _Value("a count", lambda value: _is_int(value) and 0 <= value < 1 << 63)
_SHARE = _Value(
    "a number, 0 or more",
    lambda value: (_is_int(value) or isinstance(value, float)) and 0 <= value < 1 << 63,
)
_OURS = _Value("'curate-dataset'", lambda value: value == "curate-dataset")
_SHA256 = _Value("a SHA-256 in hexadecimal", _is_sha256)
_SCALAR = _Value("a plain value", _is_scalar)
_FLAG = _Value("true or false", lambda value: isinstance(value, bool))
_OBJECT = _Value("an object", lambda value: isinstance(value, dict))

SHAPE: Mapping[str, Any] = {
    "schema_version": _COUNT,
    "tool": {"name": _OURS, "version": _TEXT},
    "recipe": _OBJECT,  # curate.recipe validates it
    "recipe_sha256": _SHA256,
    "detectors": _ListOf(
        {
            "name": _TEXT,
            "package": _TEXT,
            "version": _TEXT,
            "weights_sha256": _AnyKeys(_SHA256),
            "backend": _TEXT,
        }
    ),
    "given_faces": {
        "recipe": _AnyKeys(_SCALAR),
        "reviews": _ListOf(
            {
                "id": _TEXT,
                "task": _TEXT,
                "blind": _FLAG,
                "reviewers": _COUNT,
                "journal_sha256": _SHA256,
                "states": {"reviewed": _COUNT, "sampled": _COUNT, "not looked at": _COUNT},
            }
        ),
    },
    "obfuscator": {
        "name": _TEXT,
        "version": _TEXT,
        "keeps": _TEXT,
        "parameters": _AnyKeys(_SCALAR),
        "margin": _SHARE,
    },
    "libraries": _AnyKeys(_TEXT),
    "source": {"layout": _TEXT, "origin": _TEXT_OR_NULL, "sha256": _SHA256},
    "counts": {
        "images": _COUNT,
        "written": _COUNT,
        "withheld": _COUNT,
        "images_with_faces": _COUNT,
        "faces": _COUNT,
        "routes": _AnyKeys(_COUNT),
        "reasons": _AnyKeys(_COUNT),
    },
    "others": {
        "carried": _COUNT,
        "included": _COUNT,
        "withheld": _COUNT,
        "rebuilt": _COUNT,
        "left_out": _COUNT,
        "sha256": _SHA256,
    },
    "content": {
        "found": _AnyKeys(_AnyKeys(_AnyKeys(_COUNT))),
        "dropped": _AnyKeys(_AnyKeys(_COUNT)),
    },
    "records": {"parts": _COUNT, "sha256": _SHA256},
}

OPTIONAL = frozenset({"content", "given_faces", "others.included", "others.withheld"})
"""Keys of given faces, those that earlier releases lack, and a count that is written unless 0."""


def check_shape(run: Any, shape: Mapping[str, Any] = SHAPE, name: str = "run.json") -> None:
    """Refuse a ``run.json`` with missing, unknown or wrongly typed keys.

    Args:
        run: its content.
        shape: the shape of a part of it, if only that is checked.
        name: what is checked, for the message.

    Raises:
        ManifestError: at the first key that is missing, unknown or of another type.
    """
    for fault in _faults(run, shape, ""):
        raise ManifestError(f"{name}: {fault}"[:_MAX_MESSAGE])


def _faults(value: Any, shape: _Shape, path: str) -> Iterator[str]:
    if isinstance(shape, _Value):
        if not shape.holds(value):
            yield f"{path} is not {shape.name}"
    elif isinstance(shape, _ListOf):
        if not isinstance(value, list):
            yield f"{path} is not a list"
            return
        for index, item in enumerate(value):
            yield from _faults(item, shape.items, f"{path}[{index}]")
    elif not isinstance(value, dict):
        yield f"{path} is not an object"
    elif isinstance(shape, _AnyKeys):
        for key, item in value.items():
            yield from _faults(item, shape.values, f"{path}[{key!r}]")
    else:
        yield from _faults_of_object(value, shape, f"{path}." if path else "")


def _faults_of_object(
    value: Mapping[str, Any], shape: Mapping[str, Any], prefix: str
) -> Iterator[str]:
    for key, inner in shape.items():
        if key in value:
            yield from _faults(value[key], inner, f"{prefix}{key}")
        elif f"{prefix}{key}" not in OPTIONAL:
            yield f"{prefix}{key} is missing"
    for key in value:
        if key not in shape:
            yield f"{prefix}{key!r} is not a key of schema version 1"
