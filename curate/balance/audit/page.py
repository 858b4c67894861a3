"""The HTML page of an audit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from curate.balance.audit.association import FALSE_DISCOVERIES, Association
from curate.balance.audit.base_rates import MIN_REFERENCE, LabelRates
from curate.balance.audit.coverage import format_pattern
from curate.balance.audit.measure import Grouping, Statistics
from curate.balance.audit.representation import GroupShare, format_group
from curate.balance.groups import MISSING
from curate.report.numbers import COEFFICIENT, PERCENT, POINTS, RATIO, format_probability
from curate.report.values import Bar, BarChart, Block, Page, Section, Table, find_domain

_DIGITS = 9  # of values that are compared: the last ones depend on the processor
_MAX_BARS = 40
_MAX_ROWS = 200
_MAX_NAMED = 4  # equal groups that the verdict names
_MANY_LABELS = 50  # above which labels are also counted by group

_INTERVALS = (
    "Intervals are 95 %: Wilson for shares and rates, Newcombe for differences, bootstrap over "
    "records for associations."
)


def make_page(audit: Statistics, statements: Sequence[str], tool: Mapping[str, str]) -> Page:
    """The contents of the page.

    Args:
        audit: all statistics.
        statements: paragraphs shown first.
        tool: ``name`` and ``version`` of this software.
    """
    sections = [
        Section("By " + " and ".join(grouping.columns), tuple(_grouping(grouping)))
        for grouping in audit.groupings
    ]
    if audit.census.plan.label is not None:
        sections.append(Section("Labels and groups", tuple(_associations(audit))))
        sections.append(Section("Base rates", tuple(_rates(audit.base_rates, audit))))
        sections.append(Section("Adjusted differences", tuple(_adjusted(audit))))
        sections.append(Section("Reversals", tuple(_reversals(audit))))
    if audit.outcomes:
        blocks = [block for rates in audit.outcomes.values() for block in _rates(rates, audit)]
        sections.append(Section("Outcomes by group", tuple(blocks)))
    if audit.uncovered is not None:
        sections.append(Section("Under-represented intersections", tuple(_uncovered(audit))))
    return Page(
        "Representation audit",
        (*statements, _INTERVALS),
        tuple(sections),
        f"{tool['name']} {tool['version']}; {audit.census.records:,} records",
        verdict=_verdict(audit),
    )


def _verdict(audit: Statistics) -> str:
    """The ends of each attribute, groups with few records, and how many pairs are flagged."""
    parts = [_compare_ends(grouping) for grouping in audit.groupings if len(grouping.columns) == 1]
    parts.append(_count_small(audit))
    if audit.associations:
        flagged = sum(each.flagged for each in audit.associations)
        many = f"{flagged:,}" if flagged else "none"
        parts.append(
            f"{many} of {len(audit.associations):,} associations with labels "
            f"{'is' if flagged < 2 else 'are'} flagged"
        )
    return "; ".join(filter(None, parts)) + "." if any(parts) else ""


def _compare_ends(grouping: Grouping) -> str:
    """The largest and the smallest groups; several where they have equally many records."""
    known = [each for each in grouping.shares if each.share is not None and each.share.total]
    if len(known) < 2:
        return ""
    counts = [each.share.hits for each in known if each.share is not None]
    ends = [
        _name_equal([each for each in known if each.share and each.share.hits == end])
        for end in (max(counts), min(counts))
    ]
    name = grouping.columns[0]
    return (
        f"{name}: {ends[0]}" if ends[0] == ends[1] else f"{name}: most {ends[0]}, least {ends[1]}"
    )


def _name_equal(groups: Sequence[GroupShare]) -> str:
    share = PERCENT.value(groups[0].share.value if groups[0].share else None)
    if len(groups) == 1:
        return f"{format_group(groups[0].group)} {share}"
    if len(groups) > _MAX_NAMED:
        return f"{len(groups):,} groups with {share} each"
    names = [format_group(each.group) for each in groups]
    return f"{', '.join(names[:-1])} and {names[-1]} {share} each"


def _count_small(audit: Statistics) -> str:
    """How many of the groups shown have fewer records than coverage requires."""
    groups = [
        each.share.hits
        for grouping in audit.groupings
        for each in grouping.shares
        if each.share is not None and MISSING not in each.group
    ]
    few = sum(count < audit.rules.threshold for count in groups)
    if audit.uncovered is None or not few:
        return ""
    which = "every group has" if few == len(groups) else f"{few:,} of {len(groups):,} groups have"
    return f"{which} fewer than {audit.rules.threshold:,} records"


def _grouping(grouping: Grouping) -> Iterator[Block]:
    shown = sorted(grouping.shares, key=lambda each: -(each.share.hits if each.share else -1))
    bars = tuple(_bar(each) for each in shown[:_MAX_BARS])
    name = " and ".join(grouping.columns)
    yield BarChart(f"Share by {name}; dashed: target", bars, find_domain(bars))
    target = "a reference population" if grouping.has_reference else "uniform shares"
    rows = [_row(each) for each in shown[:_MAX_ROWS]]
    head = ("", "count", "share (95 %)", "ratio to target")
    yield Table(f"Groups by {name}, compared with {target}", head, rows)
    if len(shown) > _MAX_ROWS:
        yield f"The {len(shown) - _MAX_ROWS:,} smallest groups are in the JSON report."
    yield _describe(grouping)


def _describe(grouping: Grouping) -> str:
    found = grouping.divergence
    if found is None:
        return "Counts are suppressed; statistics of the whole table are omitted."
    parts = [f"Effective number of groups {found.effective:.2f}"]
    if found.entropy is not None:
        parts.append(f"normalized entropy {found.entropy:.3f}")
    parts.append(f"total variation from the target {found.total_variation:.3f}")
    if found.kl is not None:
        parts.append(f"KL divergence {found.kl:.3f} bits")
    if found.fit is not None and found.fit.p is not None and found.fit.v is not None:
        parts.append(f"χ² {found.fit.chi2:,.1f}, p {format_probability(found.fit.p)}, "
                     f"Cramér's V {found.fit.v:.3f}")  # fmt: skip
    if grouping.independence is not None and grouping.independence.v is not None:
        parts.append(f"Cramér's V between the attributes {grouping.independence.v:.3f}")
    return "; ".join(parts) + "."


def _associations(audit: Statistics) -> Iterator[Block]:
    if audit.census.noise:
        yield "Counts have noise, so that no pair is tested; estimates are in the JSON report."
        return
    flagged = [each for each in audit.associations if each.flagged]
    yield (
        "nPMI is 0 for independence, 1 if a label and a group always occur together and -1 if "
        "never. Pairs are flagged at a false discovery rate of 5 % (Benjamini and Hochberg)."
    )
    if not flagged:
        yield "No pair is flagged."
        return
    strongest = sorted(flagged, key=lambda each: -round(abs(each.npmi), _DIGITS))[:_MAX_BARS]
    bars = tuple(
        Bar(_pair(each), each.npmi, *(each.interval or (None, None))) for each in strongest
    )
    yield BarChart("nPMI of the strongest flagged pairs", bars, (-1.0, 1.0), COEFFICIENT)
    rows = [
        (
            _pair(each),
            f"{each.count:,}",
            COEFFICIENT.estimate(each.npmi, each.interval),
            "–" if each.q is None else format_probability(each.q),
        )
        for each in strongest
    ]  # fmt: skip
    yield Table("Strongest flagged pairs", ("", "count", "nPMI (95 %)", "q"), rows)


def _rates(rates: Sequence[LabelRates], audit: Statistics) -> Iterator[Block]:
    if len({each.label for each in rates}) > _MANY_LABELS:
        yield _count_labels(rates)
    found = [
        (each, rate)
        for each in rates
        for rate in each.rates
        if rate.share is not None and rate.share.total
    ]
    found.sort(key=lambda pair: 1.0 if pair[1].q is None else round(pair[1].q, _DIGITS))
    rows = [
        (
            f"{each.label}: {each.attribute} {rate.group}",
            f"{rate.share.hits:,} of {rate.share.total:,}",
            PERCENT.estimate(rate.share.value, rate.share.interval),
            "–" if rate.interval is None else POINTS.estimate(rate.difference or 0, rate.interval),
            RATIO.value(rate.ratio) + (" ✗" if rate.below else ""),
            "–" if rate.q is None else format_probability(rate.q),
        )
        for each, rate in found[:_MAX_ROWS]
        if rate.share is not None
    ]
    head = ("", "records", "rate (95 %)", "minus the reference, points (95 %)", "ratio to it", "q")
    caption = "Base rates, strongest evidence first; ✗ is below four fifths of the reference"
    yield Table(caption, head, rows)
    stated = [f"{name} {group}" for name, group in audit.rules.references.items()]
    yield (
        "The reference of a group is the rest of the population"
        + (f", or the stated group ({', '.join(stated)})" if stated else "")
        + f"; with fewer than {MIN_REFERENCE} records it is not compared."
    )
    if len(found) > _MAX_ROWS:
        yield f"{len(found) - _MAX_ROWS:,} more rates are in the JSON report."


def _count_labels(rates: Sequence[LabelRates]) -> Table:
    """Number of labels with a significantly lower or higher rate, by group."""
    counts: dict[str, list[int]] = {}
    for each in rates:
        for rate in each.rates:
            row = counts.setdefault(f"{each.attribute} {rate.group}", [0, 0, 0])
            row[0] += 1
            if rate.q is not None and rate.q <= FALSE_DISCOVERIES and rate.difference:
                row[1 if rate.difference < 0 else 2] += 1
    rows = [(name, *(f"{n:,}" for n in row)) for name, row in counts.items()]
    return Table("Labels with a different rate, by group", ("", "labels", "lower", "higher"), rows)


def _adjusted(audit: Statistics) -> Iterator[Block]:
    if not audit.adjusted:
        yield "Differences are adjusted for another attribute if the two are crossed (--by a,b)."
        return
    ordered = sorted(
        audit.adjusted,
        key=lambda each: (each.kind == "same", -round(abs(each.crude - each.adjusted), _DIGITS)),
    )
    rows = [
        (
            f"{each.label}: {each.attribute} {each.group}, by {each.stratum}",
            POINTS.estimate(each.crude, each.crude_interval),
            POINTS.estimate(each.adjusted, each.adjusted_interval),
            "–" if each.heterogeneity_p is None else format_probability(each.heterogeneity_p),
            each.kind,
        )
        for each in ordered[:_MAX_ROWS]
    ]
    head = ("", "crude, points (95 %)", "adjusted (95 %)", "heterogeneity p", "once adjusted")
    yield Table("Rate of a group minus that of its reference", head, rows)
    yield (
        "Adjusted: Mantel-Haenszel over the strata (stratified Newcombe and Sato intervals). "
        "Heterogeneity: Breslow-Day test with Tarone's correction; if it is small, look at the "
        "strata separately."
    )


def _reversals(audit: Statistics) -> Iterator[Block]:
    if not audit.reversals:
        yield "No difference between two groups changes sign within every stratum."
    for found in audit.reversals[:_MAX_ROWS]:
        one, other = found.groups
        yield (
            f"{found.label}: {one} compared with {other} has a crude difference of "
            f"{_points(found.difference)}, but {_points(found.adjusted)} adjusted for "
            f"{found.within} (Mantel-Haenszel); within strata: "
            + ", ".join(f"{name} {_points(value)}" for name, value in found.parts.items())
            + "."
        )


def _uncovered(audit: Statistics) -> Iterator[Block]:
    found = audit.uncovered or ()
    if not found:
        yield f"Every combination has at least {audit.rules.threshold:,} records."
        return
    yield (
        f"These groups have fewer than {audit.rules.threshold:,} records. Only the most general "
        "ones are listed: combinations within a listed group have no more records than it."
    )
    rows = [(format_pattern(each.pattern), f"{each.count:,}") for each in found[:_MAX_ROWS]]
    caption = f"Groups with fewer than {audit.rules.threshold:,} records"
    yield Table(caption, ("", "records"), rows)
    if len(found) > _MAX_ROWS:
        yield f"{len(found) - _MAX_ROWS:,} more are in the JSON report."


def _bar(each: GroupShare) -> Bar:
    if each.share is None or each.interval is None or not each.share.total:
        return Bar(format_group(each.group), None)
    # The target is a share of the groups without missing values, the bar of all.
    target = each.share.value / each.ratio if each.ratio else each.target
    interval = each.interval
    return Bar(format_group(each.group), each.share.value, interval.low, interval.high, target)


def _row(each: GroupShare) -> tuple[str, ...]:
    if each.share is None or each.interval is None:
        return format_group(each.group), "hidden", "–", "–"
    if not each.share.total:
        return format_group(each.group), "0", "–", "–"
    ratio = RATIO.value(each.ratio)
    share = PERCENT.estimate(each.share.value, each.interval)
    return format_group(each.group), f"{each.share.hits:,}", share, ratio


def _pair(each: Association) -> str:
    return f"{each.label} – {each.group}"


def _points(value: float) -> str:
    return f"{POINTS.value(value)} points"
