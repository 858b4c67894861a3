"""Numbers of the reports: rounding for JSON, percent and points for pages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from curate.core.intervals import Interval
from curate.report import numbers
from curate.report.values import Bar, BarChart, in_points

_DIGITS = 8
NO_VALUE = "–"


round_value = partial(numbers.round_value, digits=_DIGITS)
round_interval = partial(numbers.round_interval, digits=_DIGITS)


def format_percent(value: float) -> str:
    """Format a share, 0..1, in percent."""
    return f"{100 * value:.2f} %"


def format_points(value: float) -> str:
    """Format a difference of shares in percentage points, with its sign."""
    return f"{100 * value:+.2f}".replace("-", "−")


def format_ends(interval: Interval | None) -> str:
    """Format the interval of a difference, with a leading space; empty for None."""
    if interval is None:
        return ""
    return f" ({format_points(interval.low)} to {format_points(interval.high)})"


def draw_differences(title: str, bars: Sequence[Bar]) -> BarChart:
    """Return a bar chart of differences of shares, in points, with 0 in the middle of its axis."""
    shown = tuple(map(in_points, bars))
    ends = [abs(end) for bar in shown for end in (bar.low or 0.0, bar.high or 0.0)]
    limit = float(min(max(math.ceil(max(ends, default=0.0)), 1), 100))
    return BarChart(f"{title}, percentage points", shown, (-limit, limit), percent=False)


def describe_run(run: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the report's entry about the manifest of the obfuscated dataset."""
    return (
        None
        if run is None
        else {
            "records_sha256": run["records"]["sha256"],
            "recipe_sha256": run["recipe_sha256"],
            "obfuscator": run["obfuscator"]["name"],
        }
    )
