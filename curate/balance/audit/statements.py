"""Statements of an audit: what the statistics show and what they cannot show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from curate.balance.audit.measure import Grouping, Statistics
from curate.balance.audit.representation import format_group
from curate.balance.census import MAX_CROSSED
from curate.balance.groups import MISSING


def describe(audit: Statistics, facts: Mapping[str, Any]) -> Iterator[str]:
    """Statements about what the statistics show and what they cannot show.

    Args:
        audit: all statistics.
        facts: ``reading``, ``suppressed``, ``noise`` and ``input`` of the report.
    """
    yield _counted(audit, facts["reading"]["per"])
    yield from _misfits(facts["input"] or {})
    yield (
        "Counts show representation: which groups are under-represented, and where base rates "
        "differ. They cannot show why. Historical and label bias cannot be inferred from counts; "
        "that requires verified labels."
    )
    for grouping in audit.groupings:
        if len(grouping.columns) == 1:
            yield from _missing(grouping)
    if audit.census.plan.label is not None and not audit.census.noise:
        flagged = sum(each.flagged for each in audit.associations)
        many = "None" if not flagged else f"{flagged:,}"
        yield (
            f"{many} of {len(audit.associations):,} associations of a label and a group "
            f"{'is' if flagged < 2 else 'are'} flagged at a false discovery rate of "
            "5 %. A flag indicates an association, not its size or cause."
        )
    yield from _describe_adjusted(audit)
    yield from _alone(audit)
    if audit.uncovered is None and len(audit.census.plan.attributes) > MAX_CROSSED:
        yield f"Coverage is not computed for more than {MAX_CROSSED} attributes."
    yield from _protection(facts)


def _counted(audit: Statistics, per: str) -> str:
    if per == "person":
        return (
            f"{int(audit.census.total.counts):,} people in {audit.census.records:,} records are "
            "counted, each once. Intervals assume that people in one photo are independent; they "
            "are too narrow if people in one photo are similar."
        )
    return (
        f"{audit.census.records:,} records are counted, each once. A record with several values "
        "of an attribute forms a group of its own, such as Female+Male."
    )


def _misfits(given: Mapping[str, Any]) -> Iterator[str]:
    for kind, what in (("unmatched", "match no record"), ("ambiguous", "are ambiguous")):
        if given.get(kind):
            examples = ", ".join(given[f"{kind}_examples"])
            yield (
                f"Ids of the table that {what}, so that their rows are ignored: {given[kind]:,}, "
                f"such as {examples}."
            )


def _missing(grouping: Grouping) -> Iterator[str]:
    for each in grouping.shares:
        if format_group(each.group) == MISSING and each.share is not None and each.share.hits:
            yield (
                f"{each.share.hits:,} ({100 * each.share.value:.1f} %) have no "
                f"{grouping.columns[0]}; they are a group of their own and excluded from the "
                "comparison with a target."
            )


def _describe_adjusted(audit: Statistics) -> Iterator[str]:
    flagged = [each for each in audit.adjusted if each.kind != "same"]
    if not flagged:
        return
    worst = max(flagged, key=lambda each: abs(each.crude - each.adjusted))
    change = "reverses, vanishes or emerges" if len(flagged) == 1 else "reverse, vanish or emerge"
    yield (
        f"{len(flagged):,} of {len(audit.adjusted):,} differences of base rates {change} "
        f"when adjusted for another attribute: {worst.label} of {worst.attribute} "
        f"{worst.group} {100 * worst.crude:+.1f} points crude, {100 * worst.adjusted:+.1f} "
        f"adjusted for {worst.stratum} ({worst.kind})."
    )


def _alone(audit: Statistics) -> Iterator[str]:
    """Labels with a single record; not for protected counts."""
    census = audit.census
    if census.plan.label is None or census.noise:
        return
    labels = census.table(census.plan.label)
    if not labels.whole:
        return
    alone = [
        name
        for name, counted in zip(labels.values[0], labels.counts.tolist(), strict=True)
        if counted == 1 and name != MISSING
    ]
    if alone:
        yield (
            f"{len(alone):,} labels have a single record, such as {alone[0]}; their associations "
            "are not informative."
        )


def _protection(facts: Mapping[str, Any]) -> Iterator[str]:
    min_cell, noise = facts["suppressed"]["min_cell"], facts["noise"]
    if min_cell is not None:
        yield (
            f"{facts['suppressed']['counts']:,} counts are suppressed: those from 1 to "
            f"{min_cell - 1:,}, and others from which they would follow. Statistics that would "
            "reveal them, such as coverage, are omitted."
        )
    if noise is not None:
        yield (
            f"Every count has noise of scale {noise['scale']:.3g}; the privacy budget spent is "
            f"ε = {noise['epsilon']:g}, which protects each {facts['reading']['per']} that is "
            "counted. The set of groups is not protected, and tables need not add up. Intervals of "
            "shares and rates include the noise; tests, flags and reversals are omitted."
        )
