"""``curate impact predictions``: from files of predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from curate.cli.impact.answers import check_outputs, report_options, write_answer
from curate.cli.options import PATH
from curate.core.errors import UsageError

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


@click.command("predictions", epilog=_EPILOG)
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
@report_options
def command(original: Path, obfuscated: Path, **options: Any) -> None:
    """Compare predictions on the same images, original and obfuscated.

    Top-1 and top-5 accuracy with the paired difference, its interval and
    McNemar's exact test; average precision; every class, with label swaps
    told apart from losses; by blurred share, by number of faces and by group;
    calibration, selective accuracy, and the smallest drop that could have
    been shown. Any model's predictions will do. The report is JSON.
    """
    from curate.impact.predictions.run import Predictions, measure_predictions

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
    check_outputs([*asked.files, asked.groups, options["classes"]], options)
    answer = measure_predictions(asked)
    write_answer(answer, options)
