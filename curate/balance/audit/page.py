"""An audit as a page for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from curate.balance.audit.association import Association
from curate.balance.audit.base_rates import LabelRates
from curate.balance.audit.measure import Audit, Grouping
from curate.balance.audit.representation import GroupShare, spell
from curate.balance.audit.run import Answer
from curate.core.intervals import Interval
from curate.report.page import render_page
from curate.report.values import Bar, BarChart, Block, Page, Section, Table

_MOST_BARS = 40
_MOST_ROWS = 200

_INTERVALS = (
    "Intervals are at 95 %: Wilson's for shares and rates, Newcombe's for differences, the "
    "bootstrap's over records for associations."
)


def save_page(answer: Answer, statements: Sequence[str], path: Path) -> None:
    """Write the page, so that a reader sees all of it or nothing."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(render_page(make_page(answer, statements)), encoding="utf-8")
    partial.replace(path)


def make_page(answer: Answer, statements: Sequence[str]) -> Page:
    """Lay out an audit.

    Args:
        answer: the audit.
        statements: what it can show and what it cannot.
    """
    audit = answer.audit
    tool = answer.facts["tool"]
    sections = [
        Section("By " + " and ".join(grouping.columns), tuple(_grouping(grouping)))
        for grouping in audit.groupings
    ]
    if audit.census.plan.label is not None:
        sections.append(Section("Labels and groups", tuple(_associations(audit))))
        sections.append(Section("Base rates", tuple(_rates(audit.base_rates))))
        sections.append(Section("Reversals", tuple(_reversals(audit))))
    if audit.outcomes:
        blocks = [block for rates in audit.outcomes.values() for block in _rates(rates)]
        sections.append(Section("What became of each group's records", tuple(blocks)))
    if audit.uncovered is not None:
        sections.append(Section("Hardly there", tuple(_uncovered(audit))))
    return Page(
        "Who is in this dataset?",
        (*statements, _INTERVALS),
        tuple(sections),
        f"{tool['name']} {tool['version']}; {audit.census.records:,} records",
    )


def _grouping(grouping: Grouping) -> Iterator[Block]:
    shown = sorted(grouping.shares, key=lambda each: -(each.share.hits if each.share else -1))
    bars = tuple(_bar(each) for each in shown[:_MOST_BARS])
    name = " and ".join(grouping.columns)
    yield BarChart(f"Share of all, by {name}", bars, (0.0, _end(bars)))
    target = "a reference population" if grouping.has_reference else "even groups"
    rows = [_row(each) for each in shown[:_MOST_ROWS]]
    head = ("", "count", "per cent (95 %)", "of its target")
    yield Table(f"Groups by {name}, against {target}", head, rows)
    if len(shown) > _MOST_ROWS:
        yield f"The {len(shown) - _MOST_ROWS:,} smallest groups are in the report in JSON."
    yield _describe(grouping)


def _describe(grouping: Grouping) -> str:
    found = grouping.divergence
    if found is None:
        return "Counts are hidden here, so that nothing is said of the whole."
    parts = [f"As uneven as {found.effective:.2f} even groups would be"]
    if found.entropy is not None:
        parts.append(f"entropy {found.entropy:.3f} of 1")
    parts.append(
        f"{100 * found.total_variation:.1f} % would have to be of another group to meet the target"
    )
    if found.kl is not None:
        parts.append(f"{found.kl:.3f} bits from the target")
    if found.fit is not None and found.fit.p is not None and found.fit.v is not None:
        parts.append(f"χ² {found.fit.chi2:,.1f}, p {_probability(found.fit.p)}, "
                     f"Cramér's V {found.fit.v:.3f}")  # fmt: skip
    if grouping.independence is not None and grouping.independence.v is not None:
        parts.append(f"Cramér's V between the two {grouping.independence.v:.3f}")
    return "; ".join(parts) + "."


