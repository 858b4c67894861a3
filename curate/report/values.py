"""The contents of an HTML page, before it is rendered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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
        domain: the range of the axis; values outside are clipped.
        percent: whether values are shown in percent.
    """

    title: str
    bars: tuple[Bar, ...]
    domain: tuple[float, float] = (0.0, 1.0)
    percent: bool = True


def in_points(bar: Bar) -> Bar:
    """A bar of a difference of shares, 0..1, in percentage points."""
    value, low, high, target = (
        None if each is None else 100 * each for each in (bar.value, bar.low, bar.high, bar.target)
    )
    return Bar(bar.label, value, low, high, target)


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
