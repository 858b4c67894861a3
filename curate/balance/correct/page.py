"""The HTML page of a correction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from curate.report.numbers import COEFFICIENT, PERCENT, NumberFormat
from curate.report.values import Bar, BarChart, Block, Page, Section, Table, find_domain

_MAX_ROWS = 200
_MAX_BARS = 30
_CHANGE = NumberFormat(3, sign=True)

_FIGURES = (
    ("total_variation", "Total variation distance from the target"),
    ("worst_total_variation", "Total variation distance of the worst label"),
    ("cramers_v", "Association of labels and groups (Cramér's V)"),
    ("rate_gap", "Largest base-rate gap between two groups"),
)


def make_page(report: Mapping[str, Any]) -> Page:
    """The contents of the page.

    Args:
        report: what `curate.balance.correct.report.to_dict` returns.
    """
    sections = [Section("Records", tuple(_done(report)))]
    for name, found in report["comparisons"].items():
        title = "By " + " and ".join(name.split(","))
        sections.append(Section(title, tuple(_comparison(name, found, report))))
    if report.get("confounding"):
        blocks = tuple(_confounding(report["confounding"]))
        if blocks:
            sections.append(Section("Associations between attributes and labels", blocks))
    if report["labels"]:
        sections.append(Section("Labels", tuple(_labels(report["labels"]))))
    tool = report["tool"]
    return Page(
        "Correction of group representation",
        tuple(report["statements"]),
        tuple(sections),
        f"{tool['name']} {tool['version']}; strategy {report['recipe']['strategy']}, seed "
        f"{report['recipe']['seed']}",
        verdict=_verdict(report),
    )


def _verdict(report: Mapping[str, Any]) -> str:
    counts = report["counts"]
    parts = [
        f"{counts['records']:,} records: {counts['kept']:,} kept, {counts['removed']:,} removed, "
        f"{counts['made']:,} added"
    ]
    for name, found in report["comparisons"].items():
        before, after = (found[side]["total_variation"] for side in ("before", "after"))
        if before is not None and after is not None:
            parts.append(f"{name}: distance from the target {before:.3f} → {after:.3f}")
    return f"{'; '.join(parts)}."


def _confounding(found: Mapping[str, Any]) -> Iterator[Block]:
    rows = [
        (
            " and ".join(each["columns"]),
            COEFFICIENT.value(each["before"]),
            COEFFICIENT.value(each["after"]) + (" ▲" if each["grows"] else ""),
        )
        for each in found["associations"]
    ]
    if rows:
        yield Table("Cramér's V, 0 to 1; ▲ grows", ("", "before", "after"), rows)
    for name, text in (("attributes", "the attributes"), ("with_labels", "attributes and label")):
        each = found["emptied"][name]
        if each is not None and each["emptied"]:
            become = "becomes" if each["emptied"] == 1 else "become"
            yield (
                f"{each['emptied']:,} of {each['cells']:,} intersections of {text} {become} empty."
            )
    rates = sorted(found["base_rates"].items(), key=lambda item: -_change(item[1]))[:_MAX_ROWS]
    if rates:
        table = [(name, _percent(r["before"]), _percent(r["after"])) for name, r in rates]
        yield Table("Share of all records with each label", ("", "before", "after"), table)


def _change(rate: Mapping[str, float]) -> float:
    return abs(rate["after"] - rate["before"])


def _done(report: Mapping[str, Any]) -> Iterator[Block]:
    counts = report["counts"]
    rows = [
        ("kept", f"{counts['kept']:,}"),
        ("removed", f"{counts['removed']:,}"),
        ("added", f"{counts['made']:,}"),
        ("in splits left unchanged", f"{counts['fixed']:,}"),
    ]
    yield Table(f"Of {counts['records']:,} records", ("", "records"), rows)
    weights = report["weights"]
    if weights is not None:
        yield (
            f"Weights range from {weights['least']:.3g} to {weights['greatest']:.3g}; the "
            f"effective sample size (Kish) is {weights['effective_sample_size']:,.0f}."
        )


def _comparison(name: str, found: Mapping[str, Any], report: Mapping[str, Any]) -> Iterator[Block]:
    rows = [
        (text, COEFFICIENT.value(found["before"][key]), COEFFICIENT.value(found["after"][key]))
        for key, text in _FIGURES
        if found["before"][key] is not None and found["after"][key] is not None
    ]
    yield Table("Distances, 0 to 1", ("", "before", "after"), rows)
    bias = found["amplification"]
    if bias is not None and bias["majority"] is not None:
        directional = bias["directional"]
        yield (
            f"Bias amplification relative to the original dataset (negative: less bias): "
            f"{_CHANGE.value(bias['majority'])} (majority groups, Zhao et al. 2017)"
            + (f", {_CHANGE.value(directional)} (directional, Wang and Russakovsky 2021)."
               if directional is not None else ".")
        )  # fmt: skip
    yield from _shares(name, found, report["audit"])
    yield from _by_label(found["labels"])
    table = [
        (
            group,
            _percent(values["target"]),
            f"{values['before']['count']:,.0f} ({_percent(values['before']['share'])})",
            f"{values['after']['count']:,.6g} ({_percent(values['after']['share'])})",
        )
        for group, values in list(found["groups"].items())[:_MAX_ROWS]
    ]
    yield Table("Groups with a target", ("", "target", "before", "after"), table)


def _shares(name: str, found: Mapping[str, Any], audits: Mapping[str, Any]) -> Iterator[Block]:
    """Share of each group before and after, on one scale."""
    charts = {}
    for when in ("before", "after"):
        grouping = (audits[when]["attributes"] | audits[when]["intersections"])[name]
        groups = list(grouping["groups"].items())[:_MAX_BARS]
        charts[when] = tuple(_bar(group, values, found) for group, values in groups)
    domain = find_domain([bar for bars in charts.values() for bar in bars])
    for when, bars in charts.items():
        yield BarChart(f"Share of each group {when}; dashed: target", bars, domain)


def _by_label(labels: Mapping[str, Any]) -> Iterator[Block]:
    if not labels:
        return
    rows = [
        (name, COEFFICIENT.value(values["before"]), COEFFICIENT.value(values["after"]))
        for name, values in list(labels.items())[:_MAX_BARS]
    ]
    caption = "Total variation distance from the target, by label"
    yield Table(caption, ("", "before", "after"), rows)
    if len(labels) > _MAX_BARS:
        yield f"{len(labels) - _MAX_BARS:,} more labels are in the JSON report."


def _labels(labels: Mapping[str, Any]) -> Iterator[Block]:
    rows = [
        (name, f"{values['before']:,}", f"{values['after']:,.6g}")
        for name, values in list(labels.items())[:_MAX_ROWS]
    ]
    yield Table("Records per label", ("", "before", "after"), rows)
    if len(labels) > _MAX_ROWS:
        yield f"{len(labels) - _MAX_ROWS:,} more labels are in the JSON report."


def _bar(group: str, values: Mapping[str, Any], found: Mapping[str, Any]) -> Bar:
    if values["share"] is None or values["ci95"] is None:
        return Bar(group, None)
    target = found["groups"].get(group, {}).get("target")
    low, high = values["ci95"]
    return Bar(group, values["share"], low, high, target)


def _percent(share: float | None) -> str:
    return PERCENT.value(share)
