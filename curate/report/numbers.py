"""Numbers of reports: rounded for JSON, and durations and bytes for people."""

from __future__ import annotations

import math

from curate.core.intervals import Interval


def round_value(value: float | None, digits: int = 6) -> float | None:
    """Round a number; None for NaN and infinity, which JSON does not have."""
    return None if value is None or not math.isfinite(value) else round(float(value), digits)


def round_interval(interval: Interval | None, digits: int = 6) -> list[float | None] | None:
    """Return the rounded ends of an interval."""
    if interval is None:
        return None
    return [round_value(interval.low, digits), round_value(interval.high, digits)]


def format_duration(seconds: float) -> str:
    """A duration for people."""
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
