"""``curate impact predictions``: compare prediction files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from curate.cli.impact import CLASSES, group_options
from curate.cli.options import PATH, SEED
from curate.cli.output import check_outputs, report_files, report_options, write_report

_EPILOG = """\b
Prediction files are Parquet with the columns
  id      image id, as in the manifest
  label   true class, by index from 0 or by name
  logits  a list with one score per class; or instead
  topk    a list of classes, best first, and
  scores  a list of their scores
  sha256  digest of the classified file, optional: compared with the manifest
or .npz with arrays of these names. Classes by name need --classes.

\b
Examples:
  curate impact predictions original.parquet obfuscated.parquet -o impact.json
  curate impact predictions original.npz obfuscated.npz --classes names.txt \\
      --manifest out/ --groups people.csv --by gender,age --html impact.html
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
    help="Files of another model or seed; can be repeated. Intervals then hold for other models "
    "of the same kind.",
)
@click.option(
    "--manifest",
    type=PATH,
    metavar="OUT",
    help="The obfuscated dataset, whose manifest lists the faces.",
)
@CLASSES
@group_options
@SEED
@report_options
def command(original: Path, obfuscated: Path, **options: Any) -> None:
    """Compare predictions on the same images, original and obfuscated.

    Top-1 and top-5 accuracy with paired difference, interval and McNemar's
    exact test; average precision; every class, with label swaps told apart
    from losses; by hidden share, number of faces and group; calibration,
    selective accuracy and the smallest detectable drop.

    In Python: curate.measure_impact.
    """
    from curate.impact.predictions.run import PredictionOptions, measure_impact

    pairs = ((original, obfuscated), *options["also"])
    before, after = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    names = ("classes", "manifest", "groups", "by", "allow_missing", "seed")
    chosen = PredictionOptions(**{name: options[name] for name in names})
    inputs = [*before, *after, *(options[name] for name in ("manifest", "groups", "classes"))]
    check_outputs(inputs, report_files(options), "impact")
    report = measure_impact(before, after, chosen, quiet=options["quiet"])
    write_report(report, options, inputs=(original, obfuscated))
