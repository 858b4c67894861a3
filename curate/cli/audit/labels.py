"""``curate audit labels``: which labels are kept, from what people said of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from curate.balance.labels.rules import (
    LEAST_ANNOTATORS,
    LEAST_IMAGEABILITY,
    OFFENSIVE_SHARE,
    UNSAFE_SHARE,
    LabelRules,
)
from curate.cli.audit.answers import check_outputs, report_options
from curate.cli.options import PATH, PLACE
from curate.core.records import escape_unprintable
from curate.layouts.access.address import is_address

if TYPE_CHECKING:
    from curate.balance.labels.run import LabelAnswer

_MOST_SHOWN = 12
_EPILOG = """\b
Examples:
  curate audit labels labels.txt --judgements round1.csv -o labels.json --html labels.html
  curate audit labels photos/ --judgements round1.csv --source photos/ --undecided keep
  curate audit labels labels.txt --judgements round1.csv --judgements appeal.csv -o labels.json
"""


@click.command("labels", epilog=_EPILOG)
@click.argument("vocabulary", type=PLACE)
@click.option(
    "--judgements",
    type=PATH,
    multiple=True,
    required=True,
    metavar="TABLE",
    help="CSV, TSV, JSON Lines or Parquet with the columns label, annotator, and safety (safe, "
    "sensitive, offensive), imageability (1 to 5) or both. Can be repeated, the latest last: "
    "what an annotator says of a label again replaces the earlier judgement.",
)
@click.option(
    "--source",
    type=PLACE,
    metavar="DATASET",
    help="Count the images of each label, and those that a removal would take.",
)
@click.option(
    "--offensive-share",
    type=float,
    default=OFFENSIVE_SHARE,
    metavar="SHARE",
    help="Remove a label that at least this share of its annotators call offensive. "
    f"[default: {OFFENSIVE_SHARE:g}, one of up to four]",
)
@click.option(
    "--unsafe-share",
    type=float,
    default=UNSAFE_SHARE,
    metavar="SHARE",
    help="Remove a label that at least this share call sensitive or offensive. "
    f"[default: {UNSAFE_SHARE:g}]",
)
@click.option(
    "--least-imageability",
    type=float,
    default=LEAST_IMAGEABILITY,
    metavar="RATING",
    help=f"Remove a label that is rated below. [default: {LEAST_IMAGEABILITY:g}]",
)
@click.option(
    "--imageability",
    type=click.Choice(["mean", "median"]),
    default="mean",
    help="Which rating of a label that is. [default: mean]",
)
@click.option(
    "--least-annotators",
    type=click.IntRange(1),
    default=LEAST_ANNOTATORS,
    metavar="N",
    help="A label with fewer judgements of a question that was asked is undecided. "
    f"[default: {LEAST_ANNOTATORS}]",
)
@click.option(
    "--undecided",
    type=click.Choice(["keep", "remove"]),
    help="What becomes of undecided labels. Without it, curate balance refuses a report that has "
    "any: nobody has said that they are safe.",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Of resampling. [default: 0]")
@click.option("--format", "layout", default="auto", help="A dataset's layout. [default: auto]")
@report_options
def command(vocabulary: str, **options: Any) -> None:
    """Decide which labels are kept, from several people's judgements.

    VOCABULARY is a text with a label a line, a JSON list, a table with a column
    label (and name and gloss, if you like), or a dataset, whose categories are
    taken. Each label is kept, removed (offensive, sensitive, not imageable) or
    undecided, with the judgements behind it and the annotators' agreement
    (Krippendorff's α). Nothing is removed here; the report is JSON. No list of
    words comes with curate.
    """
    from curate.balance.labels.run import LabelQuestion, audit_labels

    places = (place for place in (vocabulary, options["source"]) if place)
    local = (Path(place) for place in places if not is_address(place))
    check_outputs([*local, *options["judgements"]], options)
    question = LabelQuestion(
        judgements=options["judgements"],
        rules=_rules(options),
        source=options["source"],
        layout=options["layout"],
        seed=options["seed"],
    )
    _write(audit_labels(vocabulary, question), options)


def _rules(options: dict[str, Any]) -> LabelRules:
    undecided: Literal["keep", "remove"] | None = options["undecided"]
    return LabelRules(
        offensive_share=options["offensive_share"],
        unsafe_share=options["unsafe_share"],
        least_imageability=options["least_imageability"],
        imageability=options["imageability"],
        least_annotators=options["least_annotators"],
        undecided=undecided,
    )


def _write(answer: LabelAnswer, options: dict[str, Any]) -> None:
    """Write the report where it was asked to go, and its main figures to stderr."""
    from curate.balance.audit.run import save_report
    from curate.balance.labels.page import save_labels_page

    report = answer.to_dict()
    if options["html"] is not None:
        save_labels_page(answer, options["html"])
    if options["output"] is None:
        click.echo(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        save_report(report, options["output"])
    if not options["quiet"]:
        click.echo(format_labels(report), err=True)


def format_labels(report: dict[str, Any]) -> str:
    """The main figures, for a person."""
    lines = []
    for decision in ("remove", "undecided"):
        labels = [
            (label, said)
            for label, said in report["labels"].items()
            if said["decision"] == decision
        ]
        if labels:
            lines.append(f"{decision}:")
            lines += [_format_label(*each) for each in labels[:_MOST_SHOWN]]
        if len(labels) > _MOST_SHOWN:
            lines.append(f"  … and {len(labels) - _MOST_SHOWN:,} more")
    return "\n".join(escape_unprintable(line) for line in (*lines, *report["statements"]))


def _format_label(label: str, said: dict[str, Any]) -> str:
    why = " and ".join(said["reasons"]) or f"too few judgements of {' and '.join(said['lacking'])}"
    counts = ""
    if said["safety"]:
        counts = ", ".join(
            f"{said['safety'][answer]} {answer}" for answer in ("safe", "sensitive", "offensive")
        )
    images = "" if said["images"] is None else f", {sum(said['images'].values()):,} images"
    contested = ", contested" if said["contested"] else ""
    return f"  {label[:40]:<41}{why}{contested} ({counts or 'rated'}{images})"
