"""``curate detect``: face boxes only."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from curate.cli.options import (
    DETECTORS_LIST,
    PATH,
    SOURCE,
    read_sharing,
    run_options,
    share_options,
)
from curate.cli.output import check_outputs
from curate.cli.printing import echo_json, print_shards, print_summary
from curate.cli.recipe import build_recipe, detection_options
from curate.core.errors import UsageError
from curate.layouts.faces import SUFFIXES

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
    help="Write the Parquet table of faces, or the page of --explain, to this file.",
)
@click.option(
    "--explain",
    "image",
    type=PATH,
    metavar="IMAGE",
    help="Instead of SOURCE: write an HTML page about the candidate boxes of one image.",
)
@click.option(
    "--export",
    "exports",
    multiple=True,
    type=click.Choice(list(SUFFIXES)),
    help="Also write the faces in this format, beside the table; can be repeated.",
)
@detection_options
@share_options
@run_options
@click.pass_context
def command(
    ctx: click.Context, /, source: str | None, output: Path, image: Path | None, **options: Any
) -> None:
    """Find every face in the images of SOURCE and write a table of their boxes.

    `curate blur --faces` accepts the table, corrected by people or not, so that
    detection and obfuscation can run at different times on different machines.
    Images in which no detector ran to completion are listed with the reason.

    In Python: curate.detect, curate.detect_shards.
    """
    from curate.cli.interrupt import stop_on_interrupt
    from curate.pipeline.detect import detect, detect_shards
    from curate.pipeline.session import Session

    recipe, weights = build_recipe(options)
    if (image is None) == (source is None):
        raise UsageError("give either SOURCE or --explain IMAGE")
    if image is not None:
        from curate.pipeline.explanation import explain

        check_outputs((image,), {"html": output}, "detect --explain")
        faces = explain(image, output, recipe)
        if not options["quiet"]:
            print_summary(f"{faces} faces; {output} shows them, so do not publish it.")
        return
    assert source is not None  # noqa: S101 - narrows the type
    session = Session(
        layout=options["layout"],
        workers=options["workers"],
        weights=weights,
        skip_self_test=options["skip_self_test"],
        profile_time=options["profile_time"],
        **read_sharing(options),
    )
    if session.shards is not None:
        if options["exports"]:
            raise UsageError("--shards makes a part of the table; give --export with --finish")
        with stop_on_interrupt(session.stop):
            part = detect_shards(
                source, output, session.shards, recipe, session, quiet=options["quiet"]
            )
        print_shards(ctx, part, options)
    with stop_on_interrupt(session.stop):
        found = detect(source, output, recipe, session, options["exports"], quiet=options["quiet"])
    if options["as_json"]:
        echo_json({"version": 1, **dataclasses.asdict(found)})
    elif not options["quiet"]:
        print_summary(found.to_text())
    ctx.exit(3 if found.withheld else 0)
