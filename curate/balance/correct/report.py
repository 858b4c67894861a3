"""A correction's report, as plain values for JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import curate
from curate.balance.audit import report as audit_report
from curate.balance.audit.report import describe as describe_audit
from curate.balance.audit.representation import spell
from curate.balance.correct.comparison import Amplification, Comparison, Distances, total_variation
from curate.balance.correct.options import MAKING, Balancing
from curate.balance.correct.source import Intake
from curate.balance.correct.strategies import Corrected
from curate.balance.groups import MISSING
from curate.core.intervals import Floats

VERSION = 1

_DIGITS = 6


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """Everything that a report is made from.

    Args:
        intake: what was read.
        corrected: what becomes of it.
        options: what was asked for.
    """

    intake: Intake
    corrected: Corrected
    options: Balancing


def to_dict(findings: Findings) -> dict[str, Any]:
    """The report: what changes, and what it costs."""
    corrected, options = findings.corrected, findings.options
    correction, kinds = corrected.correction, findings.intake.kinds
    return {
        "version": VERSION,
        "tool": {"name": "curate-dataset", "version": curate.__version__},
        "recipe": options.to_dict(),
        "input": dict(findings.intake.facts),
        "splits": {name: dict(counts) for name, counts in findings.intake.splits.items()},
        "counts": {
            "records": int(kinds.counts.sum()),
            "kept": int(correction.kept.sum()),
            "removed": int((kinds.counts - correction.kept).sum()),
            "made": int(correction.made.sum()),
            "fixed": sum(findings.intake.splits["fixed"].values()),
        },
        "weights": _weights(findings) if options.strategy == "reweigh" else None,
        "gap": _round(correction.gap),
        "tolerance": _round(corrected.goal.tolerance),
        "labels": _labels(findings),
        "comparisons": {
            ",".join(each.columns): _comparison(each) for each in corrected.comparisons
        },
        "audit": None if corrected.before is None else _audits(findings),
        "statements": list(describe(findings)),
    }


def describe(findings: Findings) -> Iterator[str]:
    """What a person should know, in plain sentences."""
    correction, options = findings.corrected.correction, findings.options
    kinds = findings.intake.kinds
    yield from correction.notes
    if options.by:
        missing = sum(
            int(count)
            for people, count in zip(kinds.people, kinds.counts, strict=True)
            if any(MISSING in group for group in people)
        )
        if missing:
            yield (
                f"{missing:,} records lack a value of an attribute; the targets for it do not "
                "speak of them, and where no other does, they are left as they are."
            )
    if options.strategy == "reweigh":
        total = int(kinds.counts.sum())
        yield (
            f"The weights of {total:,} records are worth {correction.effective:,.0f} records of "
            "equal weight; the audit after it is of so many, and its intervals are as wide."
        )
    if correction.gap is not None and correction.gap > 0:
        yield (
            f"The search ended before the best was proven: at most {100 * correction.gap:.2g} % "
            "better is possible."
        )
    fixed = sum(findings.intake.splits["fixed"].values())
    if fixed:
        yield (
            f"{fixed:,} records are of splits that are not corrected and stay as they are"
            f"{'; none is made for validation or test' if options.strategy in MAKING else ''}."
        )
    if correction.made.sum():
        yield (
            "Records that are made show no new people and no new situations: they shift weight to "
            "those that are there."
        )
    yield (
        "Groups are as the annotations have them. Equal numbers do not make labels fair, nor "
        "pictures of a group alike in quality; measure what a model makes of it with `curate "
        "impact train`."
    )


def _weights(findings: Findings) -> dict[str, Any]:
    correction = findings.corrected.correction
    used = correction.weights[correction.kept > 0]
    return {
        "least": _round(float(used.min())),
        "greatest": _round(float(used.max())),
        "sum": _round(float(correction.mass.sum())),
        "effective_sample_size": _round(correction.effective),
    }


def _labels(findings: Findings) -> dict[str, Any]:
    """Records of each label before and after."""
    kinds, correction = findings.intake.kinds, findings.corrected.correction
    before: dict[str, int] = {}
    after: dict[str, float] = {}
    for place, names in enumerate(kinds.labels):
        for name in names:
            before[name] = before.get(name, 0) + int(kinds.counts[place])
            after[name] = after.get(name, 0.0) + float(correction.mass[place])
    return {name: {"before": before[name], "after": _round(after[name])} for name in sorted(before)}


def _comparison(found: Comparison) -> dict[str, Any]:
    masses = found.masses
    return {
        "before": _distances(found.before),
        "after": _distances(found.after),
        "amplification": _amplification(found.amplification),
        "labels": _by_label(found),
        "groups": {
            spell(group): {
                "target": _round(float(masses.target[place])),
                "before": _mass(masses.before[0], place),
                "after": _mass(masses.after[0], place),
            }
            for place, group in enumerate(masses.groups)
        },
    }


def _by_label(found: Comparison) -> dict[str, Any]:
    """How far each label is from the target, the furthest before first."""
    masses = found.masses
    rows = [
        (
            str(label),
            total_variation(masses.before[place], masses.target),
            total_variation(masses.after[place], masses.target),
        )
        for place, label in enumerate(masses.labels)
        if label is not None
    ]
    return {
        label: {"before": _round(before), "after": _round(after)}
        for label, before, after in sorted(rows, key=lambda row: (-row[1], row[0]))
    }


def _mass(row: Floats, place: int) -> dict[str, Any]:
    total = float(row.sum())
    return {
        "count": _round(float(row[place])),
        "share": _round(float(row[place]) / total) if total else None,
    }


def _distances(found: Distances) -> dict[str, Any]:
    return {
        "total_variation": _round(found.total_variation),
        "worst_label": found.worst_label,
        "worst_total_variation": _round(found.worst),
        "cramers_v": _round(found.association),
        "rate_gap": _round(found.rate_gap),
    }


def _amplification(found: Amplification | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"majority": _round(found.majority), "directional": _round(found.directional)}


def _audits(findings: Findings) -> dict[str, Any]:
    """Both audits, in the form of `curate audit`'s report."""
    options, corrected = findings.options, findings.corrected
    assert corrected.before is not None and corrected.after is not None  # noqa: S101, PT018
    facts: Mapping[str, Any] = {
        "tool": {"name": "curate-dataset", "version": curate.__version__},
        "input": None,
        "sites": 1,
        "reading": {
            "per": options.per,
            "separator": options.separator,
            "bins": options.to_dict()["bins"],
        },
        "suppressed": {"min_cell": None, "counts": 0},
        "noise": None,
    }
    return {
        name: {
            "version": audit_report.VERSION,
            **facts,
            **audit_report.to_dict(each),
            "statements": list(describe_audit(each, facts)),
        }
        for name, each in (("before", corrected.before), ("after", corrected.after))
    }


def _round(value: float | None) -> float | None:
    """Six digits say enough; JSON has no NaN."""
    return None if value is None or math.isnan(value) else round(float(value), _DIGITS)
