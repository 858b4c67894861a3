"""``curate evaluate``: a detector against labelled faces."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli.options import PATH, SOURCE, build_recipe, detection_options, run_options
from curate.cli.progress import stop_on_interrupt, telling, watching
from curate.core.errors import UsageError
from curate.layouts.access.address import is_address

if TYPE_CHECKING:
    from curate.evaluation.run import Answer
    from curate.evaluation.scores import GroupScore

_EPILOG = """\b
Examples:
  curate evaluate photos/ --faces labels.json
  curate evaluate photos/ --faces labels.json --groups people.csv --by skin_tone
  curate evaluate photos/ --faces wider_face_val_bbx_gt.txt --sweep --html page.html
  curate evaluate photos/ --faces labels.json --detections faces.parquet -o report.json
"""


@click.command(epilog=_EPILOG)
@click.argument("source", type=SOURCE)
@click.option(
    "--faces",
    required=True,
    type=PATH,
    metavar="TRUTH",
    help="Labelled faces: any form that blur --faces takes, with boxes in pixels. Further fields "
    "of a face are its attributes.",
)
@click.option(
    "--groups",
    type=PATH,
    metavar="TABLE",
    help="CSV, TSV, JSON Lines or Parquet with a column id; its other columns are attributes of "
    "all faces of an image.",
)
@click.option(
    "--by",
    multiple=True,
    metavar="NAME",
    help="An attribute to group faces by; can be repeated. [default: all with 2 to 12 values]",
)
@click.option(
    "--detections",
    type=PATH,
    metavar="FILE",
    help="What a detector found, as from curate detect, instead of running one.",
)
@click.option("--sweep", is_flag=True, help="Look at other thresholds too; detects twice.")
@click.option(
    "--least-height",
    type=float,
    default=8.0,
    metavar="PIXELS",
    help="Labelled faces lower than this count neither way. [default: 8]",
)
@click.option(
    "--margin",
    type=float,
    help="Growth of a box before it hides, as a share of its longer side. [default: blur's]",
)
@click.option(
    "--output", "-o", type=PATH, metavar="FILE", help="Write the JSON here, not to stdout."
)
@click.option("--html", type=PATH, metavar="FILE", help="Write a page for people.")
@click.option(
    "--show-misses",
    is_flag=True,
    help="Put crops of missed faces into the page. It then shows faces: give it to nobody else.",
)
@detection_options
@run_options
@click.pass_context
def command(ctx: click.Context, /, source: str, **options: Any) -> None:
    """Measure a detector on the labelled images of SOURCE.

    Recall, precision, average precision, the share of faces that would be
    hidden and false boxes on images without faces; by height, by every
    attribute of the labels and by group, with the gaps between groups. Images
    that the detector withheld are counted apart. The report is JSON.
    """
    from curate.evaluation.run import Question, evaluate_detector
    from curate.pipeline.session import Session

    if options["show_misses"] and options["html"] is None:
        raise UsageError("--show-misses puts pictures into the page; name it with --html FILE")
    _check_outputs(source, options)
    recipe, weights = build_recipe(options)
    question = Question(
        truth=options["faces"],
        groups=options["groups"],
        by=options["by"],
        detections=options["detections"],
        sweep=options["sweep"],
        least_height=options["least_height"],
    )
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
        answer = evaluate_detector(source, question, recipe, session)
    _write(answer, source, options)
    if not options["quiet"]:
        click.echo(format_answer(answer), err=True)
    ctx.exit(3 if answer.facts["images"]["withheld"]["images"] else 0)


def _check_outputs(source: str, options: dict[str, Any]) -> None:
    """Refuse places that cannot be written before the detector has worked for hours."""
    for path in filter(None, (options["output"], options["html"])):
        if path.is_dir() or not path.parent.is_dir():
            raise UsageError(f"{path} cannot be written: give a file in a folder that is there")
        if not is_address(source) and path.resolve().is_relative_to(Path(source).resolve()):
            raise UsageError(f"{path} lies inside SOURCE; choose another place for it")


def _write(answer: Answer, source: str, options: dict[str, Any]) -> None:
    from curate.evaluation.page import make_page
    from curate.evaluation.run import picture_misses
    from curate.report.page import render_page

    if options["html"] is not None:
        shown = options["show_misses"]
        pictures = picture_misses(source, options["layout"], answer.misses) if shown else ()
        options["html"].write_text(render_page(make_page(answer, pictures)), encoding="utf-8")
    report = json.dumps(answer.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    if options["output"] is None or options["as_json"]:
        click.echo(report)
    if options["output"] is not None:
        options["output"].write_text(report + "\n", encoding="utf-8")


def format_answer(answer: Answer) -> str:
    """The main figures, for a person."""
    evaluation, images = answer.evaluation, answer.facts["images"]
    names = ("faces", *evaluation.rules.measures)
    lines = [
        f"{images['evaluated']:,} labelled images, {images['withheld']['images']:,} withheld; "
        f"{images['not_in_source']:,} labelled ones are not in SOURCE.",
        f"{'':<34}" + "".join(f"{name:>24}" for name in names),
        _format_row("all faces", evaluation.overall),
        *(_format_row(f"{group.name} px", group) for group in evaluation.heights),
    ]
    for grouping in evaluation.groupings:
        lines += [_format_row(f"{grouping.name} {each.name}", each) for each in grouping.groups]
    for iou, share in evaluation.precision.items():
        lines.append(f"precision at IoU {iou:g}: {100 * share.value:.1f} % of {share.total:,}")
    return "\n".join(lines)


def _format_row(label: str, group: GroupScore) -> str:
    cells = [f"{group.faces:,}"]
    for estimate in group.measures.values():
        low, high = estimate.shown
        share = f"{100 * estimate.share.value:.1f} ({100 * low:.1f}–{100 * high:.1f})"
        cells.append(share if estimate.share.total else "–")
    return f"{label[:33]:<34}" + "".join(f"{cell:>24}" for cell in cells)
