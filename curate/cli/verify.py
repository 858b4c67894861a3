"""``curate verify``: check an output against its manifest, and for leaks."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.cli.options import ENGINE, FOLLOW, JSON, PATH, QUIET, SOURCE, WORKERS
from curate.cli.printing import echo, print_summary
from curate.core.records import escape_unprintable

if TYPE_CHECKING:
    from curate.manifest.files import Problem

_SHOWN = 50


@click.command()
@click.argument("out", type=SOURCE)
@click.option(
    "--source",
    type=SOURCE,
    metavar="SOURCE",
    help="Compare pixels with SOURCE: equal outside the masks, hidden inside.",
)
@click.option(
    "--near-duplicates/--no-near-duplicates",
    default=True,
    help="With --source: report near-duplicates of which one is not blurred. [default: on]",
)
@FOLLOW
@click.option(
    "--signed-by",
    type=PATH,
    metavar="FILE",
    help="SSH public keys, one a line, of which one must have signed the manifest.",
)
@WORKERS
@ENGINE
@click.option(
    "--all",
    "full",
    is_flag=True,
    help="Of a dataset on the Hub, download every file instead of a sample.",
)
@QUIET
@JSON
@click.pass_context
def command(
    ctx: click.Context,
    /,
    out: str,
    source: str | None,
    near_duplicates: bool,
    signed_by: Path | None,
    full: bool,
    workers: int | None,
    engine: str,
    quiet: bool,
    as_json: bool,
) -> None:
    """Check every file of OUT against its manifest, and for leaks.

    OUT is the output of `blur` or `balance`, a dataset that `push` published
    (hf:REPO_ID[@REVISION]), or the folder that `pull` wrote. Leaks are metadata outside the
    allow-list, thumbnails, trailing bytes and further frames. Every problem is a line on
    stdout, with --json a line of JSON, followed by one of the result. Exits 1 if there is
    any. The summary says which files digests cover, who signed them, and what annotations
    and names of images contain that can identify people.

    In Python: curate.verify, curate.iter_problems.
    """
    from curate.pipeline.progress import above_bars
    from curate.pipeline.sidecar_summary import describe_content
    from curate.pipeline.verify import verify  # after the options: slow to import

    shown = 0

    def show(problem: Problem) -> None:
        nonlocal shown
        shown += 1
        if as_json or shown <= _SHOWN:
            with above_bars():
                echo(_format(problem, as_json))

    try:
        checked = verify(
            out, source, workers, engine=engine, near_duplicates=near_duplicates, full=full,
            quiet=quiet, signed_by=signed_by, on_problem=show,
        )  # fmt: skip
    except KeyboardInterrupt:
        echo("curate: interrupted; nothing was changed", err=True)
        ctx.exit(130)
    if as_json:
        result = {"ok": checked.ok, "checked": checked.checked, "counts": dict(checked.counts)}
        echo(json.dumps(result, ensure_ascii=True))
    if shown > _SHOWN and not as_json:
        echo(f"… and {shown - _SHOWN:,} more; --json lists all")
    if not quiet:
        print_summary(checked.to_text())
        if checked.coverage is not None:
            print_summary(checked.coverage.to_text())
        if checked.content is not None and (lines := list(describe_content(checked.content))):
            print_summary("\n".join(lines))
    ctx.exit(0 if checked.ok else 1)


def _format(problem: Problem, as_json: bool) -> str:
    """Format a problem as one line without control characters."""
    if as_json:
        return json.dumps(dataclasses.asdict(problem), ensure_ascii=True)
    return escape_unprintable(f"{problem.kind}: {problem.path}: {problem.detail}")
