"""What the commands of ``curate impact`` have in common: where their reports go."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli.options import PATH
from curate.core.errors import UsageError

if TYPE_CHECKING:
    from curate.impact.predictions.paired import Change
    from curate.impact.predictions.run import Answer

_OPTIONS = (
    click.option(
        "--output", "-o", type=PATH, metavar="FILE", help="Write the JSON here, not to stdout."
    ),
    click.option("--html", type=PATH, metavar="FILE", help="Write a page for people."),
    click.option("--quiet", "-q", is_flag=True, help="No summary; errors and exit codes remain."),
    click.option("--json", "as_json", is_flag=True, help="The JSON on stdout, even with --output."),
)


def report_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say where a report goes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def check_outputs(inputs: Sequence[Path | str | None], options: dict[str, Any]) -> None:
    """Refuse places that cannot be written, or must not be, before the work is done.

    Raises:
        UsageError: if a report would go to a folder, over what is read, or into OUT.
    """
    read = {Path(path).resolve() for path in inputs if path is not None}
    manifest = options["manifest"]
    for path in filter(None, (options["output"], options["html"])):
        if path.is_dir() or not path.parent.is_dir():
            raise UsageError(f"{path} cannot be written: give a file in a folder that is there")
        if path.resolve() in read:
            raise UsageError(f"{path} is read; choose another place for what is written")
        if manifest is not None and path.resolve().is_relative_to(manifest.resolve()):
            raise UsageError(f"{path} lies inside OUT; choose another place for it")
        read.add(path.resolve())  # both reports cannot be the same file


def write_answer(answer: Answer, options: dict[str, Any]) -> None:
    """Write the report where it was asked to go, and its main figures to stderr."""
    report = json.dumps(answer.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    if options["html"] is not None:
        from curate.impact.predictions.page import make_page
        from curate.report.page import render_page

        save_text(render_page(make_page(answer)), options["html"])
    if options["output"] is None or options["as_json"]:
        click.echo(report)
    if options["output"] is not None:
        save_text(report + "\n", options["output"])
    if not options["quiet"]:
        click.echo(format_answer(answer), err=True)


def save_text(text: str, path: Path) -> None:
    """Write a file, so that a reader sees all of it or nothing."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def format_answer(answer: Answer) -> str:
    """The main figures, for a person."""
    impact = answer.impact
    count, models = len(impact.experiment), len(impact.experiment.models)
    lines = [
        f"{count:,} pairs of images" + (f", {models} models" if models > 1 else ""),
        f"top-1: {_format_change(impact.top1)}, McNemar's p {impact.test.p:.3g} "
        f"({impact.test.b:,} lost, {impact.test.c:,} gained)",
    ]
    if impact.top5 is not None:
        lines.append(f"top-5: {_format_change(impact.top5)}")
    kinds = [each.kind for each in impact.classes]
    lines.append(
        f"classes: {kinds.count('loss')} lost, {kinds.count('gain')} gained, "
        f"{kinds.count('swap')} swapped, {kinds.count('none')} unchanged"
    )
    if impact.power.detectable is not None:
        lines.append(f"smallest drop to be seen: {100 * impact.power.detectable:.2f} points")
    if answer.controls is not None:
        from curate.impact.evaluate.controls import describe_controls

        lines += list(describe_controls(answer.controls))[1:]  # the first stands above
    return "\n".join([*lines, *answer.notes])


def _format_change(change: Change) -> str:
    low, high = change.interval
    return (
        f"{100 * change.original:.2f} % -> {100 * change.obfuscated:.2f} %, "
        f"{100 * change.difference:+.2f} points ({100 * low:+.2f} to {100 * high:+.2f})"
    )
