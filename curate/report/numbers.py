"""Values of reports: rounded for JSON, and durations and bytes for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from curate.core.intervals import Interval


def round_value(value: float | None, digits: int = 6) -> float | None:
    """Round a number; None for NaN and infinity, which JSON does not have."""
    return None if value is None or not math.isfinite(value) else round(float(value), digits)


def round_interval(interval: Interval | None, digits: int = 6) -> list[float | None] | None:
    """Return the rounded ends of an interval."""
    if interval is None:
        return None
    return [round_value(interval.low, digits), round_value(interval.high, digits)]


def to_plain(value: Any, digits: int = 6) -> Any:
    """Convert a value to plain ones for JSON: dataclasses by field, numbers rounded."""
    if isinstance(value, Interval):
        return round_interval(value, digits)
    if is_dataclass(value):
        return pick(value, *(each.name for each in fields(value)), digits=digits)
    if isinstance(value, Mapping):
        return {key: to_plain(each, digits) for key, each in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return to_plain(value.tolist(), digits)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [to_plain(each, digits) for each in value]
    return round_value(value, digits) if isinstance(value, float) else value


def pick(value: object, *names: str, digits: int = 6) -> dict[str, Any]:
    """Return some attributes of a value for JSON, by name; see `to_plain`."""
    return {name: to_plain(getattr(value, name), digits) for name in names}


def format_duration(seconds: float) -> str:
    """A duration for people."""
    if seconds < 0.01:
        return "0 s" if seconds == 0 else "under 0.01 s"
    for limit, unit, text in ((90, 1, "s"), (5400, 60, "min"), (2 * 86_400, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.3g} {text}"
    return f"{seconds / 86_400:,.1f} days"


def format_bytes(count: float) -> str:
    """A number of bytes for people, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} PB"
