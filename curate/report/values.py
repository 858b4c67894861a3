"""The contents of an HTML page, before it is rendered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from curate.report.numbers import PERCENT, NumberFormat


@dataclass(frozen=True, slots=True)
class Bar:
    """A value with its interval.

    Args:
        label: name of the row.
        value: the value, or None for an empty row.
        low: lower end of its interval, or None.
        high: upper end of its interval, or None.
        target: value to compare with, drawn as a line, or None.
    """

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    target: float | None = None


@dataclass(frozen=True, slots=True)
class BarChart:
    """A horizontal bar chart with intervals.

    Args:
        title: its title, also for screen readers.
        bars: from top to bottom.
        domain: the range of the axis, which is extended to round ticks; values outside are
            clipped.
        form: the form of the values.
    """

    title: str
    bars: tuple[Bar, ...]
    domain: tuple[float, float] = (0.0, 1.0)
    form: NumberFormat = PERCENT


def find_domain(bars: Sequence[Bar], *, both_sides: bool = False) -> tuple[float, float]:
    """Return the range of an axis with 0 and every value, interval and target of bars.

    Args:
        bars: the bars.
        both_sides: whether 0 is in the middle, as for differences.
    """
    ends = [each for bar in bars for each in (bar.value, bar.low, bar.high, bar.target)]
    known = [0.0, *(each for each in ends if each is not None)]
    if both_sides:
        limit = max(map(abs, known))
        return -limit, limit
    return min(known), max(known)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart.

    Args:
        label: its name in the legend.
        points: pairs of x and y, in order.
    """

    label: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class LineChart:
    """A line chart; both axes have the range 0 to 1.

    Args:
        title: its title, also for screen readers.
        x: label of the horizontal axis.
        y: label of the vertical axis.
        lines: at most eight, so that they can be distinguished.
    """

    title: str
    x: str
    y: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text; the first cell of a row is its name.

    Args:
        caption: its caption.
        head: names of the columns.
        rows: a cell per column each.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A small image, embedded in the page.

    Args:
        jpeg: the encoded image.
        caption: its caption, also for screen readers.
    """

    jpeg: bytes
    caption: str


@dataclass(frozen=True, slots=True)
class Gallery:
    """Images side by side.

    Args:
        warning: shown above, such as that the page must not be shared; may be empty.
        pictures: in order.
        wide: whether each has double width.
        pairs: whether two that follow each other belong side by side.
    """

    warning: str
    pictures: tuple[Picture, ...]
    wide: bool = False
    pairs: bool = False


Block = str | BarChart | LineChart | Table | Gallery
"""A paragraph, a chart, a table or a gallery."""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and the blocks below it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A page.

    Args:
        title: its heading.
        lead: paragraphs before the first section.
        sections: in order.
        about: tool, version and digests of the inputs; shown below the title.
        verdict: the result in one or two sentences, shown first.
    """

    title: str
    lead: tuple[str, ...]
    sections: tuple[Section, ...]
    about: str
    verdict: str = ""
