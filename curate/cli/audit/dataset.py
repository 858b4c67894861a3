"""``curate audit``: who is in a dataset, in which numbers and under which labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from curate.cli.audit.answers import check_outputs, report_options, write_answer
from curate.cli.options import PATH, PLACE
from curate.core.errors import UsageError
from curate.layouts.access.address import is_address

_EPILOG = """\b
Examples:
  curate audit photos/ --groups people.csv --by gender --by age --by gender,age
  curate audit people.csv --by gender,age --label job -o audit.json --html audit.html
  curate audit people.csv --by age --bins "age=child<18,adult<65,old" --min-cell 10
  curate audit photos/ --groups people.csv --by skin_tone --manifest out/
  curate audit merge site1.json site2.json -o all.json
  curate audit labels labels.txt --judgements round1.csv
"""


@click.command("dataset", epilog=_EPILOG)
@click.argument("source", type=PLACE, required=False)
@click.option(
    "--groups",
    type=PATH,
    metavar="TABLE",
    help="CSV, TSV, JSON Lines or Parquet with a column of ids: file names or paths, of which "
    "the end is enough where it is unique. Or COCO JSON, with attributes in its annotations.",
)
@click.option("--id", "id_column", metavar="COLUMN", help="The column of ids. [default: as named]")
@click.option(
    "--manifest",
    type=PATH,
    metavar="OUT",
    help="A finished run: adds the columns outcome, has_face, faces and blurred_share, and says "
    "whether some groups are hidden less well.",
)
@click.option(
    "--by",
    multiple=True,
    required=True,
    metavar="NAME[,NAME…]",
    help="An attribute, or several crossed; can be repeated.",
)
@click.option("--label", metavar="NAME", help="The column of labels, such as category.")
@click.option(
    "--per",
    type=click.Choice(["record", "person"]),
    default="record",
    help="Count each record once, where several values make a group of their own (Female+Male); "
    "or each person: each line of an id, each place in a list. [default: record]",
)
@click.option("--separator", metavar="TEXT", help="Stands between several values in one field.")
@click.option(
    "--bins",
    multiple=True,
    metavar="NAME=RANGES",
    help="Ranges of a number: age=child<18,adult<65,old or age=18,65; can be repeated.",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    type=PATH,
    metavar="TABLE",
    help="A reference population: columns named like attributes, and share or count. "
    "[default: all groups even]",
)
@click.option(
    "--threshold",
    type=click.IntRange(1),
    default=30,
    metavar="N",
    help="A combination of values with fewer records is uncovered. [default: 30]",
)
@click.option(
    "--min-cell",
    "least",
    type=click.IntRange(2),
    metavar="N",
    help="For a public report: hide counts below N, and others that give them away.",
)
@click.option(
    "--epsilon",
    type=float,
    metavar="E",
    help="For a public report: add noise of this privacy budget to all counts (extra dp).",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Of resampling. [default: 0]")
@click.option("--format", "layout", default="auto", help="SOURCE's layout. [default: auto]")
@report_options
def command(source: str | None, **options: Any) -> None:
    """Count the groups of a dataset or table, and say what is uneven.

    Counts, shares and distances to a target for every attribute and
    combination; which labels go with which groups; combinations that are hardly
    there; base rates, and reversals between them. Missing values are a group of
    their own. The report is JSON. `curate audit merge` joins those of several sites;
    `curate audit labels` decides which labels are safe to keep.
    """
    from curate.balance.audit.run import Question, audit_dataset
    from curate.balance.groups import parse_bins

    place = None if source is None or is_address(source) else Path(source)
    check_outputs([place, options["groups"], options["manifest"], *options["targets"]], options)
    bins = [parse_bins(text) for text in options["bins"]]
    if len(dict(bins)) < len(bins):
        raise UsageError("--bins is given twice for one column")
    question = Question(
        groups=options["groups"],
        id_column=options["id_column"],
        manifest=options["manifest"],
        by=tuple(tuple(part.strip() for part in text.split(",")) for text in options["by"]),
        label=options["label"],
        per=options["per"],
        separator=options["separator"],
        bins=dict(bins),
        targets=options["targets"],
        threshold=options["threshold"],
        least=options["least"],
        epsilon=options["epsilon"],
        seed=options["seed"],
        layout=options["layout"],
    )
    write_answer(audit_dataset(source, question), options)
