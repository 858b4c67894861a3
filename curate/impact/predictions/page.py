"""HTML page of `measure_impact` and `evaluate_impact`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from curate.core.calibration import BINS, Calibration
from curate.impact.class_changes import MIN_ABSORBING, RATE, ClassChange
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
from curate.impact.paired import ALPHA, POWER, Change
from curate.impact.predictions.conformal import ANSWERED, COVERAGE, Proportion, Reliability
from curate.impact.predictions.control_arms import lay_out_controls
from curate.impact.predictions.groups import Grouping
from curate.impact.predictions.measure import FaceImpact, Impact, Stratum
from curate.report.numbers import format_probability
from curate.report.text import name_attributes
from curate.report.values import Bar, BarChart, Block, Line, LineChart, Page, Section, Table

if TYPE_CHECKING:
    from curate.impact.predictions.report import ImpactReport

_MAX_CLASSES = 50

_INTERVALS = (
    "Differences are obfuscated minus original, in percentage points, with 95 % intervals. Each "
    "interval contains both the bootstrap's over images and models and Bonett and Price's for "
    "paired proportions: with few discordant images the bootstrap alone is too narrow. The JSON "
    "report lists the bootstrap's separately."
)

_KINDS = (
    f"A class's accuracy counts as changed where its q is at most {RATE:g} (McNemar's exact test, "
    "Benjamini and Hochberg over all classes). The change is a label swap where average precision "
    "did not change with it by at least a quarter as much and a single other class (with at least "
    f"{MIN_ABSORBING} images) absorbed, or gave, at least half of the images: then the boundary "
    "between two similar classes moved, and "
    "images are ranked as well as before. Any other change is a loss or a gain."
)

_HEAD = ("", "images", "original", "obfuscated", "difference (95 %)")


def make_page(report: ImpactReport) -> Page:
    """Lay out the report."""
    impact = report.impact
    sections = [
        Section("Accuracy", tuple(_accuracy(impact))),
        Section("By class", tuple(_classes(impact))),
    ]
    if impact.faces is not None:
        sections.append(Section("By hidden share and number of faces", tuple(_faces(impact.faces))))
    sections += [
        Section(f"By {name_attributes(grouping.name)}", tuple(_grouping(grouping)))
        for grouping in impact.groupings
    ]
    sections.append(Section("Calibration and selective accuracy", tuple(_trust(impact))))
    tool = report.facts["tool"]
    first = report.facts["predictions"][0]
    if report.controls is not None:
        sections.insert(1, Section("Control arms", tuple(lay_out_controls(report.controls))))
    if "model" in report.facts:
        sections.append(Section("The model", tuple(_model(report.facts["model"]))))
    if report.notes:
        sections.append(Section("Notes", report.notes))
    return Page(
        "Effect of obfuscation on accuracy",
        tuple(_lead(report)),
        tuple(sections),
        f"{tool['name']} {tool['version']}; predictions {first['original_sha256'][:12]} and "
        f"{first['obfuscated_sha256'][:12]}",
        verdict=_verdict(impact),
    )


def _verdict(impact: Impact) -> str:
    change = impact.top1
    return (
        f"Top-1 accuracy changes by {format_points(change.difference)} points"
        f"{format_ends(change.interval)}, from {format_percent(change.original)} on original to "
        f"{format_percent(change.obfuscated)} on obfuscated images; {change.n:,} images."
    )


def _lead(report: ImpactReport) -> Iterator[str]:
    impact, unpaired = report.impact, report.facts["unpaired"]
    models = len(impact.experiment.models)
    by = f" by each of {models} models" if models > 1 else ""
    yield f"{len(impact.experiment):,} images were classified{by}, original and obfuscated."
    alone = unpaired["original"] + unpaired["obfuscated"]
    if alone:
        yield f"Images left out because they have no pair: {alone:,}."
    if unpaired["withheld"]:
        yield (
            "Images left out because they were withheld from the obfuscated dataset: "
            f"{unpaired['withheld']:,}."
        )
    yield _INTERVALS


def _accuracy(impact: Impact) -> Iterator[Block]:
    rows = [("Top-1", impact.top1)]
    if impact.top5 is not None:
        rows.append(("Top-5", impact.top5))
    yield _table("Top-1 and top-5 accuracy", rows)
    before, after = impact.precision
    yield (
        f"Mean average precision over classes: {format_percent(before)} on original and "
        f"{format_percent(after)} on obfuscated images, {format_points(after - before)} points."
    )
    test = impact.test
    if test.b or test.c:
        lost, gained = (f"{count:,}" if count else "no" for count in (test.b, test.c))
        yield (
            f"Obfuscation lost {lost} images and gained {gained} images; McNemar's exact test "
            f"gives p {format_probability(test.p)}."
        )
    else:
        yield "No image was lost or gained."
    power = impact.power.detectable
    if power is None:
        yield "The sample is too small to detect any drop."
    else:
        yield (
            f"The smallest drop that this sample detects with a probability of {100 * POWER:g} % "
            f"is {100 * power:.2f} points (at a level of {ALPHA:g})."
        )


def _classes(impact: Impact) -> Iterator[Block]:
    names = impact.experiment.classes
    kinds = [each.kind for each in impact.classes]
    yield describe_kinds(kinds)
    yield _KINDS
    shown = sorted(impact.classes, key=lambda each: (each.q, -abs(each.top1.difference)))
    yield Table(
        caption_classes(len(shown[:_MAX_CLASSES]), len(shown)),
        (*_HEAD, "average precision", "q", "kind", "mostly with"),
        [_class_row(each, names) for each in shown[:_MAX_CLASSES]],
    )


def _class_row(each: ClassChange, names: Sequence[str]) -> Sequence[str]:
    confusion = each.confusion
    return (
        *_row(names[each.index], each.top1),
        format_points(each.ap_difference),
        format_probability(each.q),
        each.kind,
        NO_VALUE if confusion is None or each.kind == "none" else names[confusion.index],
    )


def _faces(faces: FaceImpact) -> Iterator[Block]:
    yield _table(
        "Images with and without hidden faces",
        [("with faces", faces.present), ("without faces", faces.absent)],
    )
    shares = [(_name_share(each), each.top1) for each in faces.by_share]
    yield _chart("Change of top-1 accuracy by hidden share of the image", shares)
    yield _table("By hidden share of the image's area", shares)
    if faces.slope is not None:
        slope, ends = faces.slope, faces.slope.interval
        rough = "; with so few images this is a rough estimate" if slope.rough else ""
        yield (
            "Least-squares slope: for each tenth of the image that is hidden accuracy changes by "
            f"{format_points(slope.value / 10)} points ({format_points(ends.low / 10)} to "
            f"{format_points(ends.high / 10)}){rough}."
        )
    yield _table(
        "By number of hidden faces", [(_name_count(each), each.top1) for each in faces.by_count]
    )


def _grouping(grouping: Grouping) -> Iterator[Block]:
    rows = [(group.name, group.top1) for group in grouping.groups]
    yield _chart(f"Change of top-1 accuracy by {name_attributes(grouping.name)}", rows)
    yield _table(f"Groups by {name_attributes(grouping.name)}", rows)
    if grouping.unlabeled:
        yield f"{grouping.unlabeled:,} images have no value."
    relative = [(each.name, each.relative) for each in grouping.groups if each.relative]
    if relative:
        yield Table(
            "Change of accuracy relative to all other groups, in points (95 % simultaneously)",
            ("", "difference", "p, adjusted"),
            [
                (
                    name,
                    format_points(each.value) + format_ends(each.interval),
                    format_probability(each.p),
                )
                for name, each in relative
            ],
        )
    gap = grouping.gap
    if gap is not None:
        before, after, growth = gap.original, gap.obfuscated, gap.growth.estimate
        yield (
            f"On original images {gap.best!r} has the highest accuracy and {gap.worst!r} the "
            f"lowest, {format_points(before.value)} points apart{format_ends(before.interval)}; on "
            f"obfuscated ones {format_points(after.value)}{format_ends(after.interval)}. These "
            "intervals hold for all pairs of groups simultaneously. The gap between the best and "
            f"the worst group grows by {format_points(growth.value)} points"
            f"{format_ends(growth.interval)}, measured on one half of the images for the pair "
            "selected on the other half."
        )


def _trust(impact: Impact) -> Iterator[Block]:
    if impact.calibration is not None:
        before, after = impact.calibration
        yield Table(
            f"Expected calibration error over {BINS} bins of equal width",
            ("images", "error (95 %)", "debiased", "of a calibrated model"),
            [
                (
                    name,
                    PERCENT.estimate(each.ece, each.interval),
                    format_percent(each.debiased),
                    format_percent(each.calibrated),
                )
                for name, each in (("original", before), ("obfuscated", after))
            ],
        )
        yield (
            "Noise increases the error: the last column is the error that a perfectly calibrated "
            "model would show on this number of images."
        )
        lines = (
            _reliability("original", before),
            _reliability("obfuscated", after),
            Line("perfect calibration", ((0.0, 0.0), (1.0, 1.0))),
        )
        yield LineChart("Reliability", "confidence", "accuracy", lines)
    curves = dict(zip(("original", "obfuscated"), impact.selective, strict=True))
    curve_lines = tuple(
        Line(name, tuple(zip(curve.coverage, curve.risk, strict=True)))
        for name, curve in curves.items()
    )
    yield LineChart("Risk-coverage curve", "coverage", "risk", curve_lines)
    yield Table(
        "Error rate among the most confident predictions",
        ("coverage", *curves),
        [
            (
                format_percent(coverage),
                *(format_percent(curve.risk[number]) for curve in curves.values()),
            )
            for number, coverage in enumerate(impact.selective[0].coverage)
        ],
    )
    if impact.reliability:
        yield from _sets(impact.reliability)


def _sets(reliability: Sequence[Reliability]) -> Iterator[Block]:
    yield (
        f"Prediction sets that contain the true class of {100 * COVERAGE:g} % of the originals "
        "(split conformal prediction, calibrated on originals of the other half of the images). "
        "“Own” sets are calibrated on the originals of the subset only."
    )
    yield Table(
        "Share of images whose prediction set contains the true class (95 %)",
        ("", "images", "original", "obfuscated", "original, own", "obfuscated, own"),
        [
            (
                each.name,
                f"{each.n:,}",
                *(_proportion(one) for one in (*each.coverage, *each.own_coverage)),
            )
            for each in reliability
        ],
    )
    yield Table(
        f"Abstention at the confidence that {100 * ANSWERED:g} % of the originals reach (95 %)",
        ("", "answered, original", "obfuscated", "error rate, original", "obfuscated"),
        [
            (each.name, *(_proportion(one) for one in (*each.answered, *each.risk)))
            for each in reliability
        ],
    )


def _proportion(proportion: Proportion) -> str:
    return PERCENT.estimate(proportion.value, proportion.interval)


def _reliability(name: str, calibration: Calibration) -> Line:
    return Line(
        name, tuple((each.confidence, each.accuracy) for each in calibration.bins if each.n)
    )


def _model(model: Mapping[str, Any]) -> Iterator[Block]:
    yield (
        f"{model['spec']}: {model['classes']:,} classes, on {model['device']} in {model['dtype']}, "
        f"batches of {model['batch']:,} images."
    )
    rows = [(f"preprocessing: {key}", _plain(value)) for key, value in model["preprocess"].items()]
    rows += [(key, value) for key, value in model["libraries"].items()]
    rows += [(f"sha256 of {key}", value) for key, value in model["weights_sha256"].items()]
    yield Table("Model and preprocessing", ("", "value"), rows)


def _plain(value: Any) -> str:
    return ", ".join(map(_plain, value)) if isinstance(value, list) else str(value)


def _chart(title: str, rows: Sequence[tuple[str, Change]]) -> BarChart:
    bars = [
        Bar(name, change.difference, *change.interval) if change.n else Bar(name, None)
        for name, change in rows
    ]
    return draw_differences(title, bars)


def _table(caption: str, rows: Sequence[tuple[str, Change]]) -> Table:
    return Table(caption, _HEAD, [_row(name, change) for name, change in rows])


def _row(name: str, change: Change) -> Sequence[str]:
    if not change.n:
        return (name, "0", NO_VALUE, NO_VALUE, NO_VALUE)
    return (
        name,
        f"{change.n:,}",
        format_percent(change.original),
        format_percent(change.obfuscated),
        format_points(change.difference) + format_ends(change.interval),
    )


def _name_share(stratum: Stratum) -> str:
    if not stratum.high:
        return "0 %"
    return f"{100 * stratum.low:g} to {100 * stratum.high:g} %"


def _name_count(stratum: Stratum) -> str:
    if stratum.high is None:
        return f"{stratum.low:g} or more"
    ends = (f"{stratum.low:g}", f"{stratum.high:g}")
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)
