"""An audit as plain values, for JSON; its schema is manifests/audit-1.schema.json."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from curate.balance.audit.association import Association
from curate.balance.audit.base_rates import BaseRate, LabelRates
from curate.balance.audit.divergence import Divergence, Fit
from curate.balance.audit.exchange import census_to_dict
from curate.balance.audit.measure import Audit, Grouping, Rules
from curate.balance.audit.shares import GroupShare, share_out, spell
from curate.balance.audit.simpson import Reversal
from curate.balance.census import Census
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
