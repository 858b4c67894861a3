"""A correction's report as a page for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curate.report.page import render_page
from curate.report.values import Bar, BarChart, Block, Page, Section, Table

_MOST_ROWS = 200
_MOST_BARS = 30

_FIGURES = (
    ("total_variation", "Share of all that is of another group than the target wants"),
    ("worst_total_variation", "The same of the label that is furthest off"),
    ("cramers_v", "Association of labels and groups (Cramér's V, 0 is none)"),
    ("rate_gap", "Largest gap between two groups' base rates of a label"),
)


def save_page(report: Mapping[str, Any], path: Path) -> None:
    """Write the page, so that a reader sees all of it or nothing."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(render_page(make_page(report)), encoding="utf-8")
    partial.replace(path)


def make_page(report: Mapping[str, Any]) -> Page:
    """Lay out a correction.

    Args:
        report: what `curate.balance.correct.report.to_dict` gives.
    """
    sections = [Section("What was done", tuple(_done(report)))]
    for name, found in report["comparisons"].items():
        title = "By " + " and ".join(name.split(","))
        sections.append(Section(title, tuple(_comparison(name, found, report))))
    if report["labels"]:
        sections.append(Section("Labels", tuple(_labels(report["labels"]))))
    tool = report["tool"]
    return Page(
        "What was corrected, and what it cost",
        tuple(report["statements"]),
        tuple(sections),
        f"{tool['name']} {tool['version']}; strategy {report['recipe']['strategy']}, seed "
        f"{report['recipe']['seed']}",
    )


def _done(report: Mapping[str, Any]) -> Iterator[Block]:
    counts = report["counts"]
    rows = [
        ("kept", f"{counts['kept']:,}"),
        ("removed", f"{counts['removed']:,}"),
        ("made from others", f"{counts['made']:,}"),
        ("of splits that are not corrected", f"{counts['fixed']:,}"),
    ]
    yield Table(f"Of {counts['records']:,} records", ("", "records"), rows)
    weights = report["weights"]
    if weights is not None:
        yield (
            f"Weights are from {weights['least']:.3g} to {weights['greatest']:.3g}. They are worth "
            f"{weights['effective_sample_size']:,.0f} records of equal weight (Kish)."
        )


def _comparison(name: str, found: Mapping[str, Any], report: Mapping[str, Any]) -> Iterator[Block]:
    rows = [
        (text, f"{found['before'][key]:.3f}", f"{found['after'][key]:.3f}")
        for key, text in _FIGURES
        if found["before"][key] is not None and found["after"][key] is not None
    ]
    yield Table("Distances, 0 to 1", ("", "before", "after"), rows)
    bias = found["amplification"]
    if bias is not None and bias["majority"] is not None:
        directional = bias["directional"]
        yield (
            f"Bias amplification against the dataset before, negative for less: "
            f"{bias['majority']:+.3f} (majority groups, Zhao et al. 2017)"
            + (f", {directional:+.3f} (directional, Wang and Russakovsky 2021)."
               if directional is not None else ".")
        ).replace("-", "−")  # fmt: skip
    yield from _shares(name, report["audit"])
    yield from _by_label(found["labels"])
    table = [
        (
            group,
            _percent(said["target"]),
            f"{said['before']['count']:,.0f} ({_percent(said['before']['share'])})",
            f"{said['after']['count']:,.6g} ({_percent(said['after']['share'])})",
        )
        for group, said in list(found["groups"].items())[:_MOST_ROWS]
    ]
    yield Table("Groups that have a target", ("", "target", "before", "after"), table)


def _shares(name: str, audits: Mapping[str, Any]) -> Iterator[Block]:
    """Each group's share before and after, on one scale."""
    charts = {}
    for when in ("before", "after"):
        grouping = (audits[when]["attributes"] | audits[when]["intersections"])[name]
        groups = list(grouping["groups"].items())[:_MOST_BARS]
        charts[when] = tuple(_bar(group, said) for group, said in groups)
    most = max((bar.high or 0.0 for bars in charts.values() for bar in bars), default=0.0)
    end = next((end for end in (0.04, 0.1, 0.2, 0.4, 0.6, 0.8) if most <= end), 1.0)
    for when, bars in charts.items():
        yield BarChart(f"Share of each group {when}", bars, (0.0, end))


def _by_label(labels: Mapping[str, Any]) -> Iterator[Block]:
    if not labels:
        return
    rows = [
        (name, f"{said['before']:.3f}", f"{said['after']:.3f}")
        for name, said in list(labels.items())[:_MOST_BARS]
    ]
    caption = "Share of each label that is of another group than the target wants"
    yield Table(caption, ("", "before", "after"), rows)
    if len(labels) > _MOST_BARS:
        yield f"{len(labels) - _MOST_BARS:,} labels that were nearer are in the report in JSON."


def _labels(labels: Mapping[str, Any]) -> Iterator[Block]:
    rows = [
        (name, f"{said['before']:,}", f"{said['after']:,.6g}")
        for name, said in list(labels.items())[:_MOST_ROWS]
    ]
    yield Table("Records of each label", ("", "before", "after"), rows)
    if len(labels) > _MOST_ROWS:
        yield f"{len(labels) - _MOST_ROWS:,} more labels are in the report in JSON."


def _bar(group: str, said: Mapping[str, Any]) -> Bar:
    if said["share"] is None or said["ci95"] is None:
        return Bar(group, None)
    return Bar(group, said["share"], *said["ci95"])


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
