"""HTML page of `train_impact`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.impact.class_changes import RATE
from curate.impact.experiment import OBFUSCATED, ORIGINAL
from curate.impact.formatting import (
    NO_VALUE,
    PERCENT,
    caption_classes,
    describe_kinds,
    draw_differences,
    format_ends,
    format_percent,
    format_points,
)
from curate.impact.train.cells import DATASETS, Cell, ClassGap
from curate.impact.train.measure import GroupCells, Subset, TopK, Transfer
from curate.impact.train.report import format_cell, format_trained
from curate.impact.variance_components import Estimate
from curate.report.numbers import format_probability
from curate.report.text import name_attributes
from curate.report.values import Bar, BarChart, Block, Line, LineChart, Page, Section, Table

if TYPE_CHECKING:
    from curate.impact.train.report import TrainReport

_MAX_CLASSES = 50

_NAMES = {
    "deployment": "trained on obfuscated, tested on original",
    "diagonal": "trained and tested on obfuscated",
    "unadapted": "trained on original, tested on obfuscated",
}

_INTERVALS = (
    "Gaps are in percentage points, relative to training and testing on original images. The 95 % "
    "intervals hold for other test images and other seeds: images and seeds are crossed random "
    "effects, the variance is computed from mean squares with Satterthwaite's degrees of freedom, "
    "and no interval is narrower than that over images alone. They do not hold for other training "
    "images, networks or hyperparameters."
)

_CLASSES = (
    f"A class counts as changed where its q is at most {RATE:g} (Benjamini and Hochberg over all "
    "classes); the change is a label swap where average precision did not follow and one similar "
    "class absorbed, or gave, most of the images."
)


def make_page(report: TrainReport) -> Page:
    """Lay out the report."""
    transfer = report.transfer
    sections = [Section("Accuracy", tuple(_accuracy(transfer)))]
    if transfer.results.weighted:
        sections.append(Section("With weights", tuple(_weights(transfer))))
    sections.append(Section("By class", tuple(_classes(transfer))))
    if transfer.presence is not None:
        subsets = [subset for subset in transfer.presence if subset.n]
        sections.append(
            Section("With and without faces", tuple(lay_out_subsets(transfer, subsets)))
        )
    sections += [
        Section(f"By {name_attributes(grouping.name)}", tuple(lay_out_groups(transfer, grouping)))
        for grouping in transfer.groupings
    ]
    sections.append(Section("Training", tuple(_training(report))))
    if report.notes:
        sections.append(Section("Notes", report.notes))
    tool = report.facts["tool"]
    return Page(
        "Effect of training on obfuscated images",
        tuple(_lead(report)),
        tuple(sections),
        f"{tool['name']} {tool['version']}",
        verdict=_verdict(report),
    )


def _verdict(report: TrainReport) -> str:
    deployment = report.transfer.gaps["deployment"].top1
    return (
        "Trained on obfuscated and tested on original images, accuracy changes by "
        f"{format_points(deployment.value)} points{format_ends(deployment.interval)}."
    )


def _lead(report: TrainReport) -> Iterator[str]:
    images, seeds = report.facts["images"], len(report.transfer.results.seeds)
    what = "probe" if report.facts["training"]["kind"] == "probe" else "network"
    many = f"{seeds} {what}s" if seeds > 1 else f"One {what}"
    yield (
        f"{many} per dataset: trained on {images['train']:,} original images, or on the same "
        f"images obfuscated, and tested on {images['test']:,} others, both original and "
        "obfuscated."
    )
    if images["withheld"]:
        yield (
            "Images left out because they were withheld from the obfuscated dataset: "
            f"{images['withheld']:,}."
        )
    yield _INTERVALS


def _accuracy(transfer: Transfer) -> Iterator[Block]:
    yield _cells("Top-1 accuracy", transfer.accuracy, False)
    if transfer.gaps["deployment"].top5 is not None:
        five = {
            cell: TopK(topk.top5 or topk.top1, None) for cell, topk in transfer.accuracy.items()
        }
        yield _cells("Top-5 accuracy", five, False)
    yield from _gaps("Gaps in top-1 accuracy", transfer.gaps)
    yield Table(
        "Top-1 accuracy of each seed",
        ("trained on", "tested on", *(f"seed {seed}" for seed in transfer.results.seeds)),
        [
            (
                format_trained(cell),
                cell.tested,
                *(format_percent(value) for value in topk.top1.per_seed),
            )
            for cell, topk in transfer.accuracy.items()
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
    yield _cells(
        "Top-1 accuracy of networks with weighted training images", transfer.accuracy, True
    )
    yield from _gaps("Gaps with weights", transfer.weighted_gaps)
    yield Table(
        "Effect of the weights on top-1 accuracy",
        ("trained on", "tested on", "change (95 %)", "p"),
        [
            (cell.trained, cell.tested, *format_gap(topk.top1))
            for cell, topk in transfer.corrections.items()
        ],
    )


def _cells(caption: str, accuracy: Mapping[Cell, TopK], weighted: bool) -> Table:
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


def _gaps(caption: str, gaps: Mapping[str, TopK]) -> Iterator[Block]:
    yield draw_gaps(caption, [(name, topk.top1) for name, topk in gaps.items()])
    yield Table(
        caption,
        ("gap", "networks", "top-1 (95 %)", "p", "top-5 (95 %)"),
        [
            (name, _NAMES[name], *format_gap(topk.top1),
             NO_VALUE if topk.top5 is None else format_gap(topk.top5)[0])
            for name, topk in gaps.items()
        ],
    )  # fmt: skip


def _classes(transfer: Transfer) -> Iterator[Block]:
    yield _CLASSES
    for name, cell in (
        ("deployment", Cell(OBFUSCATED, ORIGINAL)),
        ("diagonal", Cell(OBFUSCATED, OBFUSCATED)),
    ):
        kinds = [each.gaps[name].kind for each in transfer.classes]
        yield f"{name.capitalize()} gap: {_lower(describe_kinds(kinds))}"
        shown = sorted(
            transfer.classes,
            key=lambda each: (each.gaps[name].q, -abs(each.gaps[name].top1.value)),
        )[:_MAX_CLASSES]
        reference = Cell(ORIGINAL, ORIGINAL)
        yield Table(
            f"{name.capitalize()} gap: {_lower(caption_classes(len(shown), len(kinds)))}",
            ("class", "trained", "tested", format_cell(reference), format_cell(cell), "gap (95 %)",
             "q", "average precision", "kind"),
            [
                (
                    transfer.results.classes[each.index],
                    f"{each.trained:,}",
                    f"{each.tested:,}",
                    format_percent(each.accuracy[reference]),
                    format_percent(each.accuracy[cell]),
                    *_gap_row(each.gaps[name]),
                )
                for each in shown
            ],
        )  # fmt: skip


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _gap_row(gap: ClassGap) -> Sequence[str]:
    return (
        format_gap(gap.top1)[0],
        format_probability(gap.q),
        format_points(gap.ap_difference),
        gap.kind,
    )


def _training(report: TrainReport) -> Iterator[Block]:
    lines = _curves(report)
    if lines:
        yield LineChart("Learning curves, mean over seeds", "share of training", "accuracy", lines)
        yield (
            "Training images are augmented by random crops and flips, test images are center-"
            "cropped; no hyperparameter was selected by these curves."
        )
    yield Table("Options", ("option", "value"), list(_flatten("", report.facts["training"])))


def _curves(report: TrainReport) -> tuple[Line, ...]:
    """At most six lines: training and both test accuracies, by the dataset of training."""
    lines = []
    for trained in DATASETS:
        curves = [
            run["curve"]
            for run in report.runs
            if "curve" in run and run["trained"] == trained and not run["weighted"]
        ]
        if not curves:
            continue
        total = len(curves[0])
        own = np.mean([[each["accuracy"] for each in curve] for curve in curves], axis=0)
        points = tuple(((epoch + 1) / total, float(y)) for epoch, y in enumerate(own))
        lines.append(Line(f"{trained}, training", points))
        tested_at = [epoch for epoch, each in enumerate(curves[0]) if each["test"] is not None]
        for tested in DATASETS:
            mean = [
                float(np.mean([curve[epoch]["test"][tested] for curve in curves]))
                for epoch in tested_at
            ]
            xy = zip(((epoch + 1) / total for epoch in tested_at), mean, strict=True)
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


def lay_out_subsets(transfer: Transfer, subsets: Sequence[Subset]) -> Iterator[Block]:
    """Accuracies and gaps of several subsets of the test images."""
    yield draw_gaps(
        "Deployment gap", [(subset.name, subset.gaps["deployment"]) for subset in subsets]
    )
    for weighted in (False, True) if transfer.results.weighted else (False,):
        cells = [cell for cell in transfer.results.cells if cell.weighted == weighted]
        yield Table(
            f"Top-1 accuracy{' with weights' if weighted else ''}, trained on → tested on",
            ("", "images", *(f"{cell.trained} → {cell.tested}" for cell in cells)),
            [
                (
                    subset.name,
                    f"{subset.n:,}",
                    *(format_share(subset.cells[cell]) for cell in cells),
                )
                for subset in subsets
            ],
        )
    yield Table(
        "Gaps (95 %)",
        ("", "images", *(gap.name for gap in transfer.results.gaps)),
        [
            (subset.name, f"{subset.n:,}",
             *(format_gap(subset.gaps[gap.name])[0] for gap in transfer.results.gaps))
            for subset in subsets
        ],
    )  # fmt: skip
    if transfer.results.weighted:
        yield Table(
            "Effect of the weights (95 %), trained on → tested on",
            ("", *(format_cell(cell) for cell in subsets[0].corrections)),
            [
                (subset.name, *(format_gap(each)[0] for each in subset.corrections.values()))
                for subset in subsets
            ],
        )


def lay_out_groups(transfer: Transfer, grouping: GroupCells) -> Iterator[Block]:
    """An attribute: its groups and the gap between two of them."""
    yield from lay_out_subsets(transfer, grouping.groups)
    if grouping.unlabeled:
        yield f"{grouping.unlabeled:,} test images have no value."
    gap = grouping.gap
    if gap is None:
        return
    for name, relative in gap.relative.items():
        yield Table(
            f"{name.capitalize()} gap relative to all other groups (95 % simultaneously)",
            ("", "difference", "p, adjusted"),
            [(group, *format_gap(each)) for group, each in relative.items()],
        )
    yield (
        f"Trained and tested on original images {gap.best!r} has the highest and {gap.worst!r} the "
        "lowest accuracy. The intervals of the gap between them hold for all pairs of groups "
        "simultaneously. Its growth is measured on one half of the images for the pair that is "
        "selected on the other half, and the reverse."
    )
    rows = [(format_cell(cell), *format_gap(each)) for cell, each in gap.cells.items()]
    yield Table("Gap between the two groups", ("trained on → tested on", "gap (95 %)", "p"), rows)
    changes = [(name, *format_gap(each.estimate)) for name, each in gap.growth.items()]
    changes += [
        (f"weights, {format_cell(cell)}", *format_gap(each.estimate))
        for cell, each in gap.corrections.items()
    ]
    yield Table("Growth of the gap", ("", "growth (95 %)", "p"), changes)


def draw_gaps(title: str, rows: Sequence[tuple[str, Estimate]]) -> BarChart:
    """Draw a bar chart of differences."""
    return draw_differences(title, [Bar(name, each.value, *each.interval) for name, each in rows])


def format_share(estimate: Estimate) -> str:
    """Format an accuracy with its interval, in percent."""
    if not estimate.n:
        return NO_VALUE
    return PERCENT.estimate(estimate.value, estimate.interval)


def format_gap(estimate: Estimate) -> tuple[str, str]:
    """Format a difference with its interval in points, and its p-value."""
    if not estimate.n:
        return NO_VALUE, NO_VALUE
    return format_points(estimate.value) + format_ends(estimate.interval), format_probability(
        estimate.p
    )
