"""The report of a correction: JSON (manifests/balance-report-1.schema.json), text, page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.balance.audit import report as audit_report
from curate.balance.audit.representation import format_group
from curate.balance.audit.statements import describe as describe_audit
from curate.balance.correct.comparison import Comparison, Distances, total_variation
from curate.balance.correct.confounding import GROWTH, find_remedy
from curate.balance.correct.options import ADDING, BalanceOptions
from curate.balance.correct.page import make_page
from curate.balance.correct.strata import LoadedRecords
from curate.balance.correct.strategies import Corrected
from curate.balance.groups import MISSING
from curate.core.intervals import Floats
from curate.core.records import escape_unprintable, join_lines
from curate.report.document import Report, describe_tool
from curate.report.numbers import pick, round_value, to_plain
from curate.report.values import Page

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """Everything that the report is computed from.

    Args:
        loaded: the records.
        corrected: the decided correction.
        options: the options.
    """

    loaded: LoadedRecords
    corrected: Corrected
    options: BalanceOptions


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Correction(Report):
    """The result of `curate.rebalance`.

    Args:
        report: plain values, as in the JSON report.
        out: the output folder; None of a dry run.
        already_done: whether OUT was finished before.
        seconds: wall time of this run.
        files: what became of the files beside the images, and what they contain, a line each.
    """

    report: Mapping[str, Any]
    out: Path | None = None
    already_done: bool = False
    seconds: float = 0.0
    files: Sequence[str] = ()

    def __repr__(self) -> str:
        counts = self.report["counts"]
        return (
            f"Correction({self.report['recipe']['strategy']}: {counts['kept']:,} kept, "
            f"{counts['removed']:,} removed, {counts['made']:,} added)"
        )

    def to_dict(self) -> Mapping[str, Any]:
        """The report as plain values for JSON."""
        return self.report

    def to_page(self) -> Page:
        """The contents of the HTML page."""
        return make_page(self.report)

    def to_text(self) -> str:
        """Counts, distances before and after, the statements, and the other files."""
        return join_lines([*format_report(self.report), *self.files, self._where()])

    def to_frame(self) -> pd.DataFrame:
        """Targets, counts and shares before and after, one row per group."""
        import pandas as pd

        rows = [
            {
                "attribute": name,
                "group": group,
                "target": entry["target"],
                "count_before": entry["before"]["count"],
                "share_before": entry["before"]["share"],
                "count_after": entry["after"]["count"],
                "share_after": entry["after"]["share"],
            }
            for name, found in self.report["comparisons"].items()
            for group, entry in found["groups"].items()
        ]
        columns = ["attribute", "group"]
        return pd.DataFrame(rows).set_index(columns) if rows else pd.DataFrame(columns=columns)

    def _where(self) -> str:
        if self.out is None:
            return "Dry run: no output was written."
        if self.already_done:
            return f"{self.out} was already finished; nothing was done."
        return f"Wrote {self.out} in {self.seconds:,.1f} s; check it with `curate verify`."


def to_dict(findings: Findings) -> dict[str, Any]:
    """The report as plain values for JSON."""
    corrected, options = findings.corrected, findings.options
    correction, strata = corrected.correction, findings.loaded.strata
    return {
        "version": VERSION,
        "tool": describe_tool(),
        "recipe": options.to_dict(),
        "input": dict(findings.loaded.facts),
        "splits": {name: dict(counts) for name, counts in findings.loaded.splits.items()},
        "counts": {
            "records": int(strata.counts.sum()),
            "kept": int(correction.kept.sum()),
            "removed": int((strata.counts - correction.kept).sum()),
            "made": int(correction.added.sum()),
            "fixed": sum(findings.loaded.splits["fixed"].values()),
        },
        "weights": _weights(findings) if options.strategy == "reweigh" else None,
        "gap": round_value(correction.gap),
        "tolerance": round_value(corrected.goal.tolerance),
        "labels": _labels(findings),
        "comparisons": {
            ",".join(each.columns): _comparison(each) for each in corrected.comparisons
        },
        "confounding": corrected.confounding.to_dict(),
        "audit": None if corrected.before is None else _audits(findings),
        "statements": list(describe(findings)),
    }


def describe(findings: Findings) -> Iterator[str]:
    """Statements about the correction, a sentence or two each."""
    correction, options = findings.corrected.correction, findings.options
    strata = findings.loaded.strata
    intended = options.positive if options.strategy == "augment-positive" else None
    yield from findings.corrected.confounding.warnings(find_remedy(options), intended)
    yield from _warn_of_distance(findings)
    yield from correction.notes
    yield from _describe_assumptions(findings)
    if options.groupings:
        missing = sum(
            int(count)
            for people, count in zip(strata.people, strata.counts, strict=True)
            if any(MISSING in group for group in people)
        )
        if missing:
            yield (
                f"{missing:,} records have a missing value of an attribute; without other "
                "targets, records with a missing value are left unchanged."
            )
    if options.strategy == "reweigh":
        total = int(strata.counts.sum())
        yield (
            f"The effective sample size of the {total:,} weighted records is "
            f"{correction.effective:,.0f}; the audit after the correction is for that many."
        )
    if correction.gap is not None and correction.gap > 0:
        yield (f"The optimization stopped early; its relative gap is {100 * correction.gap:.2g} %.")
    fixed = sum(findings.loaded.splits["fixed"].values())
    if fixed:
        adds = options.strategy in ADDING
        more = "; nothing is added to validation or test splits" if adds else ""
        yield f"{fixed:,} records are in splits that are left unchanged{more}."
    if correction.added.sum():
        yield (
            "Added records show no new people and no new situations; they increase the weight of "
            "existing ones."
        )
    yield (
        "Groups are as annotated. Equal counts do not make labels fair or images of equal "
        "quality; measure the effect on a model with `curate impact train`."
    )


def _describe_assumptions(findings: Findings) -> Iterator[str]:
    """What a strategy presupposes, and where the audit contradicts it."""
    options, before = findings.options, findings.corrected.before
    if options.strategy == "augment-positive":
        yield (
            "augment-positive assumes that groups below the base rate lack positives because of "
            "historical or label bias. Where rates truly differ, it moves the data away from the "
            "population and costs accuracy; counts cannot tell the two apart. In simulations of "
            "both cases it lowers the gap of true positive rates from .35 to .18 (reweigh: .12) "
            "under historical bias, and accuracy from .845 to .840 under a true difference."
        )
    if options.strategy != "reweigh" or before is None:
        return
    for each in before.adjusted:
        if each.kind in ("reversed", "vanished") and (each.attribute,) in options.groupings:
            yield (
                f"Warning: reweigh corrects the crude difference of {each.label} for "
                f"{each.attribute} {each.group} ({100 * each.crude:+.1f} points), which is "
                f"{each.kind} when adjusted for {each.stratum} ({100 * each.adjusted:+.1f})."
            )


def _warn_of_distance(findings: Findings) -> Iterator[str]:
    """Groupings that are farther from their target than before."""
    for each in findings.corrected.comparisons:
        before, after = each.before.total_variation, each.after.total_variation
        if after > before + GROWTH:
            yield (
                f"Warning: the shares of {','.join(each.columns)} are farther from the target "
                f"than before: total variation {before:.3f} → {after:.3f}."
            )


def _weights(findings: Findings) -> dict[str, Any]:
    correction = findings.corrected.correction
    used = correction.weights[correction.kept > 0]
    return {
        "least": round_value(float(used.min())),
        "greatest": round_value(float(used.max())),
        "sum": round_value(float(correction.mass.sum())),
        "effective_sample_size": round_value(correction.effective),
    }


def _labels(findings: Findings) -> dict[str, Any]:
    """Records per label before and after."""
    strata, correction = findings.loaded.strata, findings.corrected.correction
    before: dict[str, int] = {}
    after: dict[str, float] = {}
    for position, names in enumerate(strata.labels):
        for name in names:
            before[name] = before.get(name, 0) + int(strata.counts[position])
            after[name] = after.get(name, 0.0) + float(correction.mass[position])
    return {
        name: {"before": before[name], "after": round_value(after[name])} for name in sorted(before)
    }


def _comparison(found: Comparison) -> dict[str, Any]:
    masses = found.masses
    return {
        "before": _distances(found.before),
        "after": _distances(found.after),
        "amplification": to_plain(found.amplification),
        "labels": _by_label(found),
        "groups": {
            format_group(group): {
                "target": round_value(float(masses.target[position])),
                "before": _mass(masses.before[0], position),
                "after": _mass(masses.after[0], position),
            }
            for position, group in enumerate(masses.groups)
        },
    }


def _by_label(found: Comparison) -> dict[str, Any]:
    """Total variation of each label from the target, the largest before first."""
    masses = found.masses
    rows = [
        (
            str(label),
            total_variation(masses.before[position], masses.target),
            total_variation(masses.after[position], masses.target),
        )
        for position, label in enumerate(masses.labels)
        if label is not None
    ]
    return {
        label: {"before": round_value(before), "after": round_value(after)}
        for label, before, after in sorted(rows, key=lambda row: (-row[1], row[0]))
    }


def _mass(row: Floats, position: int) -> dict[str, Any]:
    total = float(row.sum())
    return {
        "count": round_value(float(row[position])),
        "share": round_value(float(row[position]) / total) if total else None,
    }


def _distances(found: Distances) -> dict[str, Any]:
    names = ("total_variation", "worst_label", "worst_total_variation=worst")
    return pick(found, *names, "cramers_v=association", "rate_gap")


def _audits(findings: Findings) -> dict[str, Any]:
    """Both audits, in the format of `curate audit`."""
    options, corrected = findings.options, findings.corrected
    assert corrected.before is not None and corrected.after is not None  # noqa: S101, PT018
    facts: Mapping[str, Any] = {
        "tool": describe_tool(),
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
            **audit_report.statistics_to_dict(each),
            "statements": list(describe_audit(each, facts)),
        }
        for name, each in (("before", corrected.before), ("after", corrected.after))
    }


def format_report(report: Mapping[str, Any]) -> list[str]:
    """The summary for the terminal, one line each; unprintable characters are escaped."""
    counts = report["counts"]
    lines = [
        f"{counts['records']:,} records: {counts['kept']:,} kept, {counts['removed']:,} removed, "
        f"{counts['made']:,} added"
        + (f"; {counts['fixed']:,} in splits left unchanged" if counts["fixed"] else "")
        + "."
    ]
    given = report["input"]
    for kind, what in (("unmatched", "match no record"), ("ambiguous", "are ambiguous")):
        if given.get(kind):
            examples = ", ".join(given[f"{kind}_examples"])
            lines.append(f"Ids of the table that {what}: {given[kind]:,}, such as {examples}.")
    if report["weights"] is not None:
        weights = report["weights"]
        lines.append(
            f"weights {weights['least']:.3g} to {weights['greatest']:.3g}; effective sample size "
            f"{weights['effective_sample_size']:,.0f}"
        )
    for name, found in report["comparisons"].items():
        before, after = found["before"], found["after"]
        lines.append(f"{name}:")
        rows = (
            ("distance from target", "total_variation"),
            ("distance from target, worst label", "worst_total_variation"),
            ("label and group, Cramér's V", "cramers_v"),
            ("largest base-rate gap", "rate_gap"),
        )
        lines += [
            f"  {text:<34}{before[key]:>8.3f} → {after[key]:.3f}"
            for text, key in rows
            if before[key] is not None and after[key] is not None
        ]
        bias = found["amplification"]
        if bias is not None and bias["majority"] is not None and bias["directional"] is not None:
            lines.append(
                f"  bias amplification: majority {bias['majority']:+.3f}, directional "
                f"{bias['directional']:+.3f}"
            )
    return [escape_unprintable(line) for line in (*lines, *report["statements"])]
