"""``curate replay``: repeat a recorded run and compare."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from curate.cli.options import FOLLOW, JSON, OUT, PATH, QUIET, SOURCE, WORKERS
from curate.cli.printing import echo, echo_json, print_summary
from curate.core.records import escape_unprintable

_SHOWN = 50


@click.command()
@click.argument("source", type=SOURCE)
@click.argument("manifest", type=OUT)
@click.argument("out", type=PATH)
@click.option(
    "--sample",
    type=click.IntRange(1),
    metavar="N",
    help="Only N images, drawn with the recipe's seed. [default: all]",
)
@FOLLOW
@WORKERS
@QUIET
@JSON
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
    """Repeat the run of MANIFEST on SOURCE, into OUT, and compare the two.

    The recorded recipe and faces are used; no detector runs. Every image is
    byte-identical, pixel-identical, withheld again or different. Exits 1 if
    any is different.

    In Python: curate.replay.
    """
    from curate.cli.interrupt import stop_on_interrupt
    from curate.pipeline.replay import DIFFERENT, PIXELS, replay
    from curate.pipeline.session import Session

    session = Session(workers=workers)
    with stop_on_interrupt(session.stop):
        found = replay(source, manifest, out, session, sample, quiet=quiet)
    if as_json:
        echo_json({"version": 1, **dataclasses.asdict(found)})
    else:
        for difference in found.differences[:_SHOWN]:
            echo(escape_unprintable(f"{difference.kind}: {difference.id}: {difference.detail}"))
        more = found.counts[PIXELS] + found.counts[DIFFERENT] - len(found.differences[:_SHOWN])
        if more:
            echo(f"… and {more:,} more")
        if not quiet:
            print_summary(found.to_text())
    ctx.exit(0 if found.ok else 1)
