"""An audit as plain values, for JSON; its schema is manifests/audit-1.schema.json."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from curate.balance.audit.association import Association
from curate.balance.audit.base_rates import BaseRate, LabelRates
from curate.balance.audit.measure import Audit, Grouping, Rules
from curate.balance.audit.representation import Divergence, Fit, GroupShare, share_out, spell
from curate.balance.audit.simpson import Reversal
from curate.balance.census import MOST_CROSSED, Census, census_to_dict
from curate.balance.groups import MISSING
from curate.core.intervals import Interval, Share

VERSION = 1

_DIGITS = 6


def to_dict(audit: Audit) -> dict[str, Any]:
    """What was counted and what follows from it, with intervals at 95 %."""
    census = audit.census
    groupings = {",".join(each.columns): _grouping(each) for each in audit.groupings}
    several = {",".join(each.columns) for each in audit.groupings if len(each.columns) > 1}
    return {
        "records": census.records,
        "counted": int(census.total.counts),
        "rules": _rules(audit.rules),
        "attributes": {name: each for name, each in groupings.items() if name not in several},
        "intersections": {name: each for name, each in groupings.items() if name in several},
        "labels": _labels(census),
        "label_fits": {name: _fit(each) for name, each in audit.label_fits.items()},
        "associations": [_association(each) for each in audit.associations],
        "base_rates": _rates(audit.base_rates),
        "outcomes": {name: _rates(rates) for name, rates in audit.outcomes.items()},
        "reversals": [_reversal(each) for each in audit.reversals],
        "coverage": audit.uncovered is not None,
        "uncovered": [
            {"pattern": dict(each.pattern), "count": each.count} for each in audit.uncovered or ()
        ],
        "census": census_to_dict(census),
    }


def count_hidden(census: Census) -> int:
    """How many counts are hidden, over all tables."""
    return sum(int(table.hidden.sum()) for table in census.tables.values())


def _rules(rules: Rules) -> dict[str, Any]:
    return {
        "threshold": rules.threshold,
        "seed": rules.seed,
        "targets": [
            {
                "columns": list(columns),
                "groups": [[list(group), share] for group, share in target.items()],
            }
            for columns, target in rules.targets.items()
        ],
    }


def _grouping(grouping: Grouping) -> dict[str, Any]:
    return {
        "groups": {spell(each.group): _group(each) for each in grouping.shares},
        "target": "reference" if grouping.has_reference else "uniform",
        **_divergence(grouping.divergence),
        "independence": _fit(grouping.independence),
    }


def _group(group: GroupShare) -> dict[str, Any]:
    return {
        **_share(group.share),
        "target": _round(group.target),
        "ratio_to_target": _round(group.ratio),
    }


def _divergence(divergence: Divergence | None) -> dict[str, Any]:
    fit = divergence.fit if divergence else None
    return {
        "entropy": _round(divergence.entropy) if divergence else None,
        "effective_groups": _round(divergence.effective) if divergence else None,
        "total_variation": _round(divergence.total_variation) if divergence else None,
        "kl": _round(divergence.kl) if divergence else None,
        "chi2": _round(fit.chi2) if fit else None,
        "chi2_p": _probability(fit.p) if fit else None,
        "cramers_v": _round(fit.v) if fit else None,
    }


def _fit(fit: Fit | None) -> dict[str, Any] | None:
    if fit is None:
        return None
    return {
        "chi2": _round(fit.chi2),
        "freedom": fit.freedom,
        "p": _probability(fit.p),
        "cramers_v": _round(fit.v),
    }


def _labels(census: Census) -> dict[str, Any]:
    if census.plan.label is None:
        return {}
    table = census.table(census.plan.label)
    shares = share_out(table, int(census.total.counts), {}, census.noise)
    return {spell(each.group): _share(each.share) for each in shares}


def _association(found: Association) -> dict[str, Any]:
    return {
        "label": found.label,
        "attribute": found.attribute,
        "group": found.group,
        "count": found.count,
        "pmi": _round(found.pmi),
        "pmi_ci95": _interval(found.pmi_interval),
        "npmi": _round(found.npmi),
        "ci95": _interval(found.interval),
        "p": _probability(found.p),
        "q": _probability(found.q),
        "flagged": found.flagged,
    }


def _rates(rates: Iterable[LabelRates]) -> dict[str, Any]:
    by_label: dict[str, Any] = {}
    for each in rates:
        groups = {rate.group: _base_rate(rate) for rate in each.rates}
        by_label.setdefault(each.label, {})[each.attribute] = groups
    return by_label


def _base_rate(rate: BaseRate) -> dict[str, Any]:
    share = rate.share
    known = share is not None and share.total > 0
    return {
        "count": share.hits if share else None,
        "of": share.total if share else None,
        "rate": _round(share.value) if share and known else None,
        "ci95": _interval(share.interval) if share and known else None,
        "difference": _round(rate.difference),
        "difference_ci95": _interval(rate.interval),
        "ratio": _round(rate.ratio),
        "below_four_fifths": rate.below,
    }


def _reversal(found: Reversal) -> dict[str, Any]:
    return {
        "label": found.label,
        "attribute": found.attribute,
        "groups": list(found.groups),
        "within": found.within,
        "difference": _round(found.difference),
        "ci95": _interval(found.interval),
        "adjusted": _round(found.adjusted),
        "adjusted_ci95": _interval(found.adjusted_interval),
        "parts": {name: _round(value) for name, value in found.parts.items()},
    }


def _share(share: Share | None) -> dict[str, Any]:
    return {
        "count": share.hits if share else None,
        "share": _round(share.value) if share else None,
        "ci95": _interval(share.interval) if share else None,
    }


def _interval(interval: Interval | None) -> list[float | None] | None:
    return None if interval is None else [_round(interval.low), _round(interval.high)]


def _round(value: float | None) -> float | None:
    """Six digits say enough, and a share of nothing is null: JSON has no NaN."""
    return None if value is None or not math.isfinite(value) else round(float(value), _DIGITS)


def _probability(value: float | None) -> float | None:
    """Small probabilities keep their first digits."""
    return None if value is None else float(f"{value:.6g}")


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
