"""What a page holds, before it is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bar:
    """A value with its interval.

    Args:
        label: what it is of.
        value: the value; None is drawn as an empty row.
        low: lower end of its interval, or None.
        high: upper end of its interval, or None.
    """

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class BarChart:
    """Bars below each other, from 0, with whiskers for the intervals.

    Args:
        title: what a person who cannot see it is told first.
        bars: from top to bottom.
        domain: the axis's ends; values outside are cut off there.
        percent: whether 1 is written as 100 %.
    """

    title: str
    bars: tuple[Bar, ...]
    domain: tuple[float, float] = (0.0, 1.0)
    percent: bool = True


@dataclass(frozen=True, slots=True)
class Line:
    """Points joined by a line.

    Args:
        label: its name in the legend.
        points: x and y, in order.
    """

    label: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class LineChart:
    """Lines over a common axis; both axes run from 0 to 1.

    Args:
        title: what a person who cannot see it is told first.
        x: the name of the axis across.
        y: the name of the axis up.
        lines: at most eight, or they cannot be told apart.
    """

    title: str
    x: str
    y: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text; the first cell of each names its row.

    Args:
        caption: a few words above it.
        head: the columns' names.
        rows: as many cells each.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A small picture that the page carries inside.

    Args:
        jpeg: the encoded picture.
        caption: a few words, also its text for those who cannot see it.
    """

    jpeg: bytes
    caption: str


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures side by side.

    Args:
        warning: what to mind before the page is given to anyone; empty for nothing.
        pictures: in order.
        wide: whether each is as broad as two.
    """

    warning: str
    pictures: tuple[Picture, ...]
    wide: bool = False


Block = str | BarChart | LineChart | Table | Gallery
"""A paragraph, a chart, a table or a gallery."""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A page by itself.

    Args:
        title: its heading.
        lead: paragraphs before the first section.
        sections: in order.
        foot: the last line: by what and from what the page was made.
    """

    title: str
    lead: tuple[str, ...]
    sections: tuple[Section, ...]
    foot: str
