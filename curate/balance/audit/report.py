"""The audit as a report: JSON (manifests/audit-1.schema.json), text, page and data frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curate.balance.audit.adjusted import Adjusted, Reversal
from curate.balance.audit.association import Association
from curate.balance.audit.base_rates import BaseRate, LabelRates
from curate.balance.audit.coverage import format_pattern
from curate.balance.audit.measure import Grouping, Rules, Statistics
from curate.balance.audit.page import make_page
from curate.balance.audit.representation import (
    ChiSquare,
    Divergence,
    GroupShare,
    compute_shares,
    format_group,
)
from curate.balance.audit.statements import describe
from curate.balance.census import Census, census_to_dict
from curate.core.intervals import Share
from curate.core.records import escape_unprintable
from curate.report.document import Report
from curate.report.numbers import pick
from curate.report.values import Page

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1

_MAX_SHOWN = 12
_NAME = 31  # columns


@dataclass(frozen=True, slots=True, repr=False)
class Audit(Report):
    """The representation audit of a dataset; made by `curate.audit` and `curate.merge_audits`.

    Args:
        statistics: all statistics.
        facts: what was read and how; part of the JSON report.
    """

    statistics: Statistics
    facts: Mapping[str, Any]

    def __repr__(self) -> str:
        names = ", ".join(",".join(each.columns) for each in self.statistics.groupings)
        return f"Audit({self.statistics.census.records:,} records by {names})"

    @property
    def statements(self) -> tuple[str, ...]:
        """What the statistics show and what they cannot show, one sentence or two each."""
        return tuple(describe(self.statistics, self.facts))

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values for JSON."""
        return {
            "version": VERSION,
            **self.facts,
            **statistics_to_dict(self.statistics),
            "statements": list(self.statements),
        }

    def to_page(self) -> Page:
        """The contents of the HTML page."""
        return make_page(self.statistics, self.statements, self.facts["tool"])

    def to_text(self) -> str:
        """The largest groups of every grouping, then the statements."""
        return format_audit(self.to_dict())

    def to_frame(self) -> pd.DataFrame:
        """Counts, shares and targets, one row per group, indexed by attribute and group."""
        import pandas as pd

        rows = [
            {
                "attribute": ",".join(each.columns),
                "group": format_group(group.group),
                "count": group.share.hits if group.share else None,
                "share": group.share.value if group.share else None,
                "low": group.interval.low if group.interval else None,
                "high": group.interval.high if group.interval else None,
                "target": group.target,
                "ratio_to_target": group.ratio,
            }
            for each in self.statistics.groupings
            for group in each.shares
        ]
        return pd.DataFrame(rows).set_index(["attribute", "group"])


def format_audit(report: Mapping[str, Any]) -> str:
    """The summary for the terminal.

    Args:
        report: what `Audit.to_dict` returns.
    """
    lines: list[str] = []
    for name, grouping in (report["attributes"] | report["intersections"]).items():
        groups = grouping["groups"].items()
        lines += _format_header(name, any(group["share"] is not None for _, group in groups))
        ordered = sorted(groups, key=lambda item: -(item[1]["count"] or 0))
        lines += [_format_line(*item) for item in ordered[:_MAX_SHOWN]]
        if len(ordered) > _MAX_SHOWN:
            lines.append(f"  … and {len(ordered) - _MAX_SHOWN:,} more")
    if report["coverage"]:
        lines += _format_coverage(report["uncovered"], report["rules"]["threshold"])
    return "\n".join(escape_unprintable(line) for line in (*lines, *report["statements"]))


def _format_coverage(uncovered: Sequence[Mapping[str, Any]], threshold: int) -> Iterator[str]:
    if not uncovered:
        yield f"Every combination of the attributes has at least {threshold:,} records."
        return
    yield f"Combinations of values with fewer than {threshold:,} records; what such a combination"
    yield "contains has even fewer, and is not listed:"
    for each in uncovered[:_MAX_SHOWN]:
        yield f"  {format_pattern(each['pattern'])[:60]:<61}{each['count']:>10,}"
    if len(uncovered) > _MAX_SHOWN:
        yield f"  … and {len(uncovered) - _MAX_SHOWN:,} more"


