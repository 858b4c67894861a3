"""What an audit's figures can show and what they cannot, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from curate.balance.audit.measure import Audit, Grouping
from curate.balance.audit.shares import spell
from curate.balance.census import MOST_CROSSED
from curate.balance.groups import MISSING


def describe(audit: Audit, facts: Mapping[str, Any]) -> Iterator[str]:
    """Sentences for people.

    Args:
        audit: the figures.
        facts: ``reading``, ``suppressed``, ``noise`` and ``input`` of the report.
    """
    yield _counted(audit, facts["reading"]["per"])
    yield from _misfits(facts["input"] or {})
    yield (
        "Counts can show representation: which groups are scarce, and where groups have a label "
        "at different rates. They cannot show why. Whether a label was given unfairly to a group, "
        "or its world was unfair before (historical or label bias), follows from no count; it "
        "takes labels that people have checked."
    )
    for grouping in audit.groupings:
        if len(grouping.columns) == 1:
            yield from _missing(grouping)
    if audit.census.plan.label is not None and not audit.census.noise:
        flagged = sum(each.flagged for each in audit.associations)
        yield (
            f"{flagged:,} of {len(audit.associations):,} pairs of label and group are flagged; "
            "of such flags, at most one in twenty is expected to be chance. A flag says that the "
            "two go together, not that it matters, nor why."
        )
    yield from _alone(audit)
    if audit.uncovered is None and len(audit.census.plan.attributes) > MOST_CROSSED:
        yield f"Coverage is not looked at: it is for {MOST_CROSSED} attributes at most."
    yield from _protection(facts)


def _counted(audit: Audit, per: str) -> str:
    if per == "person":
        return (
            f"{int(audit.census.total.counts):,} people in {audit.census.records:,} records are "
            "counted, each once. People in one photo are taken to be independent, which makes "
            "intervals too narrow where they are alike."
        )
    return (
        f"{audit.census.records:,} records are counted, each once. A record with several values "
        "of an attribute is of the group of them all, such as Female+Male."
    )


def _misfits(given: Mapping[str, Any]) -> Iterator[str]:
    for kind, what in (("unmatched", "are no record"), ("ambiguous", "could mean several")):
        if given.get(kind):
            examples = ", ".join(given[f"{kind}_examples"])
            yield (
                f"{given[kind]:,} ids of the table {what}, such as {examples}; what is said of "
                "them is left out."
            )


def _missing(grouping: Grouping) -> Iterator[str]:
    for each in grouping.shares:
        if spell(each.group) == MISSING and each.share is not None and each.share.hits:
            yield (
                f"{each.share.hits:,} ({100 * each.share.value:.1f} %) have no "
                f"{grouping.columns[0]}; they are a group of their own, and no part of what is "
                "compared with a target."
            )


def _alone(audit: Audit) -> Iterator[str]:
    """Labels of which a single record says nothing; not of counts that are protected."""
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
            f"{len(alone):,} labels have a single record, such as {alone[0]}: nothing follows from "
            "how such a label goes with groups."
        )


def _protection(facts: Mapping[str, Any]) -> Iterator[str]:
    least, noise = facts["suppressed"]["min_cell"], facts["noise"]
    if least is not None:
        yield (
            f"Counts from 1 to {least - 1:,} are hidden, and others with them, so that none "
            f"follows from those that are shown: {facts['suppressed']['counts']:,} in all. What "
            "would give them away, such as coverage, is left out."
        )
    if noise is not None:
        yield (
            f"Every count has noise of scale {noise['scale']:.3g}; the privacy budget spent is "
            f"ε = {noise['epsilon']:g}, which protects each {facts['reading']['per']} that is "
            "counted. Which groups there are is not protected, and tables need not add up. "
            "Intervals of shares and rates hold the noise; tests, flags and reversals are left "
            "out, for noise would pass for them."
        )
