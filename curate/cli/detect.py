"""``curate detect``: boxes only."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli.options import (
    DETECTORS_LIST,
    PATH,
    SOURCE,
    build_recipe,
    detection_options,
    run_options,
)
from curate.cli.progress import stop_on_interrupt, telling, watching
from curate.core.errors import UsageError
from curate.layouts.faces import SUFFIXES

if TYPE_CHECKING:
    from curate.pipeline.detect import Findings

_EPILOG = f"""\b
Detectors:
{DETECTORS_LIST}

\b
Examples:
  curate detect photos/ -o faces.parquet
  curate detect photos/ -o faces.parquet --export coco
  curate blur photos/ out/ --faces faces.coco.json
  curate detect --explain photos/one.jpg -o why.html
"""


@click.command(epilog=_EPILOG)
@click.argument("source", type=SOURCE, required=False)
@click.option(
    "--output",
    "-o",
    required=True,
    type=PATH,
    metavar="FILE",
    help="The Parquet table to write; with --explain, the HTML page.",
)
@click.option(
    "--explain",
    "image",
    type=PATH,
    metavar="IMAGE",
    help="Instead of SOURCE, write a page about the candidates of one image to --output.",
)
@click.option(
    "--export",
    "exports",
    multiple=True,
    type=click.Choice(list(SUFFIXES)),
    help="Write the faces in this form as well, beside the table; can be repeated.",
)
@detection_options
@run_options
@click.pass_context
def command(
    ctx: click.Context, /, source: str | None, output: Path, image: Path | None, **options: Any
) -> None:
    """Find every face in the images of SOURCE and write their boxes to a table.

    The table, corrected by a person or not, is what `curate blur --faces`
    takes: detection and obfuscation can happen at different places and times.
    Images that cannot be looked at stand in it with the reason.
    """
    from curate.pipeline.detect import detect
    from curate.pipeline.session import Session

    recipe, weights = build_recipe(options)
    if image is not None and source is None:
        from curate.pipeline.explanation import explain

        faces = explain(image, output, recipe)
        if not options["quiet"]:
            click.echo(f"{faces} faces; {output} shows them, so do not publish it.", err=True)
        return
    if image is not None or source is None:
        raise UsageError("give either SOURCE or --explain IMAGE")
    session = Session(
        layout=options["layout"],
        workers=options["workers"],
        weights=weights,
        skip_self_test=options["skip_self_test"],
        profile_time=options["profile_time"],
        tell=telling(quiet=options["quiet"]),
    )
    with watching(quiet=options["quiet"]) as watch, stop_on_interrupt(session.stop):
        session = dataclasses.replace(session, watch=watch)
        found = detect(source, output, recipe, session, options["exports"])
    if options["as_json"]:
        click.echo(json.dumps({"version": 1, **dataclasses.asdict(found)}, indent=2))
    elif not options["quiet"]:
        click.echo(format_findings(found), err=True)
    ctx.exit(3 if found.withheld else 0)


def format_findings(found: Findings) -> str:
    """What was found, for a person."""
    lines = [f"{found.out} was there before; nothing was done."] if found.already_done else []
    lines.append(
        f"{found.images:,} images: {found.faces:,} faces in {found.images_with_faces:,} of them, "
        f"{found.withheld:,} could not be looked at."
    )
    lines += [f"As {form}: {path}" for form, path in found.exports.items()]
    lines.append(f"Next: look them over, then curate blur SOURCE OUT --faces {found.out}")
    return "\n".join(lines)
