"""Numbers of the reports: rounding for JSON, percent and points for pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from curate.core.intervals import Interval
from curate.report import numbers
from curate.report.numbers import NO_VALUE as NO_VALUE
from curate.report.numbers import NumberFormat
from curate.report.values import Bar, BarChart, find_domain

_DIGITS = 8
PERCENT = NumberFormat(2, 100, " %")
POINTS = NumberFormat(2, 100, sign=True)

pick = partial(numbers.pick, digits=_DIGITS)
to_plain = partial(numbers.to_plain, digits=_DIGITS)
round_value = partial(numbers.round_value, digits=_DIGITS)


def format_percent(value: float) -> str:
    """Format a share, 0..1, in percent."""
    return PERCENT.value(value)


def format_points(value: float) -> str:
    """Format a difference of shares in percentage points, with its sign."""
    return POINTS.value(value)


def format_ends(interval: Interval | None) -> str:
    """Format the interval of a difference, with a leading space; empty for None."""
    if interval is None:
        return ""
    return f" ({POINTS.ends(interval.low, interval.high)})"


def draw_differences(title: str, bars: Sequence[Bar]) -> BarChart:
    """Return a bar chart of differences of shares, in points, with 0 in the middle of its axis."""
    domain = find_domain(bars, both_sides=True)
    return BarChart(f"{title}, percentage points", tuple(bars), domain, POINTS)


def describe_kinds(kinds: Sequence[str]) -> str:
    """Say how many classes changed, and in which way, in one sentence.

    Args:
        kinds: of every class: ``loss``, ``gain``, ``swap`` or ``none``.
    """
    found = [
        f"{kinds.count(kind):,} {verb}"
        for kind, verb in (("loss", "lost"), ("gain", "gained"), ("swap", "swapped labels"))
        if kind in kinds
    ]
    same = kinds.count("none")
    if not found:
        return f"None of the {same:,} classes changed significantly."
    if same:
        found.append(f"{same:,} did not change significantly")
    text = " and ".join(filter(None, (", ".join(found[:-1]), found[-1])))
    return f"Of {len(kinds):,} classes {text}."


def caption_classes(shown: int, classes: int) -> str:
    """Return the caption of a table of classes in the order of their q."""
    if shown == classes:
        return "All classes, the most significant change first"
    return f"The {shown:,} of {classes:,} classes with the most significant change"


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
