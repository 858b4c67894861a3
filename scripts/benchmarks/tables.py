"""Figures as Markdown; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.boxes import Share


@dataclass(slots=True)
class Report:
    """What one section measured.

    Args:
        title: its heading.
        method: how it was measured, in a few sentences.
        tables: each a caption, a head and rows.
        figures: the same and more, for programs.
        missing: what could not be measured, and why.
        remarks: Markdown that follows the tables.
    """

    title: str
    method: str
    tables: list[tuple[str, Sequence[str], list[Sequence[str]]]] = field(default_factory=list)
    figures: list[dict[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    remarks: str = ""


def format_report(report: Report) -> str:
    """A section as Markdown."""
    parts = [f"## {report.title}", report.method]
    for caption, head, rows in report.tables:
        parts.append(f"{caption}\n\n{format_table(head, rows)}" if caption else
                     format_table(head, rows))  # fmt: skip
    parts += [f"Not measured: {line}" for line in report.missing]
    parts += [report.remarks] if report.remarks else []
    return "\n\n".join(parts) + "\n"


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; columns of numbers stand to the right."""
    marks = [
        "---:" if rows and all(_is_number(row[column]) for row in rows) else "---"
        for column in range(len(head))
    ]
    lines = [head, marks, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def format_share(share: Share) -> str:
    """A share in per cent with its interval; a dash of nothing."""
    if not share.total:
        return "–"
    low, high = share.interval
    return f"{100 * share.value:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def format_spread(values: Sequence[float], digits: int = 2) -> str:
    """The median, with the least and the greatest where there are several."""
    if not values:
        return "–"
    middle = f"{median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def share_figures(share: Share) -> dict[str, Any]:
    """A share for programs; its value is None of nothing."""
    value = None if math.isnan(share.value) else round(share.value, 5)
    low, high = share.interval
    return {
        "hits": share.hits, "total": share.total, "value": value,
        "low": round(low, 5), "high": round(high, 5),
    }  # fmt: skip


def _is_number(cell: str) -> bool:
    return cell == "–" or cell[:1].isdigit() or cell[:1] in "+−"
