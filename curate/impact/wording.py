"""How figures of accuracy are written for people."""

from __future__ import annotations

from curate.core.intervals import Interval


def format_percent(value: float) -> str:
    """A share, 0..1, in per cent."""
    return f"{100 * value:.2f} %"


def format_points(value: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return f"{100 * value:+.2f}".replace("-", "−")


def format_ends(interval: Interval | None) -> str:
    """The interval of a difference in brackets, with a blank before; nothing if there is none."""
    if interval is None:
        return ""
    return f" ({format_points(interval.low)} to {format_points(interval.high)})"
