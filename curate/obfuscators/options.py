"""Parsing of method options from strings or plain values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from curate.core.entries import Scalar
from curate.core.errors import UsageError

_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def parse_options(method: str, kind: type[Any], options: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Convert options to the types of the dataclass fields that they set.

    Args:
        method: the method's registered name, for messages.
        kind: its dataclass.
        options: values by option name; strings are parsed.

    Raises:
        UsageError: if an option is unknown or its value has the wrong type.
    """
    types = {field.name: str(field.type) for field in fields(kind)}
    parsed: dict[str, Scalar] = {}
    for name, value in options.items():
        if name not in types:
            known = ", ".join(types) or "none"
            raise UsageError(f"method {method!r} has no option {name!r}; its options: {known}")
        expected, read = _READERS[types[name]]
        try:
            parsed[name] = read(value)
        except (TypeError, ValueError, KeyError, OverflowError):
            raise UsageError(
                f"option {name!r} of method {method!r} cannot be {value!r}; give {expected}"
            ) from None
    return parsed


def require(valid: bool, option: str, value: object, expected: str) -> None:
    """Raise unless an option's value is valid.

    Raises:
        UsageError: names the option, its value, and what is expected.
    """
    if not valid:
        raise UsageError(f"option {option!r} cannot be {value!r}; give {expected}")


def _read_bool(value: Scalar) -> bool:
    return value if isinstance(value, bool) else _BOOLEANS[str(value).strip().lower()]


def _read_int(value: Scalar) -> int:
    if isinstance(value, bool) or value is None or value != value or float(value) % 1:
        raise ValueError
    return int(float(value))


def _read_float(value: Scalar) -> float:
    if isinstance(value, bool) or value is None or not math.isfinite(float(value)):
        raise ValueError
    return float(value)


def _read_text(value: Scalar) -> str:
    if isinstance(value, bool) or value is None:
        raise ValueError
    return str(value)


_READERS: Mapping[str, tuple[str, Callable[[Scalar], Scalar]]] = {
    "bool": ("true or false", _read_bool),
    "int": ("a whole number", _read_int),
    "float": ("a number", _read_float),
    "str": ("text", _read_text),
}