def _format_header(name: str, has_shares: bool) -> Iterator[str]:
    if len(name) > _NAME:
        yield name
        name = ""
    columns = f"{'share (95 % CI)':>21}{'of target':>16}" if has_shares else ""
    yield f"{name:<33}{'count':>10}{columns}"


def _format_line(name: str, group: Mapping[str, Any]) -> str:
    if group["count"] is None:
        return f"  {name[:30]:<31}{'hidden':>10}"
    if group["share"] is None:
        return f"  {name[:30]:<31}{group['count']:>10,}"
    low, high = group["ci95"]
    ratio = group["ratio_to_target"]
    share = f"{100 * group['share']:.1f} % ({100 * low:.1f}–{100 * high:.1f})"
    against = "" if ratio is None else f"{ratio:.2f}"
    return f"  {name[:30]:<31}{group['count']:>10,}{share:>21}{against:>16}"


def statistics_to_dict(audit: Statistics) -> dict[str, Any]:
    """Counts and statistics as plain values, with 95 % intervals."""
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
        "adjusted": [_adjusted(each) for each in audit.adjusted],
        "coverage": audit.uncovered is not None,
        "uncovered": [
            {"pattern": dict(each.pattern), "count": each.count} for each in audit.uncovered or ()
        ],
        "census": census_to_dict(census),
    }


def count_hidden(census: Census) -> int:
    """Number of suppressed counts over all tables."""
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
        **({"references": dict(rules.references)} if rules.references else {}),
    }


def _grouping(grouping: Grouping) -> dict[str, Any]:
    return {
        "groups": {format_group(each.group): _group(each) for each in grouping.shares},
        "target": "reference" if grouping.has_reference else "uniform",
        **_divergence(grouping.divergence),
        "independence": _fit(grouping.independence),
    }


def _group(group: GroupShare) -> dict[str, Any]:
    return {**_share(group.share), **pick(group, "target", "ratio_to_target=ratio")}


def _divergence(divergence: Divergence | None) -> dict[str, Any]:
    fit = divergence.fit if divergence else None
    return {
        **pick(divergence, "entropy", "effective_groups=effective", "total_variation", "kl"),
        **pick(fit, "chi2"),
        "chi2_p": _probability(fit.p) if fit else None,
        **pick(fit, "cramers_v=v"),
    }


def _fit(fit: ChiSquare | None) -> dict[str, Any] | None:
    if fit is None:
        return None
    return {
        **pick(fit, "chi2", "freedom=dof"),
        "p": _probability(fit.p),
        **pick(fit, "cramers_v=v"),
    }


def _labels(census: Census) -> dict[str, Any]:
    if census.plan.label is None:
        return {}
    table = census.table(census.plan.label)
    shares = compute_shares(table, int(census.total.counts), {}, census.noise)
    return {format_group(each.group): _share(each.share) for each in shares}


def _association(found: Association) -> dict[str, Any]:
    return {
        **pick(found, "label", "attribute", "group", "count", "pmi", "pmi_ci95=pmi_interval"),
        **pick(found, "npmi", "ci95=interval"),
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
    return {
        **pick(share, "count=hits", "of=total"),
        **pick(share if share and share.total else None, "rate=value", "ci95=interval"),
        **pick(rate, "difference", "difference_ci95=interval", "ratio", "below_four_fifths=below"),
        "p": _probability(rate.p),
        "q": _probability(rate.q),
    }


def _reversal(found: Reversal) -> dict[str, Any]:
    names = ("label", "attribute", "groups", "within", "difference", "ci95=interval")
    return pick(found, *names, "adjusted", "adjusted_ci95=adjusted_interval", "parts")


def _adjusted(found: Adjusted) -> dict[str, Any]:
    names = ("label", "attribute", "group", "stratum", "crude", "crude_ci95=crude_interval")
    return {
        **pick(found, *names, "adjusted", "adjusted_ci95=adjusted_interval"),
        "heterogeneity_p": _probability(found.heterogeneity_p),
        "kind": found.kind,
    }


def _share(share: Share | None) -> dict[str, Any]:
    return pick(share, "count=hits", "share=value", "ci95=interval")


def _probability(value: float | None) -> float | None:
    """Six significant digits, so that small p-values do not become 0."""
    return None if value is None else float(f"{value:.6g}")
