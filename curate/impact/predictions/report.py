"""The report of `measure_impact` and `evaluate_impact`; schema manifests/impact-1.schema.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from curate.core.calibration import BINS, Calibration
from curate.core.records import join_lines
from curate.impact.class_changes import ClassChange
from curate.impact.formatting import pick, round_value
from curate.impact.paired import ALPHA, POWER, Change
from curate.impact.predictions.conformal import ANSWERED, COVERAGE, Reliability
from curate.impact.predictions.control_arms import Controls, describe_controls, list_controls
from curate.impact.predictions.groups import Gap, Grouping
from curate.impact.predictions.measure import FaceImpact, Impact, Stratum
from curate.impact.variance_components import Estimate
from curate.report.document import Report
from curate.report.values import Page

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1


@dataclass(frozen=True, repr=False)
class ImpactReport(Report):
    """Effect of obfuscation on a classifier.

    Args:
        impact: the statistics.
        facts: what was compared.
        notes: what could not be measured and why, one line each.
        controls: control arms; None where none was run.
    """

    impact: Impact
    facts: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    controls: Controls | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report for JSON; differences are obfuscated minus original, fractions."""
        return {
            "version": VERSION,
            **self.facts,
            **list_impact(self.impact),
            **({"arms": list_controls(self.controls)} if self.controls else {}),
            "notes": list(self.notes),
        }

    def to_page(self) -> Page:
        """Return the HTML page's contents."""
        from curate.impact.predictions.page import make_page

        return make_page(self)

    def to_text(self) -> str:
        """Return the main figures, one per line."""
        return join_lines(_list_lines(self))

    def to_frame(self) -> pd.DataFrame:
        """Return one row per class, by class name."""
        import pandas as pd

        rows = [_list_class(each, self.impact.experiment.classes) for each in self.impact.classes]
        frame = pd.DataFrame(rows).set_index("category")
        ends = pd.DataFrame(frame.pop("ci95").tolist(), index=frame.index, columns=["low", "high"])
        frame = frame.drop(columns=["bootstrap", "confusion"]).join(ends)
        frame["confused_with"] = [
            None if each.confusion is None else self.impact.experiment.classes[each.confusion.index]
            for each in self.impact.classes
        ]
        return frame

    def __repr__(self) -> str:
        change = self.impact.top1
        return (
            f"<ImpactReport: {change.n:,} pairs, top-1 {100 * change.original:.2f} % → "
            f"{100 * change.obfuscated:.2f} %>"
        )


def _list_lines(report: ImpactReport) -> Iterator[str]:
    impact = report.impact
    count, models = len(impact.experiment), len(impact.experiment.models)
    yield f"{count:,} pairs of images" + (f", {models} models" if models > 1 else "")
    yield (
        f"top-1: {format_change(impact.top1)}, McNemar p {impact.test.p:.3g} "
        f"({impact.test.b:,} lost, {impact.test.c:,} gained)"
    )
    if impact.top5 is not None:
        yield f"top-5: {format_change(impact.top5)}"
    kinds = [each.kind for each in impact.classes]
    yield (
        f"classes: {kinds.count('loss')} lost, {kinds.count('gain')} gained, "
        f"{kinds.count('swap')} swapped, {kinds.count('none')} unchanged"
    )
    if impact.power.detectable is not None:
        yield f"smallest detectable drop: {100 * impact.power.detectable:.2f} points"
    for grouping in impact.groupings:
        if grouping.gap is not None:
            growth = grouping.gap.growth.estimate
            low, high = growth.interval
            yield (
                f"{grouping.name}: gap of {100 * grouping.gap.original.value:.2f} points between "
                f"{grouping.gap.best} and {grouping.gap.worst}, growth {100 * growth.value:+.2f} "
                f"({100 * low:+.2f} to {100 * high:+.2f})"
            )
    for each in impact.reliability[1:3]:
        if each.name.endswith(" faces"):
            before, after = (100 * one.value for one in each.coverage)
            yield (
                f"{100 * COVERAGE:g} % prediction sets, images {each.name}: coverage "
                f"{before:.1f} % → {after:.1f} %"
            )
    if report.controls is not None:
        yield from list(describe_controls(report.controls))[1:]  # the first is printed above
    yield from report.notes


def format_change(change: Change) -> str:
    """Format a change of accuracy with its interval."""
    low, high = change.interval
    return (
        f"{100 * change.original:.2f} % → {100 * change.obfuscated:.2f} %, "
        f"{100 * change.difference:+.2f} points ({100 * low:+.2f} to {100 * high:+.2f})"
    )


