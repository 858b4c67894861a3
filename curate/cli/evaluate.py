"""``curate evaluate``: a detector against labeled faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from curate.cli.options import BY, GROUPS, LAYOUT, PATH, SOURCE, WORKERS
from curate.cli.output import check_outputs, report_files, report_options, write_report
from curate.cli.recipe import build_recipe, detection_options
from curate.core.errors import UsageError

_EPILOG = """\b
Examples:
  curate evaluate photos/ --faces labels.json
  curate evaluate photos/ --faces labels.json --groups people.csv --by skin_tone,age
  curate evaluate photos/ --faces wider_face_val_bbx_gt.txt --sweep --html page.html
  curate evaluate photos/ --faces labels.json --detections faces.parquet -o report.json
"""


@click.command(epilog=_EPILOG)
@click.argument("source", type=SOURCE)
@click.option(
    "--faces",
    required=True,
    type=PATH,
    metavar="LABELS",
    help="Labeled faces, in any format of blur --faces with boxes in pixels; further fields "
    "of a face are its attributes.",
)
@GROUPS
@BY
@click.option(
    "--detections",
    type=PATH,
    metavar="FILE",
    help="Detections to evaluate, such as a table of curate detect, instead of running a detector.",
)
@click.option("--sweep", is_flag=True, help="Compute curves at other thresholds; detects twice.")
@click.option(
    "--min-height",
    type=float,
    default=8.0,
    metavar="PIXELS",
    help="Ignore labeled faces lower than this. [default: 8]",
)
@click.option(
    "--margin",
    type=float,
    metavar="SHARE",
    help="Growth of a face box on each side, as a share of its longer side. [default: 0.15; "
    "0.1 for imagenet]",
)
@click.option(
    "--show-misses",
    is_flag=True,
    help="Show crops of missed faces in the HTML page. It contains visible faces; do not share.",
)
@detection_options
@LAYOUT
@WORKERS
@report_options
@click.pass_context
def command(ctx: click.Context, /, source: str, **options: Any) -> None:
    """Measure a detector on the labeled images of SOURCE.

    Recall, precision, average precision, the share of faces that would be
    hidden, and false boxes on images without faces: by height, by every
    attribute of the labels and by group, with the gaps between groups. Withheld
    images are reported separately.

    In Python: curate.evaluate.
    """
    from curate.cli.interrupt import stop_on_interrupt
    from curate.evaluation.run import EvaluationOptions, evaluate
    from curate.pipeline.session import Session

    if options["show_misses"] and options["html"] is None:
        raise UsageError("--show-misses needs --html FILE")
    inputs = (source, options["faces"], options["groups"], options["detections"])
    check_outputs(inputs, report_files(options), "evaluate")
    recipe, weights = build_recipe(options)
    chosen = EvaluationOptions(
        groups=options["groups"],
        by=options["by"],
        detections=options["detections"],
        sweep=options["sweep"],
        min_height=options["min_height"],
        show_misses=options["show_misses"],
    )
    session = Session(
        layout=options["layout"],
        workers=options["workers"],
        weights=weights,
        skip_self_test=options["skip_self_test"],
    )
    faces: Path = options["faces"]
    with stop_on_interrupt(session.stop):
        result = evaluate(source, faces, chosen, recipe, session, quiet=options["quiet"])
    write_report(result, options, inputs=(source, options["groups"]))
    ctx.exit(3 if result.facts["images"]["withheld"]["images"] else 0)
