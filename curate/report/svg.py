"""Charts as SVG, without scripts or network access.

Colors are those of Okabe and Ito (*Color Universal Design*, 2008), which are distinguishable
with color-vision deficiencies; lines differ in their dashes, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from markupsafe import Markup

from curate.report.numbers import NumberFormat
from curate.report.text import name_classes, typeset
from curate.report.values import Bar, BarChart, Line, LineChart

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#a6761d")
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "12 4", "4 2", "1 4", "6 6")

_AXIS, _PLOT = 34, 320
_STEPS = 5  # of an axis, at most


@dataclass(frozen=True, slots=True)
class Size:
    """Measures of charts for a width of the page, in pixels.

    Args:
        name: CSS class.
        width: of the chart.
        left: space for the labels of bars; 0 if they are above the bars.
        right: space for the values of bars, or for the legend of lines.
        row: height of a bar with its label.
    """

    name: str
    width: int
    left: int
    right: int
    row: int


WIDE = Size("wide", 780, 290, 200, 26)
NARROW = Size("narrow", 350, 0, 0, 44)


def draw_bars(chart: BarChart, size: Size = WIDE) -> Markup:
    """Draw a bar chart, with values and intervals as text; targets are dashed lines."""
    height = size.row * len(chart.bars) + _AXIS
    left, right = size.left or 4, size.right or 4
    across = size.width - left - right
    ticks, tick_form = _find_ticks(chart)
    low, high = ticks[0], ticks[-1]

    def x(value: float) -> float:
        return left + across * (min(max(value, low), high) - low) / (high - low)

    parts = [
        Markup('<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="0" y2="{1}"/>').format(
            x(tick), height - _AXIS
        )
        + _text(
            x(tick),
            height - 14,
            tick_form.value(tick),
            "middle" if size.left else {low: "start", high: "end"}.get(tick, "middle"),
        )
        for tick in ticks
    ]
    for number, bar in enumerate(chart.bars):
        middle = size.row * (number + 1) - 13
        value = format_bar(bar, chart.form)
        label = name_classes(typeset(bar.label))
        if size.left:
            parts.append(_text(left - 8, middle + 4, _cut(label, 40), "end"))
            parts.append(_text(size.width - right + 10, middle + 4, value, "start"))
        else:
            space = (size.width - 8) // 7 - len(value) - 1
            parts.append(_text(left, middle - 14, _cut(label, space), "start"))
            parts.append(_text(size.width - right, middle - 14, value, "end"))
        if bar.value is not None:
            start, end = sorted((x(max(low, 0.0)), x(bar.value)))
            shape = Markup('<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="14"/>')
            parts.append(shape.format(start, middle - 7, end - start))
            parts.append(_whisker(bar, middle, x))
        if bar.target is not None:
            line = Markup('<line class="target" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>')
            parts.append(line.format(x(bar.target), middle - 11, middle + 11))
    return _frame(chart.title, size, height, parts)


def draw_lines(chart: LineChart, size: Size = WIDE) -> Markup:
    """Draw a line chart with a legend on the right, or below it."""
    left = 60.0 if size.right else 44.0
    across = size.width - left - (size.right - 10 if size.right else 14)
    parts = []
    for step in range(6):
        share = step / 5
        y, x = _PLOT * (1 - share) + 8, left + across * share
        parts.append(
            Markup('<line class="grid" x1="{:.0f}" x2="{:.0f}" y1="{:.1f}" y2="{:.1f}"/>').format(
                left, left + across, y, y
            )
        )
        parts.append(_text(left - 6, y + 4, f"{share:g}", "end"))
        parts.append(_text(x, _PLOT + 26, f"{share:g}", "middle"))
    parts.append(_text(left + across / 2, _PLOT + 46, chart.x, "middle"))
    parts.append(_text(4, _PLOT / 2, chart.y, "middle", turn=True))
    for number, line in enumerate(chart.lines):
        parts.append(_polyline(line, number, left, across))
        y = (16 if size.right else _PLOT + 66) + 20 * number
        end = left + across if size.right else left - 14
        parts.append(_stroke(f"M{end + 14:.0f} {y}H{end + 38:.0f}", number))
        label = _cut(name_classes(line.label), 22 if size.right else 40)
        parts.append(_text(end + 43, y + 4, label, "start"))
    below = 0 if size.right else 20 * len(chart.lines) + 6
    return _frame(chart.title, size, _PLOT + 54 + below, parts)


def format_bar(bar: Bar, form: NumberFormat) -> str:
    """Format a bar's value and interval."""
    if bar.low is None or bar.high is None:
        return form.value(bar.value)
    return form.estimate(bar.value, (bar.low, bar.high))


def _find_ticks(chart: BarChart) -> tuple[list[float], NumberFormat]:
    """Ticks at multiples of 1, 2 or 5 times a power of 10 that enclose the domain."""
    scale = chart.form.scale
    low, high = (scale * end for end in chart.domain)
    if high <= low:
        high = low + 1
    exponent = math.floor(math.log10((high - low) / _STEPS))
    while True:
        for factor in (1, 2, 5):
            step = factor * 10.0**exponent
            first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
            if last - first <= _STEPS:
                ticks = [step * number / scale for number in range(first, last + 1)]
                return ticks, replace(chart.form, digits=max(0, -exponent), sign=False)
        exponent += 1


def _polyline(line: Line, number: int, left: float, across: float) -> Markup:
    points = [
        (left + across * min(max(x, 0.0), 1.0), _PLOT * (1 - min(max(y, 0.0), 1.0)) + 8)
        for x, y in line.points
    ]
    if not points:
        return Markup()
    return _stroke("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points), number)


def _stroke(path: str, number: int) -> Markup:
    index = number % len(COLORS)
    return Markup('<path d="{}" fill="none" stroke="{}" stroke-width="2.2"{}/>').format(
        path,
        COLORS[index],
        Markup(' stroke-dasharray="{}"').format(_DASHES[index]) if _DASHES[index] else "",
    )


def _whisker(bar: Bar, y: float, x: Callable[[float], float]) -> Markup:
    if bar.low is None or bar.high is None:
        return Markup()
    low, high = x(bar.low), x(bar.high)
    return Markup('<path class="whisker" d="{}"/>').format(
        f"M{low:.1f} {y:.1f}H{high:.1f}M{low:.1f} {y - 5:.1f}v10M{high:.1f} {y - 5:.1f}v10"
    )


def _text(x: float, y: float, text: str, anchor: str, turn: bool = False) -> Markup:
    turned = Markup(' transform="rotate(-90 {:.0f} {:.0f})" dy="10"').format(x, y) if turn else ""
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}"{}>{}</text>').format(
        x, y, anchor, turned, text
    )


def _cut(text: str, length: int) -> str:
    """Leave out the middle of a long label: its ends tell it from others."""
    if len(text) <= length:
        return text
    end = max(0, length // 2 - 1)
    return f"{text[: length - 1 - end]}…{text[len(text) - end :]}"


def _frame(title: str, size: Size, height: float, parts: Iterable[Markup]) -> Markup:
    inside = Markup("").join(parts)
    return Markup(
        '<svg class="{}" role="img" viewBox="0 0 {} {:.0f}" xmlns="http://www.w3.org/2000/svg" '
        'aria-label="{}"><title>{}</title>{}</svg>'
    ).format(size.name, size.width, height, title, title, inside)
