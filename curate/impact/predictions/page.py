"""What obfuscation costs a classifier, as a page for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from curate.impact.predictions.classes import RATE, ClassChange
from curate.impact.predictions.groups import Grouping
from curate.impact.predictions.measure import FaceImpact, Impact
from curate.impact.predictions.metrics import BINS, Calibration
from curate.impact.predictions.page_arms import describe_arms, describe_model
from curate.impact.predictions.paired import ALPHA, POWER, Change
from curate.impact.predictions.run import Answer
from curate.impact.predictions.strata import Stratum
from curate.impact.wording import format_ends, format_percent, format_points
from curate.report.values import Bar, BarChart, Block, Line, LineChart, Page, Section, Table

_MOST_CLASSES = 50

_INTERVALS = (
    "Differences are obfuscated minus original, in percentage points; intervals are at 95 %. They "
    "hold both the bootstrap's over images and models and Bonett and Price's for pairs: of few "
    "changed images the bootstrap alone promises too much. The report in JSON has the bootstrap's "
    "by itself."
)

_KINDS = (
    f"A class's accuracy counts as moved where its q is at most {RATE:g} (McNemar's exact test, "
    "Benjamini and Hochberg over all classes). It is a swap where average precision did not move "
    "with it by at least a quarter as much and a single other class took, or gave, at least half "
    "of the images: then the line between two look-alike classes lies elsewhere, and the model "
    "sees as much as before. Any other move is a loss or a gain."
)

_HEAD = ("", "images", "original", "obfuscated", "difference (95 %)")


def make_page(answer: Answer) -> Page:
    """Lay out what was measured."""
    impact = answer.impact
    sections = [
        Section("Accuracy", tuple(_accuracy(impact))),
        Section("By class", tuple(_classes(impact))),
    ]
    if impact.faces is not None:
        sections.append(Section("By what is hidden", tuple(_faces(impact.faces))))
    sections += [
        Section(f"By {grouping.name}", tuple(_grouping(grouping))) for grouping in impact.groupings
    ]
    sections.append(Section("Where a prediction can be trusted", tuple(_trust(impact))))
    tool = answer.facts["tool"]
    first = answer.facts["predictions"][0]
    if answer.controls is not None:
        sections.insert(1, Section("Control arms", tuple(describe_arms(answer.controls))))
    if "model" in answer.facts:
        sections.append(Section("The model", tuple(describe_model(answer.facts["model"]))))
    if answer.notes:
        sections.append(Section("Notes", answer.notes))
    return Page(
        "What does obfuscation cost in accuracy?",
        tuple(_lead(answer)),
        tuple(sections),
        f"{tool['name']} {tool['version']}; predictions {first['original_sha256'][:12]} and "
        f"{first['obfuscated_sha256'][:12]}",
    )


def _lead(answer: Answer) -> Iterator[str]:
    impact, unpaired = answer.impact, answer.facts["unpaired"]
    models = len(impact.experiment.models)
    by = f" by each of {models} models" if models > 1 else ""
    yield (
        f"{len(impact.experiment):,} images were classified{by} as they are and obfuscated. Left "
        f"out for having no pair: {unpaired['original'] + unpaired['obfuscated']:,}, and "
        f"{unpaired['withheld']:,} more that were withheld from the obfuscated dataset."
    )
    yield _INTERVALS


def _accuracy(impact: Impact) -> Iterator[Block]:
    rows = [("Top-1", impact.top1)]
    if impact.top5 is not None:
        rows.append(("Top-5", impact.top5))
    yield _table("Share of images whose class is the best, or among the five best", rows)
    before, after = impact.precision
    yield (
        f"Mean average precision over classes: {format_percent(before)} on original and "
        f"{format_percent(after)} on obfuscated images, {format_points(after - before)} points."
    )
    test = impact.test
    yield (
        f"{test.b:,} images were lost and {test.c:,} gained; a split as uneven as this has a "
        f"chance of {test.p:.2g} if obfuscation does nothing (McNemar's exact test)."
    )
    power = impact.power.detectable
    if power is None:
        yield "With so few images no drop could have been shown."
    else:
        yield (
            "The smallest drop that this sample would have shown with a chance of "
            f"{100 * POWER:g} % is {100 * power:.2f} points (at a level of {ALPHA:g})."
        )


def _classes(impact: Impact) -> Iterator[Block]:
    names = impact.experiment.classes
    kinds = [each.kind for each in impact.classes]
    yield (
        f"Of {len(kinds):,} classes with images {kinds.count('loss'):,} lost, "
        f"{kinds.count('gain'):,} gained, {kinds.count('swap'):,} swapped labels and "
        f"{kinds.count('none'):,} did not move for sure."
    )
    yield _KINDS
    shown = sorted(impact.classes, key=lambda each: (each.q, -abs(each.top1.difference)))
    yield Table(
        f"The {min(len(shown), _MOST_CLASSES)} classes that moved most surely",
        (*_HEAD, "average precision", "q", "kind", "mostly with"),
        [_class_row(each, names) for each in shown[:_MOST_CLASSES]],
    )


def _class_row(each: ClassChange, names: Sequence[str]) -> Sequence[str]:
    confusion = each.confusion
    return (
        *_row(names[each.place], each.top1),
        format_points(each.ap_difference),
        f"{each.q:.2g}",
        each.kind,
        "–" if confusion is None or each.kind == "none" else names[confusion.place],
    )


def _faces(faces: FaceImpact) -> Iterator[Block]:
    yield _table(
        "Images with and without hidden faces",
        [("with faces", faces.present), ("without faces", faces.absent)],
    )
    shares = [(_name_share(each), each.top1) for each in faces.by_share]
    yield _chart("Change of top-1 accuracy by the share of the image that is hidden", shares)
    yield _table("By the share of the image's area that is hidden", shares)
    if faces.slope is not None:
        ends = faces.slope.interval
        yield (
            f"By least squares, each tenth of the image that is hidden changes accuracy by "
            f"{format_points(faces.slope.value / 10)} points"
            + (
                f" ({format_points(ends.low / 10)} to {format_points(ends.high / 10)})."
                if ends
                else "."
            )
        )
    counts = [(_name_count(each), each.top1) for each in faces.by_count]
    yield _table("By number of hidden faces", counts)


def _grouping(grouping: Grouping) -> Iterator[Block]:
    rows = [(group.name, group.top1) for group in grouping.groups]
    yield _chart(f"Change of top-1 accuracy by {grouping.name}", rows)
    yield _table(f"Groups by {grouping.name}", rows)
    if grouping.unlabelled:
        yield f"{grouping.unlabelled:,} images have no value."
    gap = grouping.gap
    if gap is not None:
        yield (
            f"On original images {gap.best!r} does best and {gap.worst!r} worst, by "
            f"{100 * gap.original:.2f} points; on obfuscated ones by {100 * gap.obfuscated:.2f}: "
            f"the gap grew by {format_points(gap.difference)}{format_ends(gap.interval)}. The two "
            "are picked after looking, so that part of the gap itself is chance."
        )


def _trust(impact: Impact) -> Iterator[Block]:
    if impact.calibration is not None:
        before, after = impact.calibration
        yield (
            f"Expected calibration error over {BINS} bins of equal width: "
            f"{format_percent(before.ece)} on original and {format_percent(after.ece)} on "
            "obfuscated images."
        )
        said = (
            _reliability("original", before),
            _reliability("obfuscated", after),
            Line("as often as said", ((0.0, 0.0), (1.0, 1.0))),
        )
        yield LineChart("Reliability", "confidence", "accuracy", said)
    curves = dict(zip(("original", "obfuscated"), impact.selective, strict=True))
    lines = tuple(
        Line(name, tuple(zip(curve.coverage, curve.risk, strict=True)))
        for name, curve in curves.items()
    )
    yield LineChart("Errors among the surest answers", "coverage", "risk", lines)
    yield Table(
        "Share of errors where only the surest answers count",
        ("answers", *curves),
        [
            (
                format_percent(coverage),
                *(format_percent(curve.risk[place]) for curve in curves.values()),
            )
            for place, coverage in enumerate(impact.selective[0].coverage)
        ],
    )


def _reliability(name: str, calibration: Calibration) -> Line:
    return Line(
        name, tuple((each.confidence, each.accuracy) for each in calibration.bins if each.n)
    )


def _chart(title: str, rows: Sequence[tuple[str, Change]]) -> BarChart:
    bars = tuple(
        Bar(name, change.difference, *change.interval) if change.n else Bar(name, None)
        for name, change in rows
    )
    ends = [abs(end) for bar in bars for end in (bar.low or 0.0, bar.high or 0.0)]
    most = min(max(-(-max(ends, default=0.0) // 0.01) * 0.01, 0.01), 1.0)
    return BarChart(title, bars, (-most, most))


def _table(caption: str, rows: Sequence[tuple[str, Change]]) -> Table:
    return Table(caption, _HEAD, [_row(name, change) for name, change in rows])


def _row(name: str, change: Change) -> Sequence[str]:
    if not change.n:
        return (name, "0", "–", "–", "–")
    return (
        name,
        f"{change.n:,}",
        format_percent(change.original),
        format_percent(change.obfuscated),
        format_points(change.difference) + format_ends(change.interval),
    )


def _name_share(stratum: Stratum) -> str:
    if not stratum.high:
        return "nothing"
    return f"{100 * stratum.low:g} to {100 * stratum.high:g} %"


def _name_count(stratum: Stratum) -> str:
    if stratum.high is None:
        return f"{stratum.low:g} or more"
    ends = (f"{stratum.low:g}", f"{stratum.high:g}")
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)
