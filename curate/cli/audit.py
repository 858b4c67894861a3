"""``curate audit``: representation audit, ``audit labels`` and ``audit merge``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from curate.balance.labels.rules import (
    MIN_ANNOTATORS,
    MIN_IMAGEABILITY,
    OFFENSIVE_SHARE,
    UNSAFE_SHARE,
)
from curate.cli.group import DefaultGroup, HintedCommand
from curate.cli.options import BINS, GROUPS, LAYOUT, PATH, PER, SEED, SEPARATOR, SOURCE
from curate.cli.output import check_outputs, report_files, report_options, write_report
from curate.core.errors import UsageError


@click.group(cls=DefaultGroup, default="dataset", add_help_option=False)
def command() -> None:
    """Audit how groups are represented in a dataset."""


_EPILOG = """\b
Examples:
  curate audit photos/ --groups people.csv --by gender --by age --by gender,age
  curate audit people.csv --by gender,age --label job -o audit.json --html audit.html
  curate audit people.csv --by age --bins "age=child<18,adult<65,old" --min-cell 10
  curate audit photos/ --groups people.csv --by skin_tone --manifest out/
  curate audit merge site1.json site2.json -o all.json
  curate audit labels labels.txt --judgments round1.csv
"""


@command.command("dataset", cls=HintedCommand, option="--groups", epilog=_EPILOG)
@click.argument("source", type=SOURCE, required=False)
@GROUPS
@click.option(
    "--id",
    "id_column",
    metavar="COLUMN",
    help="Column of ids in the table. [default: first of the usual names]",
)
@click.option(
    "--manifest",
    type=PATH,
    metavar="OUT",
    help="OUT of `curate blur`: adds the columns outcome, has_face, faces and blurred_share, and "
    "compares them between groups.",
)
@click.option(
    "--by",
    multiple=True,
    required=True,
    metavar="NAME[,NAME…]",
    help="Attribute to group by, or several crossed; can be repeated.",
)
@click.option("--label", metavar="NAME", help="Column of labels, such as category.")
@PER
@SEPARATOR
@BINS
@click.option(
    "--target",
    "targets",
    multiple=True,
    type=PATH,
    metavar="TABLE",
    help="Reference population: columns named like the attributes, and share or count; can be "
    "repeated. [default: uniform]",
)
@click.option(
    "--reference",
    "references",
    multiple=True,
    metavar="NAME=GROUP",
    help="Compare base rates of an attribute with this group, of at least 30; can be repeated. "
    "[default: the rest of the population]",
)
@click.option(
    "--threshold",
    type=click.IntRange(1),
    default=30,
    show_default=True,
    metavar="N",
    help="Minimum number of records for a combination of values to be covered.",
)
@click.option(
    "--min-cell",
    type=click.IntRange(2),
    metavar="N",
    help="For publication: suppress counts below N, and others from which they would follow.",
)
@click.option(
    "--epsilon",
    type=float,
    metavar="E",
    help="For publication: differential privacy with this budget over all counts (extra dp).",
)
@SEED
@LAYOUT
@report_options
def audit_command(source: str | None, **options: Any) -> None:
    """Audit how groups are represented in a dataset or table.

    Counts, shares and distance from a target for every attribute and intersection;
    associations between labels and groups; under-represented intersections;
    base rates and Simpson's reversals. Missing values are a group of their own.
    --groups also takes COCO JSON with attributes in its annotations.
    `curate audit merge` merges the reports of several sites; `curate audit labels`
    decides which labels are safe to keep.

    In Python: curate.audit.
    """
    from curate.balance.audit.run import AuditOptions, audit
    from curate.balance.groups import parse_bins

    inputs = [source, options["groups"], options["manifest"], *options["targets"]]
    check_outputs(inputs, report_files(options), "audit")
    bins = [parse_bins(text) for text in options["bins"]]
    if len(dict(bins)) < len(bins):
        raise UsageError("--bins is given twice for the same column")
    references = [text.partition("=") for text in options["references"]]
    if not all(name and group for name, _, group in references):
        raise UsageError("--reference must be NAME=GROUP, as in gender=male")
    if len({name for name, _, _ in references}) < len(references):
        raise UsageError("--reference is given twice for the same attribute")
    chosen = AuditOptions(
        id_column=options["id_column"],
        per=options["per"],
        separator=options["separator"],
        bins=dict(bins),
        targets=options["targets"],
        references={name: group for name, _, group in references},
        threshold=options["threshold"],
        min_cell=options["min_cell"],
        epsilon=options["epsilon"],
        seed=options["seed"],
        layout=options["layout"],
    )
    report = audit(
        source, options["by"], options["groups"], options["label"], options["manifest"], chosen,
        quiet=options["quiet"],
    )  # fmt: skip
    write_report(report, options, inputs=(source, options["groups"]))


@command.command("merge")
@click.argument("audits", type=PATH, nargs=-1, required=True)
@report_options
def merge_command(audits: tuple[Path, ...], **options: Any) -> None:
    """Merge the AUDITS of several sites, which exchange only counts.

    The result equals an audit of all records together, unless a site suppressed
    counts; those stay suppressed. A record must not be counted at two sites.

    In Python: curate.merge_audits.
    """
    from curate.balance.audit.run import merge_audits

    check_outputs(audits, report_files(options), "audit")
    write_report(merge_audits(audits), options, inputs=audits)


_LABELS_EPILOG = """\b
Examples:
  curate audit labels labels.txt --judgments round1.csv -o labels.json --html labels.html
  curate audit labels photos/ --judgments round1.csv --source photos/ --undecided keep
  curate audit labels labels.txt --judgments round1.csv --judgments appeal.csv -o labels.json
