"""``curate verify``: check an output against its manifest, and for leaks."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.cli.options import SOURCE
from curate.core.errors import UsageError
from curate.core.records import escape_unprintable

if TYPE_CHECKING:
    from curate.manifest.problems import Problem
    from curate.pipeline.verification import Verification

_SHOWN = 50


@click.command()
@click.argument("out", type=SOURCE)
@click.option(
    "--source",
    type=SOURCE,
    help="Compare pixels with SOURCE: equal outside the masks, hidden inside.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 4096),
    metavar="N",
    help="Processes. [default: one per core]",
)
@click.option(
    "--all", "full", is_flag=True,
    help="Of hf:REPO_ID: download every file, not a sample.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Every problem as a line of JSON on stdout.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    out: str,
    source: str | None,
    workers: int | None,
    full: bool,
    as_json: bool,
) -> None:
    """Check every file of OUT, of `blur` or `balance`, against its manifest, and for leaks.

    OUT can also be hf:REPO_ID[@REVISION], a dataset that `push` has published, or
    the folder that `pull` made of one.

    Leaks are metadata outside the allow-list, thumbnails, trailing bytes and
    further frames. Exits 1 and names what differs.
    """
    kinds: Counter[str] = Counter()
    try:
        checked = _verify(out, source, workers, full)
        for problem in checked.problems:
            kinds[problem.kind] += 1
            if as_json or kinds.total() <= _SHOWN:
                click.echo(_format(problem, as_json))
    except KeyboardInterrupt:
        click.echo("curate: stopped; nothing was changed", err=True)
        ctx.exit(130)
    if kinds.total() > _SHOWN and not as_json:
        click.echo(f"… and {kinds.total() - _SHOWN:,} more; --json lists all")
    if kinds:
        found = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
        click.echo(f"{out} is not what its manifest says: {found}.", err=True)
        ctx.exit(1)
    click.echo(f"{out} is what its manifest says: {checked.sound}.", err=True)


def _verify(out: str, source: str | None, workers: int | None, full: bool) -> Verification:
    """Check a run's OUT, or a published dataset."""
    from curate.pipeline.verification import Verification, verify  # takes its time, too
    from curate.publishing.hub.published import is_published

    if out.startswith("hf:") or is_published(Path(out)):
        from curate.publishing.hub.pull import verify_published

        if source is not None:
            raise UsageError("--source is for the OUT of a run, not for a published dataset")
        how = "every file" if full or not out.startswith("hf:") else "every digest and a sample"
        problems = verify_published(out, full, lambda line: click.echo(line, err=True))
        return Verification(problems, f"{how} checked against the public manifest")
    return verify(Path(out), source, workers)


def _format(problem: Problem, as_json: bool) -> str:
    """One line, whatever the names in it hold."""
    if as_json:
        return json.dumps(dataclasses.asdict(problem), ensure_ascii=True)
    return escape_unprintable(f"{problem.kind}: {problem.path}: {problem.detail}")