def _associations(audit: Audit) -> Iterator[Block]:
    if audit.census.noise:
        yield "Counts have noise, so that no pair is tested; the report in JSON has estimates."
        return
    flagged = [each for each in audit.associations if each.flagged]
    yield (
        "nPMI is 0 where a label and a group go together as chance would have it, 1 where they "
        "are never apart and -1 where they are never together. Flagged is what remains after "
        "Benjamini and Hochberg's control over all pairs."
    )
    if not flagged:
        yield "No pair is flagged."
        return
    strongest = sorted(flagged, key=lambda each: -abs(each.npmi))[:_MOST_BARS]
    bars = tuple(
        Bar(_pair(each), each.npmi, *(each.interval or (None, None))) for each in strongest
    )
    yield BarChart("nPMI of flagged pairs, the strongest", bars, (-1.0, 1.0), percent=False)
    rows = [
        (
            _pair(each),
            f"{each.count:,}",
            _number(each.npmi, each.interval),
            "–" if each.q is None else _probability(each.q),
        )
        for each in strongest
    ]  # fmt: skip
    yield Table("Flagged pairs, the strongest", ("", "count", "nPMI (95 %)", "q"), rows)


def _rates(rates: Sequence[LabelRates]) -> Iterator[Block]:
    rows = [
        (
            f"{each.label}: {each.attribute} {rate.group}",
            f"{rate.share.hits:,} of {rate.share.total:,}",
            _percent(rate.share.value, rate.share.interval),
            "–" if rate.ratio is None else f"{rate.ratio:.2f}" + (" ✗" if rate.below else ""),
        )
        for each in rates
        for rate in each.rates
        if rate.share is not None and rate.share.total
    ]
    head = ("", "records", "per cent (95 %)", "of the highest rate")
    yield Table("How often each group has each label; ✗ is below four fifths", head,
                rows[:_MOST_ROWS])  # fmt: skip
    if len(rows) > _MOST_ROWS:
        yield f"{len(rows) - _MOST_ROWS:,} more rates are in the report in JSON."


def _reversals(audit: Audit) -> Iterator[Block]:
    if not audit.reversals:
        yield "No difference between two groups turns around within every part of another."
    for found in audit.reversals[:_MOST_ROWS]:
        one, other = found.groups
        yield (
            f"{found.label}: {one} has it {_points(found.difference)} more often than {other} as "
            f"a whole, but {_points(found.adjusted)} within the parts by {found.within}: "
            + ", ".join(f"{name} {_points(value)}" for name, value in found.parts.items())
            + "."
        )


def _uncovered(audit: Audit) -> Iterator[Block]:
    found = audit.uncovered or ()
    if not found:
        yield f"Every combination has at least {audit.rules.threshold:,} records."
        return
    rows = [
        (", ".join(f"{name} {value}" for name, value in each.pattern.items()) or "everything",
         f"{each.count:,}")
        for each in found[:_MOST_ROWS]
    ]  # fmt: skip
    yield Table(
        f"Patterns with fewer than {audit.rules.threshold:,} records, of which each more general "
        "one has enough",
        ("", "records"),
        rows,
    )
    if len(found) > _MOST_ROWS:
        yield f"{len(found) - _MOST_ROWS:,} more are in the report in JSON."


def _bar(each: GroupShare) -> Bar:
    if each.share is None or each.interval is None or not each.share.total:
        return Bar(spell(each.group), None)
    return Bar(spell(each.group), each.share.value, each.interval.low, each.interval.high)


def _row(each: GroupShare) -> tuple[str, ...]:
    if each.share is None or each.interval is None:
        return spell(each.group), "hidden", "–", "–"
    if not each.share.total:
        return spell(each.group), "0", "–", "–"
    ratio = "–" if each.ratio is None else f"{each.ratio:.2f}"
    said = _percent(each.share.value, each.interval)
    return spell(each.group), f"{each.share.hits:,}", said, ratio


def _end(bars: Sequence[Bar]) -> float:
    """The end of an axis that holds every interval, with ticks that are round."""
    most = max((bar.high or 0.0 for bar in bars), default=0.0)
    return next((end for end in (0.04, 0.1, 0.2, 0.4, 0.6, 0.8) if most <= end), 1.0)


def _pair(each: Association) -> str:
    return f"{each.label} – {each.group}"


def _percent(value: float, interval: Interval) -> str:
    return f"{100 * value:.1f} ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def _number(value: float, interval: Interval | None) -> str:
    ends = f" ({interval.low:.3f} to {interval.high:.3f})" if interval else ""
    return f"{value:.3f}{ends}".replace("-", "−")


def _points(value: float) -> str:
    return f"{100 * value:+.1f} points".replace("-", "−")


def _probability(value: float) -> str:
    return "below 0.0001" if value < 0.0001 else f"{value:.2g}"
