"""``curate impact``: what obfuscation costs a classifier."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli.paths import PATH
from curate.core.errors import UsageError

if TYPE_CHECKING:
    from curate.impact.paired import Change
    from curate.pipeline.impact import Answer

_EPILOG = """\b
Files of predictions are Parquet with the columns
  id      the image's id, as the manifest has it
  label   its class, by number from 0 or by name
  logits  a list with a score for every class, or instead of it
  topk    a list of classes, best first, and
  scores  a list of their scores
  sha256  of the image file that was predicted on, if you like: then the
          manifest is held against it
or .npz with arrays of these names. Classes by name need --classes.

\b
Examples:
  curate impact predictions original.parquet obfuscated.parquet -o impact.json
  curate impact predictions original.npz obfuscated.npz --classes names.txt \\
      --manifest out/ --groups people.csv --html impact.html
  curate impact predictions a1.npz b1.npz --also a2.npz b2.npz --also a3.npz b3.npz
"""


@click.group()
def command() -> None:
    """Measure what obfuscation costs a classifier in accuracy."""


@command.command(epilog=_EPILOG)
@click.argument("original", type=PATH)
@click.argument("obfuscated", type=PATH)
@click.option(
    "--also",
    nargs=2,
    type=PATH,
    multiple=True,
    metavar="ORIGINAL OBFUSCATED",
    help="The same of another model or seed; can be repeated. Intervals then hold for others "
    "of their kind.",
)
@click.option(
    "--manifest",
    type=PATH,
    metavar="OUT",
    help="The obfuscated dataset, whose manifest says where faces are.",
)
@click.option(
    "--classes",
    metavar="FILE|N",
    help="Names of the classes in order, a line each or a JSON list; or how many there are. "
    "[default: as many as logits]",
)
@click.option(
    "--groups",
    type=PATH,
    metavar="TABLE",
    help="CSV, TSV, JSON Lines or Parquet with a column id; its other columns are attributes.",
)
@click.option(
    "--by",
    multiple=True,
    metavar="NAME",
    help="An attribute to group images by; can be repeated. [default: all with 2 to 12 values]",
)
@click.option(
    "--allow-missing",
    is_flag=True,
    help="Leave images out that not all files have, instead of stopping. Those that the manifest "
    "says were withheld are left out anyway.",
)
@click.option("--seed", type=int, default=0, help="Seed of the bootstrap. [default: 0]")
@click.option(
    "--output", "-o", type=PATH, metavar="FILE", help="Write the JSON here, not to stdout."
)
@click.option("--html", type=PATH, metavar="FILE", help="Write a page for people.")
@click.option("--quiet", "-q", is_flag=True, help="No summary; errors and exit codes remain.")
@click.option("--json", "as_json", is_flag=True, help="The JSON on stdout, even with --output.")
def predictions(original: Path, obfuscated: Path, **options: Any) -> None:
    """Compare predictions on the same images, original and obfuscated.

    Top-1 and top-5 accuracy with the paired difference, its interval and
    McNemar's exact test; average precision; every class, with label swaps
    told apart from losses; by blurred share, by number of faces and by group;
    calibration, selective accuracy, and the smallest drop that could have
    been shown. Any model's predictions will do. The report is JSON.
    """
    from curate.pipeline.impact import Predictions, measure_predictions

    if options["seed"] < 0:
        raise UsageError("--seed must be 0 or more")
    asked = Predictions(
        pairs=((original, obfuscated), *options["also"]),
        classes=options["classes"],
        manifest=options["manifest"],
        groups=options["groups"],
        by=options["by"],
        allow_missing=options["allow_missing"],
        seed=options["seed"],
    )
    _check_outputs([*asked.files, asked.groups, asked.classes], options)
    answer = measure_predictions(asked)
    _write(answer, options)
    if not options["quiet"]:
        click.echo(format_answer(answer), err=True)


def _check_outputs(inputs: Sequence[Path | str | None], options: dict[str, Any]) -> None:
    """Refuse places that cannot be written, or must not be, before the work is done."""
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


def _write(answer: Answer, options: dict[str, Any]) -> None:
    report = json.dumps(answer.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    if options["html"] is not None:
        from curate.pipeline.impact_page import make_page
        from curate.report.page import render_page

        options["html"].write_text(render_page(make_page(answer)), encoding="utf-8")
    if options["output"] is None or options["as_json"]:
        click.echo(report)
    if options["output"] is not None:
        options["output"].write_text(report + "\n", encoding="utf-8")


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
    return "\n".join([*lines, *answer.notes])


def _format_change(change: Change) -> str:
    low, high = change.interval
    return (
        f"{100 * change.original:.2f} % -> {100 * change.obfuscated:.2f} %, "
        f"{100 * change.difference:+.2f} points ({100 * low:+.2f} to {100 * high:+.2f})"
    )
