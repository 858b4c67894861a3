"""``curate replay``: do a recorded run again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.cli.options import PATH, SOURCE
from curate.cli.progress import stop_on_interrupt, watching
from curate.core.records import escape_unprintable

if TYPE_CHECKING:
    from curate.pipeline.replay import Replay

_SHOWN = 50


@click.command()
@click.argument("source", type=SOURCE)
@click.argument("manifest", type=PATH)
@click.argument("out", type=PATH)
@click.option(
    "--sample",
    type=click.IntRange(1),
    metavar="N",
    help="Only N images, drawn by the recipe's seed: a spot check.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 4096),
    metavar="N",
    help="Processes. [default: one per core]",
)
@click.option("--quiet", "-q", is_flag=True, help="No progress bar and no summary.")
@click.option("--json", "as_json", is_flag=True, help="A machine-readable report on stdout.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    source: str,
    manifest: Path,
    out: Path,
    sample: int | None,
    workers: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Do the run that MANIFEST records again on SOURCE, into OUT, and compare.

    The recorded recipe and faces are used; no detector runs. Every image is
    byte-identical, pixel-identical or different. Exits 1 if any is different.
    """
    from curate.pipeline.replay import DIFFERENT, replay
    from curate.pipeline.session import Session

    session = Session(workers=workers)
    with watching(quiet=quiet) as watch, stop_on_interrupt(session.stop):
        found = replay(source, manifest, out, dataclasses.replace(session, watch=watch), sample)
    if as_json:
        click.echo(json.dumps({"version": 1, **dataclasses.asdict(found)}, indent=2))
    else:
        for difference in found.differences[:_SHOWN]:
            click.echo(
                escape_unprintable(f"{difference.kind}: {difference.id}: {difference.detail}")
            )
        if not quiet:
            click.echo(format_replay(found), err=True)
    ctx.exit(1 if found.counts[DIFFERENT] else 0)


def format_replay(found: Replay) -> str:
    """How a run came out, for a person."""
    ways = ", ".join(
        f"{count:,} {kind.replace('_', ' ')}" for kind, count in found.counts.items() if count
    )
    lines = [f"{found.images:,} images: {ways}."]
    if found.records_identical:
        lines.append("The manifest's records are the same to the byte.")
    if found.changed:
        lines.append(f"Versions differ: {found.changed}.")
    lines.append(f"The replayed run is in {found.out}.")
    return "\n".join(lines)