"""


@command.command("labels", epilog=_LABELS_EPILOG)
@click.argument("vocabulary", type=SOURCE)
@click.option(
    "--judgments",
    type=PATH,
    multiple=True,
    required=True,
    metavar="TABLE",
    help="CSV, TSV, JSON Lines or Parquet with the columns label, annotator, and safety (safe, "
    "sensitive, offensive), imageability (1 to 5) or both. Can be repeated, latest last: a later "
    "judgment of an annotator on a label replaces the earlier one.",
)
@click.option(
    "--source",
    type=SOURCE,
    metavar="DATASET",
    help="Count the images of each label, and those that a removal would affect.",
)
@click.option(
    "--offensive-share",
    type=float,
    default=OFFENSIVE_SHARE,
    show_default=True,
    metavar="SHARE",
    help="Remove a label if at least this share of its annotators rate it offensive.",
)
@click.option(
    "--unsafe-share",
    type=float,
    default=UNSAFE_SHARE,
    show_default=True,
    metavar="SHARE",
    help="Remove a label if at least this share rate it sensitive or offensive.",
)
@click.option(
    "--min-imageability",
    type=float,
    default=MIN_IMAGEABILITY,
    show_default=True,
    metavar="RATING",
    help="Remove a label whose imageability is below this rating.",
)
@click.option(
    "--imageability",
    type=click.Choice(["mean", "median"]),
    default="mean",
    show_default=True,
    help="Statistic of the ratings that --min-imageability applies to.",
)
@click.option(
    "--min-annotators",
    type=click.IntRange(1),
    default=MIN_ANNOTATORS,
    show_default=True,
    metavar="N",
    help="Minimum judgments per question; a label with fewer is undecided.",
)
@click.option(
    "--undecided",
    type=click.Choice(["keep", "remove"]),
    help="How `curate balance` treats undecided labels. [default: it refuses the report]",
)
@SEED
@LAYOUT
@report_options
def labels_command(vocabulary: str, **options: Any) -> None:
    """Decide which labels to keep, from the judgments of several annotators.

    VOCABULARY is a text file with one label per line, a JSON list, a table with a
    column label (optionally name and gloss), or a dataset, whose categories are
    used. Each label is kept, removed (offensive, sensitive, not imageable) or
    undecided, with the judgments and the inter-annotator agreement (Krippendorff's
    alpha). Nothing is removed here. curate contains no word list.

    In Python: curate.audit_labels.
    """
    from curate.balance.labels.rules import LabelRules
    from curate.balance.labels.run import audit_labels

    inputs = [vocabulary, options["source"], *options["judgments"]]
    check_outputs(inputs, report_files(options), "audit labels")
    rules = LabelRules(
        offensive_share=options["offensive_share"],
        unsafe_share=options["unsafe_share"],
        min_imageability=options["min_imageability"],
        imageability=options["imageability"],
        min_annotators=options["min_annotators"],
        undecided=options["undecided"],
    )
    report = audit_labels(
        vocabulary,
        options["judgments"],
        options["source"],
        rules,
        options["layout"],
        options["seed"],
    )
    write_report(report, options, inputs=inputs)