def list_impact(impact: Impact) -> dict[str, Any]:
    """Return the statistics for JSON."""
    experiment, faces = impact.experiment, impact.faces
    before, after = impact.precision
    return {
        "pairs": len(experiment),
        "models": len(experiment.models),
        "seed": impact.seed,
        "classes": {"total": len(experiment.classes), "with_images": len(impact.classes)},
        "top1": _list_change(impact.top1),
        "top5": _list_change(impact.top5) if impact.top5 else None,
        "average_precision": {
            "original": round_value(before),
            "obfuscated": round_value(after),
            "difference": round_value(after - before),
        },
        "mcnemar": asdict(impact.test),
        "per_class": [_list_class(each, experiment.classes) for each in impact.classes],
        "by_blurred_share": [_list_stratum(each) for each in faces.by_share] if faces else [],
        "blurred_share_slope": pick(faces.slope, "value", "ci95=interval", "rough")
        if faces and faces.slope
        else None,
        "by_faces": [_list_stratum(each) for each in faces.by_count] if faces else [],
        "by_presence": _list_presence(faces) if faces else None,
        "by_group": {grouping.name: _list_grouping(grouping) for grouping in impact.groupings},
        "calibration": _list_calibrations(impact.calibration) if impact.calibration else None,
        "selective": _list_pair(impact.selective, "area", "coverage", "risk"),
        "reliability": {
            "coverage": COVERAGE,
            "answered": ANSWERED,
            "subsets": [_list_reliability(each) for each in impact.reliability],
        }
        if impact.reliability
        else None,
        "power": {
            **pick(impact.power, "detectable_drop=detectable", "discordant"),
            "alpha": ALPHA,
            "power": POWER,
        },
    }


def _list_change(change: Change) -> dict[str, Any]:
    sides = ("original", "obfuscated", "difference")
    return pick(change, "n", *sides, "ci95=interval", "bootstrap")


def _list_class(each: ClassChange, names: Sequence[str]) -> dict[str, Any]:
    confusion = each.confusion
    return {
        "category": names[each.index],
        **_list_change(each.top1),
        "p": each.p,
        "q": each.q,
        **pick(each, "ap_original=original", "ap_obfuscated=obfuscated"),
        "ap_difference": round_value(each.ap_difference),
        "kind": each.kind,
        "confusion": None
        if confusion is None
        else {"category": names[confusion.index], "share": round_value(confusion.share)},
    }


def _list_stratum(stratum: Stratum) -> dict[str, Any]:
    return {"low": stratum.low, "high": stratum.high, **_list_change(stratum.top1)}


def _list_presence(faces: FaceImpact) -> dict[str, Any]:
    return {"with_faces": _list_change(faces.present), "without_faces": _list_change(faces.absent)}


def _list_grouping(grouping: Grouping) -> dict[str, Any]:
    return {
        "groups": [
            {
                "group": group.name,
                **_list_change(group.top1),
                "compared": group.compared,
                "relative": _list_estimate(group.relative) if group.relative else None,
            }
            for group in grouping.groups
        ],
        "gap": _list_gap(grouping.gap) if grouping.gap else None,
        "unlabeled": grouping.unlabeled,
    }


def _list_gap(gap: Gap) -> dict[str, Any]:
    return {
        "best": gap.best,
        "worst": gap.worst,
        "original": _list_estimate(gap.original),
        "obfuscated": _list_estimate(gap.obfuscated),
        "growth": {
            **_list_estimate(gap.growth.estimate),
            "selected": [{"best": best, "worst": worst} for best, worst in gap.growth.pairs],
        },
    }


def _list_estimate(estimate: Estimate) -> dict[str, Any]:
    return {**pick(estimate, "value", "ci95=interval"), "p": estimate.p}  # which is not rounded


def _list_calibrations(pair: tuple[Calibration, Calibration]) -> dict[str, Any]:
    names = ("ece", "ci95=interval", "debiased", "calibrated", "reliability=bins")
    return {"bins": BINS, **_list_pair(pair, *names)}


def _list_reliability(each: Reliability) -> dict[str, Any]:
    pairs = ("coverage", "own_coverage", "answered", "risk")
    found = {name: _list_pair(getattr(each, name), "value", "ci95=interval") for name in pairs}
    return {"subset": each.name, "n": each.n, **found}


def _list_pair(pair: tuple[object, object], *names: str) -> dict[str, Any]:
    """Attributes of a value on the original and on the obfuscated images."""
    before, after = pair
    return {"original": pick(before, *names), "obfuscated": pick(after, *names)}
