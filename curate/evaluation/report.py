"""The result of an evaluation; its JSON schema is ``manifests/evaluate-1.schema.json``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curate.core.geometry import Box
from curate.core.intervals import Share
from curate.core.records import join_lines
from curate.evaluation.measure import Measures
from curate.evaluation.scores import Estimate, Grouping, GroupScore
from curate.evaluation.sweep import Sweep
from curate.report.document import Report
from curate.report.numbers import pick, round_interval, round_value, to_plain
from curate.report.values import Page, Picture

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1


@dataclass(frozen=True, slots=True)
class Miss:
    """A labeled face that would not be hidden.

    Args:
        id: the image.
        box: the labeled box, stored pixels.
        hidden: share of its area inside the hidden regions, 0..1.
    """

    id: str
    box: Box
    hidden: float


@dataclass(frozen=True, repr=False)
class Evaluation(Report):
    """The result of `evaluate`: recall, precision and hidden faces of a detector, by group.

    Args:
        measures: all measures, with intervals at 95 %.
        facts: what was compared: tool, digests of the inputs, recipe, models, images.
        misses: labeled faces that would not be hidden, the highest first.
        pictures: crops of misses for the HTML page, which then shows faces.
    """

    measures: Measures
    facts: Mapping[str, Any]
    misses: tuple[Miss, ...]
    pictures: tuple[Picture, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"version": VERSION, **self.facts, **to_dict(self.measures)}

    def to_page(self) -> Page:
        """The contents of the HTML page."""
        from curate.evaluation.page import make_page

        return make_page(self.measures, self.facts, self.pictures)

    def to_text(self) -> str:
        """The main measures, for the terminal."""
        from curate.evaluation.page import describe_detector, describe_ignored

        images, measures = self.facts["images"], self.measures
        ignored, unseen = describe_ignored(measures), images["by_detector"]
        note = f"Labels of {unseen:,} of these images are a detector's, which nobody looked at."
        lines = [
            f"{images['evaluated']:,} labeled images, {images['withheld']['images']:,} withheld; "
            f"{images['not_in_source']:,} not in SOURCE.",
            *([note] if unseen else []),
            f"Detector: {describe_detector(self.facts)}.",
            *([f"Not counted: {ignored}."] if ignored else []),
            "Images of SOURCE without labels are detected too, but not counted.",
            "hidden: % of faces that blur would hide; recall_30: % found at IoU 0.3.",
            *_format_scores("", (measures.overall,)),
            *_format_scores("height, pixels", measures.heights),
        ]
        for grouping in measures.groupings:
            lines += _format_scores(grouping.name, grouping.groups)
        for iou, precision in measures.precision.items():
            lines.append(
                f"Precision at IoU {iou:g}: {_format_estimate(precision)} % of "
                f"{precision.share.total:,} detections."
            )
        if len({each.share.total for each in measures.precision.values()}) > 1:
            lines.append(
                "Detections of ignored faces do not count; which these are depends on the IoU."
            )
        for iou, area in measures.average_precision.items():
            low, high = area.interval
            lines.append(
                f"Average precision at IoU {iou:g}: {area.value:.3f} ({low:.3f}–{high:.3f}); "
                f"at 101 recalls (COCO) {area.coco:.3f}."
            )
        return join_lines(lines)

    def to_frame(self) -> pd.DataFrame:
        """The measures of every group: a row per grouping, group and measure."""
        import pandas as pd

        measures = self.measures
        groupings = {"all": (measures.overall,), "height": measures.heights}
        groupings |= {grouping.name: grouping.groups for grouping in measures.groupings}
        rows = [
            {
                "grouping": name,
                "group": group.name,
                "faces": group.faces,
                "images": group.images,
                "measure": measure,
                "value": estimate.share.value,
                "low": estimate.interval.low,
                "high": estimate.interval.high,
            }
            for name, groups in groupings.items()
            for group in groups
            for measure, estimate in group.measures.items()
        ]
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        scores = ", ".join(
            f"{name} {_percent(each.share)}"
            for name, each in self.measures.overall.measures.items()
        )
        return f"<Evaluation of {self.measures.overall.faces:,} labeled faces: {scores}>"


_LABEL, _CELL = 24, 16


def _format_scores(title: str, groups: Iterable[GroupScore]) -> list[str]:
    """A table of at most 80 columns: a row per group, a column per measure."""
    groups = list(groups)
    names = list(groups[0].measures) if groups else []
    head = f"{title[:_LABEL]:<{_LABEL}}{'faces':>8}" + "".join(f"{n:>{_CELL}}" for n in names)
    return [head[:80], *(_format_row(group) for group in groups)]


def _format_row(group: GroupScore) -> str:
    cells = "".join(f"{_format_estimate(each):>{_CELL}}" for each in group.measures.values())
    return f"  {group.name[: _LABEL - 3]:<{_LABEL - 2}}{group.faces:>8,}{cells}".rstrip()


def _format_estimate(estimate: Estimate) -> str:
    if not estimate.share.total:
        return "–"
    low, high = estimate.interval
    return f"{100 * estimate.share.value:.1f} ({100 * low:.0f}–{100 * high:.0f})"


def _percent(share: Share) -> str:
    return f"{100 * share.value:.1f} %" if share.total else "–"


def to_dict(measures: Measures) -> dict[str, Any]:
    """Convert the measures to plain values."""
    rules, free = measures.rules, measures.face_free
    return {
        "rules": {
            "ious": list(rules.ious),
            "margin": rules.margin,
            "hidden_share": rules.hidden_share,
            "least_height": rules.min_height,
            "seed": rules.seed,
        },
        "faces": {
            "counted": measures.overall.faces,
            "ignored": measures.ignored,
            "too_small": measures.too_small,
        },
        "detections": measures.detections,
        "overall": _score(measures.overall)["measures"],
        "precision": {_key(iou): _estimate(each) for iou, each in measures.precision.items()},
        "average_precision": {
            _key(iou): pick(each, "value", "interval", "coco")
            for iou, each in measures.average_precision.items()
        },
        "calibration": {
            _key(iou): pick(each, "ece", "interval", "debiased", "calibrated")
            for iou, each in measures.calibration.items()
        },
        "face_free": {
            "images": free.with_box.total,
            "boxes": free.boxes,
            "with_box": pick(free.with_box, "hits", "total", "value", "interval"),
            "per_image": {
                "value": round_value(free.per_image),
                "interval": round_interval(free.interval),
            },
        },
        "by_height": _scores(measures.heights),
        "by": {grouping.name: _grouping(grouping) for grouping in measures.groupings},
        "sweep": _sweep(measures.sweep) if measures.sweep else None,
    }


def _grouping(grouping: Grouping) -> dict[str, Any]:
    return {
        "groups": _scores(grouping.groups),
        **pick(grouping, "unlabeled", "comparisons"),
        "gaps": [{**pick(gap, "interval"), **to_plain(gap)} for gap in grouping.gaps],
    }


def _scores(scores: Iterable[GroupScore]) -> list[dict[str, Any]]:
    return [_score(score) for score in scores]


def _score(score: GroupScore) -> dict[str, Any]:
    return {
        **pick(score, "name", "faces", "images", "median_height", "compared"),
        "measures": {name: _estimate(each) for name, each in score.measures.items()},
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {
        **pick(estimate.share, "hits", "total", "value"),
        **pick(estimate, "interval"),
        **pick(estimate.share, "wilson=interval", "effective"),
        **pick(estimate, "clustered"),
    }


_SWEEP = ("best", "target", "thresholds", "recall", "group_thresholds")


def _sweep(sweep: Sweep) -> dict[str, Any]:
    return {
        "curves": {_key(iou): to_plain(curve.thin()) for iou, curve in sweep.curves.items()},
        "by": {group.name: pick(group, *_SWEEP) for group in sweep.groups},
    }


def _key(iou: float) -> str:
    return str(round(100 * iou))
