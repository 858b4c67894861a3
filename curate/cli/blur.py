"""``curate blur``: the main job."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli.options import (
    DETECTORS_LIST,
    LAYOUTS_LIST,
    METHODS,
    PATH,
    SOURCE,
    build_recipe,
    detection_options,
    obfuscation_options,
    run_options,
)
from curate.cli.progress import stop_on_interrupt, telling, watching
from curate.core.records import escape_unprintable

if TYPE_CHECKING:
    from curate.pipeline.names import Names
    from curate.pipeline.summary import Summary

_EPILOG = f"""\b
Methods:
{METHODS}

\b
Formats:
{LAYOUTS_LIST}

\b
Detectors:
{DETECTORS_LIST}

\b
Examples:
  curate blur photos/ out/
  curate blur photos/ out/ --profile thorough --workers 8
  curate blur photos/ out/ --method fill --method-option color=#808080
  curate blur photos/ out/ --dry-run
"""


@click.command(epilog=_EPILOG)
@click.argument("source", type=SOURCE)
@click.argument("out", type=PATH)
@obfuscation_options
@detection_options
@click.option(
    "--flag-captions",
    is_flag=True,
    help="Count carried texts and file names that look like names of people; changes nothing.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only say what would be done, from a sample, and how long it would take.",
)
@run_options
@click.pass_context
def command(ctx: click.Context, /, source: str, out: Path, **options: Any) -> None:
    """Find every face in the images below SOURCE, hide it, and write OUT.

    OUT gets data/, in SOURCE's layout and names, and manifest/, from which
    `curate verify` checks it. SOURCE is only read. Run the same command again
    to go on after an interruption. Images that cannot be processed to the end
    are withheld and listed in the manifest, never passed through.
    """
    from curate.pipeline.blur import blur
    from curate.pipeline.names import count_names
    from curate.pipeline.preview import preview
    from curate.pipeline.session import Session

    recipe, weights = build_recipe(options)
    session = Session(
        layout=options["layout"],
        workers=options["workers"],
        faces=options["faces"],
        weights=weights,
        skip_self_test=options["skip_self_test"],
        profile_time=options["profile_time"],
        allow_missing=options["allow_missing"],
        tell=telling(quiet=options["quiet"]),
    )
    if options["dry_run"]:
        report = preview(source, out, recipe, session)
        click.echo(json.dumps(report.to_dict(), indent=2) if options["as_json"] else report.text)
        return
    with watching(quiet=options["quiet"]) as watch, stop_on_interrupt(session.stop):
        summary = blur(source, out, recipe, dataclasses.replace(session, watch=watch))
    names = count_names(Path(summary.out)) if options["flag_captions"] else None
    if options["as_json"]:
        said = {} if names is None else {"names": dataclasses.asdict(names)}
        click.echo(json.dumps({"version": 1, **dataclasses.asdict(summary), **said}, indent=2))
    elif not options["quiet"]:
        click.echo(format_summary(summary), err=True)
        if names is not None:
            click.echo(escape_unprintable(format_names(names)), err=True)
    ctx.exit(3 if summary.withheld else 0)


def format_summary(summary: Summary) -> str:
    """A run's outcome for a person."""
    lines = []
    if summary.already_done:
        lines.append(f"{summary.out} was finished before; nothing was done.")
    lines.append(
        f"{summary.images:,} images: {summary.written:,} written "
        f"({summary.images_with_faces:,} with faces, {summary.faces:,} faces hidden), "
        f"{summary.withheld:,} withheld."
    )
    for code, count in summary.reasons.items():
        lines.append(f"  withheld {count:,}: {code}")
    if summary.withheld:
        lines.append(f"  each with its reason in {summary.out}/manifest/records")
    if summary.others["carried"] or summary.others["left_out"]:
        lines.append(
            f"Other files: {summary.others['carried']:,} carried over, "
            f"{summary.others['left_out']:,} left out (listed in manifest/others.jsonl)."
        )
    if summary.images_now:
        rate = summary.images_now / max(summary.seconds, 1e-9)
        lines.append(f"{summary.seconds:,.1f} s, {rate:,.1f} images/s.")
    lines.append(f"Next: curate verify {summary.out}")
    return "\n".join(lines)


def format_names(names: Names) -> str:
    """What looks like names of people, in one line."""
    such = f", such as {'; '.join(names.examples)}" if names.examples else ""
    return (
        f"Look like names of people: {names.texts:,} places in carried texts, "
        f"{names.files:,} image names{such}."
    )
