"""What ``curate balance`` says when it is done, and where its report goes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from curate.core.records import escape_unprintable

if TYPE_CHECKING:
    from curate.balance.correct.run import Balanced


def write_answer(done: Balanced, options: Mapping[str, Any]) -> None:
    """Write the report where it was asked to go, and its main figures to stderr."""
    from curate.balance.audit.run import save_report

    if options["report"] is not None:
        save_report(done.report, options["report"])
    if options["html"] is not None:
        from curate.balance.correct.page import save_page

        save_page(done.report, options["html"])
    if options["as_json"]:
        click.echo(json.dumps(done.report, indent=2, ensure_ascii=False, allow_nan=False))
    if not options["quiet"]:
        lines = [*format_report(done.report), _where(done, options)]
        click.echo("\n".join(escape_unprintable(line) for line in lines), err=True)


def _where(done: Balanced, options: Mapping[str, Any]) -> str:
    if options["dry_run"]:
        return "Nothing was written."
    if done.already_done:
        return f"{options['out']} was finished before; nothing was done."
    return f"{options['out']} is done in {done.seconds:,.1f} s; `curate verify` checks it."


def format_report(report: Mapping[str, Any]) -> list[str]:
    """The main figures, for a person, a line each."""
    counts = report["counts"]
    lines = [
        f"{counts['records']:,} records: {counts['kept']:,} kept, {counts['removed']:,} removed, "
        f"{counts['made']:,} made"
        + (f"; {counts['fixed']:,} more are not corrected" if counts["fixed"] else "")
        + "."
    ]
    given = report["input"]
    for kind, what in (("unmatched", "are no record"), ("ambiguous", "could mean several")):
        if given.get(kind):
            examples = ", ".join(given[f"{kind}_examples"])
            lines.append(f"{given[kind]:,} ids of the table {what}, such as {examples}.")
    if report["weights"] is not None:
        weights = report["weights"]
        lines.append(
            f"weights {weights['least']:.3g} to {weights['greatest']:.3g}, worth "
            f"{weights['effective_sample_size']:,.0f} records of equal weight"
        )
    for name, found in report["comparisons"].items():
        before, after = found["before"], found["after"]
        lines.append(f"{name}:")
        rows = (
            ("off its target", "total_variation"),
            ("off its target, worst label", "worst_total_variation"),
            ("label and group (Cramér's V)", "cramers_v"),
            ("gap of base rates", "rate_gap"),
        )
        lines += [
            f"  {text:<31}{before[key]:>8.3f} -> {after[key]:.3f}"
            for text, key in rows
            if before[key] is not None and after[key] is not None
        ]
        bias = found["amplification"]
        if bias is not None and bias["majority"] is not None and bias["directional"] is not None:
            lines.append(
                f"  bias amplification: majority {bias['majority']:+.3f}, directional "
                f"{bias['directional']:+.3f}"
            )
    return [*lines, *report["statements"]]
