"""The HTML page of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from curate.core.intervals import Interval, Share
from curate.evaluation.matching import Rules
from curate.evaluation.measure import Measures
from curate.evaluation.scores import MIN_FACES, Gap, Grouping, GroupScore
from curate.evaluation.sweep import SWEEP_FROM, GroupSweep, Sweep
from curate.report.numbers import COEFFICIENT, PERCENT, POINTS
from curate.report.text import name_attributes
from curate.report.values import (
    Bar,
    BarChart,
    Block,
    Gallery,
    Line,
    LineChart,
    Page,
    Picture,
    Section,
    Table,
    find_domain,
)

_MAX_LINES = 8

_WARNING = (
    "This page contains visible faces of the dataset that the detector missed; do not share it."
)

_INTERVALS = (
    "Intervals are at 95 % and allow for the correlation of faces in one photo. They are the hull "
    "of Wilson's interval (for gaps, Newcombe's) at the effective number of faces and of a cluster "
    "bootstrap over images. The gap between the best and the worst group holds for all pairs of "
    "groups simultaneously, because these two are selected after looking. The JSON report has each "
    "interval separately."
)

_CALIBRATION = (
    "Expected calibration error of the confidence as the probability that a detection matches a "
    "face. Noise increases it: the last column is the error that a perfectly calibrated detector "
    "shows with this number of detections, and the debiased estimate allows for it."
)


def make_page(
    measures: Measures, facts: Mapping[str, Any], pictures: Sequence[Picture] = ()
) -> Page:
    """Lay out the page.

    Args:
        measures: all measures.
        facts: what was compared, of the report.
        pictures: crops of missed faces; with any, the page shows faces.
    """
    sections = [
        Section("Overall", tuple(_overall(measures))),
        Section("By height", tuple(_heights(measures))),
        *(
            Section(
                f"By {name_attributes(grouping.name)}", tuple(_grouping(grouping, measures.rules))
            )
            for grouping in measures.groupings
        ),
        *([Section("Other thresholds", tuple(_sweep(measures)))] if measures.sweep else ()),
    ]
    if pictures:
        gallery = Gallery(_WARNING, tuple(pictures))
        sections.insert(0, Section("Largest faces that would not be hidden", (gallery,)))
    tool = facts["tool"]
    return Page(
        "Detector evaluation",
        tuple(_lead(measures, facts)),
        tuple(sections),
        f"{tool['name']} {tool['version']}; labels {str(facts['truth_sha256'])[:12]}",
        verdict=_verdict(measures),
    )


def _verdict(measures: Measures) -> str:
    hidden = _format_estimate(measures.overall, "hidden")
    parts = [f"Hidden: {hidden} of {measures.overall.faces:,} labeled faces"]
    for iou, precision in list(measures.precision.items())[:1]:
        text = _format_share(precision.share, precision.interval)
        parts.append(f"precision at IoU {iou:g}: {text} of {precision.share.total:,} detections")
    return f"{'; '.join(parts)}."


def describe_ignored(measures: Measures) -> str:
    """Which labeled faces are not counted, and why; empty if all are."""
    marked, small = measures.ignored, measures.too_small
    parts = (
        f"{marked:,} labeled {'face' if marked == 1 else 'faces'} marked as ignored, or whose box "
        "has no area"
        if marked
        else "",
        f"{small:,} labeled {'face' if small == 1 else 'faces'} lower than "
        f"{measures.rules.min_height:g} px"
        if small
        else "",
    )
    return " and ".join(filter(None, parts))


def describe_detector(facts: Mapping[str, Any]) -> str:
    """The detector that was measured, with its profile and threshold."""
    recipe = facts["recipe"]
    if not recipe:
        return "unknown, since the file of the detections does not state it"
    options = [f"profile {recipe.get('profile')}"]
    if recipe.get("detector") is not None:
        options.insert(0, str(recipe["detector"]))
    if recipe.get("confidence") is not None:
        options.append(f"minimum confidence {recipe['confidence']:g}")
    models = ", ".join(
        f"{each['name']} of {each['package']} {each['version']}" for each in facts["detectors"]
    )
    return f"{', '.join(options)}; {models}"


def _lead(measures: Measures, facts: Mapping[str, Any]) -> Iterator[str]:
    images = facts["images"]
    rules, withheld = measures.rules, images["withheld"]
    yield f"Detector: {describe_detector(facts)}."
    yield (
        f"{measures.overall.faces:,} labeled faces in {images['evaluated']:,} images, and "
        f"{measures.detections:,} detections."
    )
    if text := describe_ignored(measures):
        yield f"Ignored, with any detection on them: {text}."
    yield f"Unmatched detections lower than {rules.min_height:g} px are ignored."
    if images["by_detector"]:
        yield (
            f"Labels of {images['by_detector']:,} of these images are a detector's, which nobody "
            "looked at."
        )
    if images["not_in_source"]:
        yield f"Labeled images that are not in the dataset: {images['not_in_source']:,}."
    if images["not_labeled"]:
        yield f"Images without labels: {images['not_labeled']:,}."
    if withheld["images"]:
        reasons = ", ".join(f"{count:,} {name}" for name, count in withheld["reasons"].items())
        were = "was" if withheld["images"] == 1 else "were"
        yield (
            f"{withheld['images']:,} labeled images with {withheld['faces']:,} faces {were} "
            f"withheld ({reasons}). Withheld images are excluded from all measures and do not "
            "count as images without faces."
        )
    yield (
        f"A face is hidden if at least {100 * rules.hidden_share:g} % of its labeled box is "
        f"inside the detections' boxes, grown by {rules.margin:g} of their longer side and rounded "
        "outwards, as in obfuscation. It is found if a detection is matched with it: one to one, "
        "in descending order of confidence, at the given intersection over union (IoU)."
    )
    yield _INTERVALS


def _overall(measures: Measures) -> Iterator[Block]:
    rows: list[tuple[str, ...]] = [
        (_name(measure), _format_estimate(measures.overall, measure), f"{share.total:,} faces")
        for measure, share in _shares(measures.overall)
    ]
    for iou, precision in measures.precision.items():
        text = _format_share(precision.share, precision.interval)
        rows.append((f"Precision, IoU {iou:g}", text, f"{precision.share.total:,} detections"))
    yield Table("All faces that count", ("", "share (95 %)", "of"), rows)
    areas = [
        (
            f"IoU {iou:g}",
            COEFFICIENT.estimate(area.value, area.interval),
            COEFFICIENT.value(area.coco),
        )
        for iou, area in measures.average_precision.items()
    ]
    if areas:
        yield Table(
            "Average precision", ("", "all-point interpolation (95 %)", "COCO's 101 recalls"), areas
        )
    if measures.curves and measures.sweep is None:
        yield (
            "Average precision is computed over the detections at the operating point only; those "
            "of lower confidence, which --sweep adds, can only increase it."
        )
    if measures.calibration:
        errors = [
            (
                f"IoU {iou:g}",
                COEFFICIENT.estimate(each.ece, each.interval),
                COEFFICIENT.value(each.debiased),
                COEFFICIENT.value(each.calibrated),
            )
            for iou, each in measures.calibration.items()
        ]
        head = ("", "ECE (95 %)", "debiased", "of a calibrated detector")
        yield Table("Calibration of confidences", head, errors)
        yield _CALIBRATION
    free = measures.face_free
    if free.with_box.total and not free.boxes:
        yield (
            f"On {free.with_box.total:,} images without any face there is no box; share of such "
            f"images with one: {_format_share(free.with_box)}."
        )
    elif free.with_box.total:
        yield (
            f"On {free.with_box.total:,} images without any face there are {free.boxes:,} boxes: "
            f"{COEFFICIENT.estimate(free.per_image, free.interval)} per image. At least one box: "
            f"on {free.with_box.hits:,} of the images, {_format_share(free.with_box)}."
        )
    else:
        yield "Every labeled image has faces, so false boxes per image are not measured."


def _heights(measures: Measures) -> Iterator[Block]:
    rules = measures.rules
    yield _chart("Faces hidden, by height in pixels", measures.heights, "hidden")
    yield _table("By height of the labeled box, pixels", measures.heights, rules)


def _grouping(grouping: Grouping, rules: Rules) -> Iterator[Block]:
    yield _chart(f"Faces hidden, by {name_attributes(grouping.name)}", grouping.groups, "hidden")
    yield _table(f"Groups by {name_attributes(grouping.name)}", grouping.groups, rules)
    left_out = [group.name for group in grouping.groups if not group.compared]
    note = f"{grouping.unlabeled:,} faces have no value. " if grouping.unlabeled else ""
    if left_out:
        note += (
            f"Not compared, as they have fewer than {MIN_FACES} faces or do not name a group: "
            f"{', '.join(left_out)}."
        )
    if note:
        yield note
    if not grouping.gaps:
        return
    gaps = [gap for gap in grouping.gaps if gap.measure in ("hidden", rules.measures[0])]
    bars = tuple(
        Bar(_format_pair(gap), gap.difference, gap.interval.low, gap.interval.high)
        for gap in gaps
        if gap.measure == "hidden"
    )
    title = f"Gaps in faces hidden, by {name_attributes(grouping.name)}, percentage points"
    yield BarChart(title, bars, find_domain(bars, both_sides=True), POINTS)
    rows = [(_format_pair(gap), _name(gap.measure), _format_gap(gap)) for gap in gaps]
    yield Table("Gaps, percentage points", ("", "share", "gap (95 %)"), rows)
    if grouping.comparisons > 1:
        yield (
            f"The best and the worst group are selected from {grouping.comparisons:,} pairs after "
            "the measurement, so some gap between them is expected even without any true "
            "difference; its interval allows for that. Groups can also differ in the "
            "height of their faces: compare the medians above."
        )


def _sweep(measures: Measures) -> Iterator[Block]:
    sweep, rules = measures.sweep, measures.rules
    if sweep is None:
        return
    yield (
        f"Computed from detections down to a confidence of {SWEEP_FROM:g}, or from all in the "
        "given file. The detector's rule at its operating point need not be a threshold on this "
        "score, so the measures above need not be on these curves."
    )
    lines = tuple(
        Line(f"IoU {iou:g}", tuple(zip(thin.recall.tolist(), thin.precision.tolist(), strict=True)))
        for iou, curve in sweep.curves.items()
        for thin in [curve.thin()]
    )
    yield LineChart("Precision and recall", "recall", "precision", lines)
    yield _curve_table(sweep)
    for group in sweep.groups:
        yield from _group_sweep(group, rules)


def _curve_table(sweep: Sweep) -> Table:
    rows = []
    for iou, curve in sweep.curves.items():
        for threshold in (0.1, 0.25, 0.5, 0.75, 0.9):
            taken = int((curve.confidence >= threshold).sum())
            if taken:
                recall = PERCENT.value(float(curve.recall[taken - 1]))
                precision = PERCENT.value(float(curve.precision[taken - 1]))
                rows.append((f"IoU {iou:g}, from {threshold:g}", recall, precision))
    return Table("Points of the curves, by confidence", ("", "recall", "precision"), rows)


def _group_sweep(group: GroupSweep, rules: Rules) -> Iterator[Block]:
    lines = tuple(
        Line(name, tuple(zip(group.thresholds, recall, strict=True)))
        for name, recall in list(group.recall.items())[:_MAX_LINES]
    )
    title = f"Recall at IoU {rules.ious[0]:g} by threshold, by {name_attributes(group.name)}"
    yield LineChart(title, "minimum confidence", "recall", lines)
    rows = [
        (
            each.group,
            _format_threshold(each.threshold),
            " to ".join(_format_threshold(end) for end in each.interval),
            PERCENT.value(each.unreached),
            PERCENT.value(each.precision),
        )
        for each in group.group_thresholds
    ]
    yield Table(
        f"By {name_attributes(group.name)}: threshold with a recall of "
        f"{PERCENT.value(group.target)}, that of {group.best!r} at the operating point",
        ("", "threshold", "95 %", "none", "precision at it"),
        rows,
    )
    yield (
        "Thresholds have the interval of a bootstrap over images; “none” means that no threshold "
        "of the sweep is low enough, and its column gives the share of resamples where this is so."
    )


def _format_threshold(threshold: float | None) -> str:
    return "none" if threshold is None else f"{threshold:.3f}"


def _chart(title: str, groups: Sequence[GroupScore], measure: str) -> BarChart:
    bars = []
    for group in groups:
        estimate = group.measures[measure]
        value = estimate.share.value if estimate.share.total else None
        ends = estimate.interval if value is not None else None
        bars.append(Bar(group.name, value, ends and ends.low, ends and ends.high))
    return BarChart(title, tuple(bars))


def _table(caption: str, groups: Sequence[GroupScore], rules: Rules) -> Table:
    head = ("", "faces", "images", "median height", *(_name(each) for each in rules.measures))
    rows = [
        (
            group.name,
            f"{group.faces:,}",
            f"{group.images:,}",
            f"{group.median_height:.0f} px" if group.faces else "–",
            *(_format_estimate(group, measure) for measure in rules.measures),
        )
        for group in groups
    ]
    return Table(caption, head, rows)


def _shares(group: GroupScore) -> Iterator[tuple[str, Share]]:
    return ((name, estimate.share) for name, estimate in group.measures.items())


def _name(measure: str) -> str:
    if measure == "hidden":
        return "Hidden"
    return f"Recall, IoU {int(measure.removeprefix('recall_')) / 100:g}"


def _format_estimate(group: GroupScore, measure: str) -> str:
    estimate = group.measures[measure]
    return _format_share(estimate.share, estimate.interval)


def _format_share(share: Share, interval: Interval | None = None) -> str:
    if not share.total:
        return "–"
    return PERCENT.estimate(share.value, interval or share.interval)


def _format_gap(gap: Gap) -> str:
    return POINTS.estimate(gap.difference, gap.interval)


def _format_pair(gap: Gap) -> str:
    return f"{gap.group} − {gap.against}" if gap.against is not None else f"{gap.group} − the rest"
