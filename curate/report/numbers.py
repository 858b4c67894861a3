"""Values of reports: rounded for JSON, and numbers, durations and bytes for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from curate.core.intervals import Interval

NO_VALUE = "–"


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """The form of a value and its interval, the same in charts, tables and sentences.

    >>> PERCENT.estimate(0.5, Interval(0.4, 0.6))
    '50.0 % (40.0 to 60.0)'

    Args:
        digits: decimals.
        scale: factor; 100 for shares shown in percent or percentage points.
        unit: text after the value.
        sign: whether positive values have a plus sign.
    """

    digits: int
    scale: float = 1
    unit: str = ""
    sign: bool = False

    def value(self, value: float | None) -> str:
        """Format a value with its unit; a dash for None and NaN."""
        if value is None or math.isnan(value):
            return NO_VALUE
        return f"{self._number(value)}{self.unit}"

    def ends(self, low: float, high: float) -> str:
        """Format the ends of an interval, without a unit."""
        return f"{self._number(low)} to {self._number(high)}"

    def estimate(self, value: float | None, interval: Sequence[float] | None) -> str:
        """Format a value with its interval in parentheses, if it has one."""
        text = self.value(value)
        if text == NO_VALUE or interval is None:
            return text
        low, high = interval
        return f"{text} ({self.ends(low, high)})"

    def _number(self, value: float) -> str:
        rounded = round(self.scale * value, self.digits) + 0.0  # no minus sign before 0
        return f"{rounded:{'+' if self.sign else ''},.{self.digits}f}".replace("-", "−")


PERCENT = NumberFormat(1, 100, " %")
POINTS = NumberFormat(1, 100, sign=True)
RATIO = NumberFormat(2)
COEFFICIENT = NumberFormat(3)


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
    """Return some attributes of a value for JSON, by name; see `to_plain`.

    Args:
        value: the value; None has the value None of each.
        names: attributes; ``KEY=NAME`` where their key in JSON is another.
        digits: decimals of numbers.

    >>> pick(Interval(0.25, 1), "low", "upper=high")
    {'low': 0.25, 'upper': 1}
    """
    pairs = (name.rpartition("=") for name in names)
    return {
        key or name: None if value is None else to_plain(getattr(value, name), digits)
        for key, _, name in pairs
    }


def format_probability(value: float) -> str:
    """A p- or q-value for people."""
    return "below 0.0001" if value < 0.0001 else f"{value:.2g}"


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
