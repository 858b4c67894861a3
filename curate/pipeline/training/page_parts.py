"""Parts of the page: some of the test images, groups, and how figures are written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from curate.core.intervals import Interval
from curate.impact.crossed import Estimate
from curate.impact.transfer.groups import GroupCells, Part
from curate.impact.transfer.measure import Transfer
from curate.impact.transfer.trial import Cell
from curate.report.values import Bar, BarChart, Block, Table


def lay_out_parts(transfer: Transfer, parts: Sequence[Part]) -> Iterator[Block]:
    """Accuracies and gaps of several parts of the test images."""
    yield draw_gaps("Deployment gap", [(part.name, part.gaps["deployment"]) for part in parts])
    for weighted in (False, True) if transfer.trial.weighted else (False,):
        cells = [cell for cell in transfer.trial.cells if cell.weighted == weighted]
        yield Table(
            f"Top-1 accuracy{' with weights' if weighted else ''}, trained on → tested on",
            ("", "images", *(f"{cell.trained} → {cell.tested}" for cell in cells)),
            [
                (part.name, f"{part.n:,}", *(format_share(part.cells[cell]) for cell in cells))
                for part in parts
            ],
        )
    yield Table(
        "Gaps (95 %)",
        ("", "images", *(gap.name for gap in transfer.trial.gaps)),
        [
            (part.name, f"{part.n:,}",
             *(format_gap(part.gaps[gap.name])[0] for gap in transfer.trial.gaps))
            for part in parts
        ],
    )  # fmt: skip
    if transfer.trial.weighted:
        yield Table(
            "What the weights change (95 %), trained on → tested on",
            ("", *(format_cell(cell) for cell in parts[0].corrections)),
            [
                (part.name, *(format_gap(each)[0] for each in part.corrections.values()))
                for part in parts
            ],
        )


def lay_out_groups(transfer: Transfer, grouping: GroupCells) -> Iterator[Block]:
    """An attribute: its groups, and the gap between two of them."""
    yield from lay_out_parts(transfer, grouping.groups)
    if grouping.unlabelled:
        yield f"{grouping.unlabelled:,} test images have no value."
    gap = grouping.gap
    if gap is None:
        return
    yield (
        f"Trained and tested on original images {gap.best!r} does best and {gap.worst!r} worst. "
        "The two are picked after looking, so that part of the gap there is chance; how it changes "
        "is not."
    )
    rows = [(format_cell(cell), *format_gap(each)) for cell, each in gap.cells.items()]
    yield Table("Gap between the two groups", ("trained on → tested on", "gap (95 %)", "p"), rows)
    changes = [(name, *format_gap(each)) for name, each in gap.growth.items()]
    changes += [
        (f"weights, {format_cell(cell)}", *format_gap(each))
        for cell, each in gap.corrections.items()
    ]
    yield Table("What the gap grows by", ("", "growth (95 %)", "p"), changes)


def draw_gaps(title: str, rows: Sequence[tuple[str, Estimate]]) -> BarChart:
    """A chart of differences, its axis the same to both sides."""
    bars = tuple(Bar(name, each.value, *each.interval) for name, each in rows)
    ends = [abs(end) for bar in bars for end in (bar.low or 0.0, bar.high or 0.0)]
    most = min(max(-(-max(ends, default=0.0) // 0.01) * 0.01, 0.01), 1.0)
    return BarChart(title, bars, (-most, most))


def format_trained(cell: Cell) -> str:
    """What the networks of a cell were trained on."""
    return f"{cell.trained}, weighted" if cell.weighted else cell.trained


def format_cell(cell: Cell) -> str:
    """What a cell is."""
    return f"{format_trained(cell)} → {cell.tested}"


def format_share(estimate: Estimate) -> str:
    """An accuracy with its interval, in per cent."""
    if not estimate.n:
        return "–"
    low, high = estimate.interval
    return f"{format_percent(estimate.value)} ({100 * low:.1f} to {100 * high:.1f})"


def format_gap(estimate: Estimate) -> tuple[str, str]:
    """A difference with its interval in points, and its p."""
    if not estimate.n:
        return "–", "–"
    return format_points(estimate.value) + format_ends(estimate.interval), f"{estimate.p:.2g}"


def format_percent(value: float) -> str:
    """A share in per cent."""
    return f"{100 * value:.2f} %"


def format_points(value: float) -> str:
    """A difference in points."""
    return f"{100 * value:+.2f}".replace("-", "−")


def format_ends(interval: Interval) -> str:
    """An interval in points."""
    return f" ({format_points(interval.low)} to {format_points(interval.high)})"
