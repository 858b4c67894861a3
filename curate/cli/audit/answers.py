"""What the commands of ``curate audit`` have in common: where their reports go."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli.options import PATH
from curate.core.errors import UsageError
from curate.core.records import escape_unprintable

if TYPE_CHECKING:
    from curate.balance.audit.run import Answer

_MOST_SHOWN = 12
_OPTIONS = (
    click.option(
        "--output", "-o", type=PATH, metavar="FILE", help="Write the JSON here, not to stdout."
    ),
    click.option("--html", type=PATH, metavar="FILE", help="Write a page for people."),
    click.option("--quiet", "-q", is_flag=True, help="Nothing on stderr but errors."),
)


def report_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say where a report goes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def check_outputs(inputs: Sequence[Path | None], options: dict[str, Any]) -> None:
    """Refuse places that cannot be written, or hold what is read, before anything is done."""
    for path in filter(None, (options["output"], options["html"])):
        if path.is_dir() or not path.parent.is_dir():
            raise UsageError(f"{path} cannot be written: give a file in a folder that is there")
        for given in filter(None, inputs):
            if path.resolve().is_relative_to(given.resolve()):
                raise UsageError(f"{path} is, or lies inside, {given}; choose another place for it")


def write_answer(answer: Answer, options: dict[str, Any]) -> None:
    """Write the report where it was asked to go, and its main figures to stderr."""
    from curate.balance.audit.page import save_page
    from curate.balance.audit.run import save_report

    report = answer.to_dict()
    if options["html"] is not None:
        save_page(answer, report["statements"], options["html"])
    if options["output"] is None:
        click.echo(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        save_report(report, options["output"])
    if not options["quiet"]:
        click.echo(format_report(report), err=True)


def format_report(report: dict[str, Any]) -> str:
    """The main figures, for a person."""
    lines = []
    for name, grouping in (report["attributes"] | report["intersections"]).items():
        lines.append(f"{name}:")
        groups = grouping["groups"].items()
        ordered = sorted(groups, key=lambda item: -(item[1]["count"] or 0))
        lines += [_format_group(*item) for item in ordered[:_MOST_SHOWN]]
        if len(ordered) > _MOST_SHOWN:
            lines.append(f"  … and {len(ordered) - _MOST_SHOWN:,} more")
    if report["coverage"]:
        threshold = report["rules"]["threshold"]
        lines.append(f"{len(report['uncovered']):,} maximal patterns with fewer than {threshold}.")
    return "\n".join(escape_unprintable(line) for line in (*lines, *report["statements"]))


def _format_group(name: str, group: dict[str, Any]) -> str:
    if group["count"] is None:
        return f"  {name[:40]:<41}{'hidden':>10}"
    if group["share"] is None:
        return f"  {name[:40]:<41}{group['count']:>10,}"
    low, high = group["ci95"]
    ratio = group["ratio_to_target"]
    share = f"{100 * group['share']:.1f} % ({100 * low:.1f}–{100 * high:.1f})"
    against = "" if ratio is None else f"{ratio:.2f} of target"
    return f"  {name[:40]:<41}{group['count']:>10,}{share:>24}{against:>18}"
