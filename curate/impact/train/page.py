"""What is lost by training on obfuscated images, as a page for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from curate.core.intervals import Interval
from curate.impact.predictions.classes import RATE
from curate.impact.train.crossed import Estimate
from curate.impact.train.groups import GroupCells, Part
from curate.impact.train.measure import Both, Transfer
from curate.impact.train.run import Answer
from curate.impact.train.trial import DATASETS, OBFUSCATED, ORIGINAL, Cell, Move
from curate.report.values import Bar, BarChart, Block, Line, LineChart, Page, Section, Table

_MOST_CLASSES = 50

_NAMES = {
    "deployment": "trained on obfuscated, tested on original",
    "diagonal": "trained and tested on obfuscated",
    "unadapted": "trained on original, tested on obfuscated",
}

_INTERVALS = (
    "Gaps are in percentage points, all minus trained and tested on original images. Intervals are "
    "at 95 % and hold for other test images and other seeds: images and seeds are crossed random "
    "effects, their variance is put together from mean squares, with Satterthwaite's degrees of "
    "freedom, and no interval is narrower than that over images alone. They do not hold for other "
    "training images, another network or another way to train."
)

_CLASSES = (
    f"A class counts as moved where its q is at most {RATE:g} (Benjamini and Hochberg over all "
    "classes); it is a swap where average precision did not follow and one look-alike class took, "
    "or gave, most of the images."
)


def make_page(answer: Answer) -> Page:
    """Lay out what was measured."""
    transfer = answer.transfer
    sections = [Section("Accuracy", tuple(_accuracy(transfer)))]
    if transfer.trial.weighted:
        sections.append(Section("With weights", tuple(_weights(transfer))))
    sections.append(Section("By class", tuple(_classes(transfer))))
    if transfer.presence is not None:
        parts = [part for part in transfer.presence if part.n]
        sections.append(Section("With and without faces", tuple(lay_out_parts(transfer, parts))))
    sections += [
        Section(f"By {grouping.name}", tuple(lay_out_groups(transfer, grouping)))
        for grouping in transfer.groupings
    ]
    sections.append(Section("How it was trained", tuple(_training(answer))))
    if answer.notes:
        sections.append(Section("Notes", answer.notes))
    tool = answer.facts["tool"]
    return Page(
        "What does training on obfuscated images cost?",
        tuple(_lead(answer)),
        tuple(sections),
        f"{tool['name']} {tool['version']}",
    )


def _lead(answer: Answer) -> Iterator[str]:
    images, seeds = answer.facts["images"], len(answer.transfer.trial.seeds)
    what = "probe" if answer.facts["training"]["kind"] == "probe" else "network"
    many = f"{seeds} {what}s" if seeds > 1 else f"One {what}"
    yield (
        f"{many} for each dataset: trained on {images['train']:,} images as they are, or on the "
        f"same images obfuscated, and tested on {images['test']:,} others, both as they are and "
        f"obfuscated. {images['withheld']:,} images were withheld from the obfuscated dataset and "
        "take no part."
    )
    deployment = answer.transfer.gaps["deployment"].top1
    yield (
        "Trained on obfuscated images and deployed on original ones, accuracy changes by "
        f"{format_points(deployment.value)} points{format_ends(deployment.interval)}."
    )
    yield _INTERVALS


def _accuracy(transfer: Transfer) -> Iterator[Block]:
    yield _cells("Top-1 accuracy", transfer.accuracy, False)
    if transfer.gaps["deployment"].top5 is not None:
        five = {
            cell: Both(both.top5 or both.top1, None) for cell, both in transfer.accuracy.items()
        }
        yield _cells("Top-5 accuracy", five, False)
    yield from _gaps("Gaps in top-1 accuracy", transfer.gaps)
    yield Table(
        "Top-1 accuracy of each seed",
        ("trained on", "tested on", *(f"seed {seed}" for seed in transfer.trial.seeds)),
        [
            (
                format_trained(cell),
                cell.tested,
                *(format_percent(value) for value in both.top1.per_seed),
            )
            for cell, both in transfer.accuracy.items()
        ],
    )
    yield Table(
        "Average precision, mean over classes and seeds",
        ("trained on", *(f"tested on {name}" for name in DATASETS)),
        [
            (name, *(format_percent(transfer.precision[Cell(name, tested)]) for tested in DATASETS))
            for name in DATASETS
        ],
    )


def _weights(transfer: Transfer) -> Iterator[Block]:
    yield _cells("Top-1 accuracy of networks whose images were weighted", transfer.accuracy, True)
    yield from _gaps("Gaps with weights", transfer.weighted_gaps)
    yield Table(
        "What the weights change in top-1 accuracy",
        ("trained on", "tested on", "change (95 %)", "p"),
        [
            (cell.trained, cell.tested, *format_gap(both.top1))
            for cell, both in transfer.corrections.items()
        ],
    )


def _cells(caption: str, accuracy: Mapping[Cell, Both], weighted: bool) -> Table:
    return Table(
        caption,
        ("trained on", *(f"tested on {name}" for name in DATASETS)),
        [
            (
                name,
                *(format_share(accuracy[Cell(name, tested, weighted)].top1) for tested in DATASETS),
            )
            for name in DATASETS
        ],
    )


def _gaps(caption: str, gaps: Mapping[str, Both]) -> Iterator[Block]:
    yield draw_gaps(caption, [(name, both.top1) for name, both in gaps.items()])
    yield Table(
        caption,
        ("gap", "what is compared", "top-1 (95 %)", "p", "top-5 (95 %)"),
        [
            (name, _NAMES[name], *format_gap(both.top1),
             "–" if both.top5 is None else format_gap(both.top5)[0])
            for name, both in gaps.items()
        ],
    )  # fmt: skip


def _classes(transfer: Transfer) -> Iterator[Block]:
    yield _CLASSES
    for name, cell in (
        ("deployment", Cell(OBFUSCATED, ORIGINAL)),
        ("diagonal", Cell(OBFUSCATED, OBFUSCATED)),
    ):
        kinds = [each.moves[name].kind for each in transfer.classes]
        yield (
            f"{name.capitalize()} gap: of {len(kinds):,} classes {kinds.count('loss'):,} lost, "
            f"{kinds.count('gain'):,} gained, {kinds.count('swap'):,} swapped labels and "
            f"{kinds.count('none'):,} did not move for sure."
        )
        shown = sorted(
            transfer.classes,
            key=lambda each: (each.moves[name].q, -abs(each.moves[name].top1.value)),
        )[:_MOST_CLASSES]
        reference = Cell(ORIGINAL, ORIGINAL)
        yield Table(
            f"The {len(shown)} classes that moved most surely in the {name} gap",
            ("class", "trained", "tested", format_cell(reference), format_cell(cell), "gap (95 %)",
             "q", "average precision", "kind"),
            [
                (
                    transfer.trial.classes[each.place],
                    f"{each.trained:,}",
                    f"{each.tested:,}",
                    format_percent(each.accuracy[reference]),
                    format_percent(each.accuracy[cell]),
                    *_move(each.moves[name]),
                )
                for each in shown
            ],
        )  # fmt: skip


def _move(move: Move) -> Sequence[str]:
    return (
        format_gap(move.top1)[0],
        f"{move.q:.2g}",
        format_points(move.ap_difference),
        move.kind,
    )


def _training(answer: Answer) -> Iterator[Block]:
    lines = _curves(answer)
    if lines:
        yield LineChart("Learning curves, mean over seeds", "share of training", "accuracy", lines)
        yield (
            "Training images are seen in random crops and mirrored, test images in the middle "
            "crop; nothing was chosen by looking at a curve."
        )
    yield Table("Every choice", ("choice", "value"), list(_flatten("", answer.facts["training"])))


def _curves(answer: Answer) -> tuple[Line, ...]:
    """Six lines at most: by what was trained on, training images and both test sets."""
    lines = []
    for trained in DATASETS:
        curves = [
            run["curve"]
            for run in answer.runs
            if "curve" in run and run["trained"] == trained and not run["weighted"]
        ]
        if not curves:
            continue
        total = len(curves[0])
        own = np.mean([[each["accuracy"] for each in curve] for curve in curves], axis=0)
        points = tuple(((place + 1) / total, float(y)) for place, y in enumerate(own))
        lines.append(Line(f"{trained}, training", points))
        looked = [place for place, each in enumerate(curves[0]) if each["test"] is not None]
        for tested in DATASETS:
            mean = [
                float(np.mean([curve[place]["test"][tested] for curve in curves]))
                for place in looked
            ]
            xy = zip(((place + 1) / total for place in looked), mean, strict=True)
            lines.append(Line(f"{trained}→{tested}", tuple(xy)))
    return tuple(lines)


def _flatten(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            title = str(name).replace("_", " ")
            yield from _flatten(f"{prefix}, {title}" if prefix else title, part)
    elif isinstance(value, list | tuple):
        yield prefix, ", ".join(str(part) for part in value)
    else:
        yield prefix, str(value)


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
