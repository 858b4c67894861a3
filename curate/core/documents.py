"""Bounded parsing of JSON and YAML documents of any origin: size, number of values, depth."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable
from typing import Any

import numpy as np

from curate.core.errors import DataError, one_line

MAX_JSON = 64 << 20
"""Maximum size of a JSON document, bytes."""
MAX_YAML = 1 << 20
"""Maximum size of a YAML document, bytes."""
_MAX_VALUES = 4 << 20  # each takes up to 100 bytes of memory
_MAX_DEPTH = 16  # of YAML
_MAX_EVENTS = 100_000  # of YAML, which takes seconds to parse so many
_MAX_DIGITS = 100  # of a number
_NUMBER = re.compile(r"[-+]?[0-9.][0-9A-Fa-fbox_:.]*+")
_LONG_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){100}""")
_MANY_DIGITS = re.compile(rb"(?<![0-9])[0-9]{101}")
_LONG_HEX = re.compile(r"\b0[xob][0-9A-Fa-f_]{101}")  # which Python converts, but cannot print
_MAX_NESTING = 100  # of JSON: functions that walk through its values are recursive
_LONG_NUMBER = f"a number has more than {_MAX_DIGITS} digits"
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"[{")], _STEPS[list(b"]}")] = 1, -1


def parse_json(data: bytes, name: object, max_values: int = _MAX_VALUES) -> Any:
    """Parse a JSON document in UTF-8, with or without a byte order mark.

    Args:
        data: at most `MAX_JSON` bytes; one more if the document is longer.
        name: name of the document in messages.
        max_values: maximum number of values.

    Raises:
        DataError: if it is too large.
        ValueError: if it is not valid JSON, is nested too deeply or has a number of too many
            digits.
    """
    if len(data) > MAX_JSON:
        raise DataError(f"{name} is larger than {MAX_JSON >> 20} MB, which is too large")
    opened = data.count(b"[") + data.count(b"{")
    if data.count(b",") + opened > max_values:
        raise DataError(f"{name} has more than {max_values:,} values, which are too many")
    if opened > _MAX_NESTING and _measure_nesting(data) > _MAX_NESTING:
        raise ValueError(f"nested deeper than {_MAX_NESTING} levels")
    parse_int = _parse_int if _MANY_DIGITS.search(data) else None
    return json.loads(data.decode("utf-8-sig"), parse_int=parse_int)


def _parse_int(digits: str) -> int:
    count = len(digits.removeprefix("-"))
    if count > _MAX_DIGITS:
        raise ValueError(f"a number has {count:,} digits; at most {_MAX_DIGITS} are read")
    return int(digits)


def _measure_nesting(data: bytes) -> int:
    """How deep arrays and objects are nested in a JSON document."""
    steps = _STEPS[np.frombuffer(_STRING.sub(b"", data), np.uint8)]
    return int(np.cumsum(steps[steps != 0]).max(initial=0))


def parse_toml(text: str) -> dict[str, Any]:
    """Parse a TOML document.

    Raises:
        ValueError: if it is not valid TOML, a number has too many digits, or a key too many parts,
            which takes quadratic time.
        RecursionError: if it is nested too deeply.
    """
    if _LONG_KEY.search(text):
        raise ValueError("a key has more than 100 parts")
    if _LONG_HEX.search(text):
        raise ValueError(_LONG_NUMBER)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:  # of int() and datetime
        raise ValueError(_LONG_NUMBER if "digits" in str(error) else str(error)) from None


def parse_yaml(data: bytes | str, name: str) -> Any:
    """Parse a YAML document without aliases, which can expand to any size.

    Args:
        data: the document.
        name: name of the document in messages.

    Raises:
        DataError: if it is not valid YAML, too large, has too many values, is nested too deeply or
            has an alias.
    """
    import yaml

    if len(data) > MAX_YAML:
        raise DataError(f"{name} is longer than {MAX_YAML >> 20} MB, which is too long for YAML")
    try:
        _check_events(yaml.parse(data, Loader=yaml.SafeLoader), name)
        return yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = one_line(error)
        raise DataError(f"{name} is not valid YAML ({line})") from None


def _is_long_number(event: Any) -> bool:
    """Return whether a scalar is a number, in any base, that takes quadratic time to convert."""
    return bool(
        event.implicit[0] and len(event.value) > _MAX_DIGITS and _NUMBER.fullmatch(event.value)
    )


def _check_events(events: Iterable[Any], name: str) -> None:
    import yaml

    depth = 0
    for number, event in enumerate(events):
        if number > _MAX_EVENTS:
            raise DataError(f"{name} has more than {_MAX_EVENTS:,} values, which are too many")
        if isinstance(event, yaml.AliasEvent):
            raise DataError(
                f"{name} contains the YAML alias *{event.anchor[:80]}; write its value out"
            )
        if isinstance(event, yaml.ScalarEvent) and _is_long_number(event):
            raise DataError(f"{name} has a number of {len(event.value):,} digits")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise DataError(f"{name} is nested deeper than {_MAX_DEPTH} levels")
