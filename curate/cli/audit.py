"""``curate audit``: who is in a dataset, in which numbers and under which labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli.paths import PATH
from curate.core.errors import UsageError
from curate.core.records import escape_unprintable

if TYPE_CHECKING:
    from curate.pipeline.audit import Answer

_EPILOG = """\b
Examples:
  curate audit photos/ --groups people.csv --by gender --by age --by gender,age
  curate audit people.csv --by gender,age --label job -o audit.json --html audit.html
  curate audit people.csv --by age --bins "age=child<18,adult<65,old" --min-cell 10
  curate audit photos/ --groups people.csv --by skin_tone --manifest out/
  curate audit merge site1.json site2.json -o all.json
"""

_MOST_SHOWN = 12


class _Audit(click.Group):
    """Takes what is no name of a command for the dataset to audit."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in self.commands:
            args = ["dataset", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Audit, add_help_option=False)
def command() -> None:
    """Say who is in a dataset."""


_output = click.option(
    "--output", "-o", type=PATH, metavar="FILE", help="Write the JSON here, not to stdout."
)
_html = click.option("--html", type=PATH, metavar="FILE", help="Write a page for people.")
_quiet = click.option("--quiet", "-q", is_flag=True, help="Nothing on stderr but errors.")


@command.command("dataset", epilog=_EPILOG)
@click.argument("source", type=PATH, required=False)
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
@_output
@_html
@_quiet
def dataset(source: Path | None, **options: Any) -> None:
    """Count the groups of a dataset or table, and say what is uneven.

    Counts, shares and distances to a target for every attribute and
    combination; which labels go with which groups; combinations that are hardly
    there; base rates, and reversals between them. Missing values are a group of
    their own. The report is JSON. `curate audit merge` joins those of several sites.
    """
    from curate.balance.groups import parse_bins
    from curate.pipeline.audit import Question, audit_dataset

    _check_outputs([source, options["groups"], options["manifest"], *options["targets"]], options)
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
    _write(audit_dataset(source, question), options)


@command.command("merge")
@click.argument("audits", type=PATH, nargs=-1, required=True)
@_output
@_html
@_quiet
def merge(audits: tuple[Path, ...], **options: Any) -> None:
    """Join the AUDITS of several sites, which share nothing but their counts.

    The same as an audit of all their records together, where no site hid any
    counts; what one hides stays hidden. A record must not be at two sites.
    """
    from curate.pipeline.audit import merge_audits

    _check_outputs(audits, options)
    _write(merge_audits(audits), options)


def _check_outputs(inputs: Sequence[Path | None], options: dict[str, Any]) -> None:
    """Refuse places that cannot be written, or hold what is read, before anything is done."""
    for path in filter(None, (options["output"], options["html"])):
        if path.is_dir() or not path.parent.is_dir():
            raise UsageError(f"{path} cannot be written: give a file in a folder that is there")
        for given in filter(None, inputs):
            if path.resolve().is_relative_to(given.resolve()):
                raise UsageError(f"{path} is, or lies inside, {given}; choose another place for it")


def _write(answer: Answer, options: dict[str, Any]) -> None:
    from curate.pipeline.audit import save_report
    from curate.pipeline.audit_page import save_page

    report = answer.to_dict()
    if options["html"] is not None:
        save_page(answer, report["statements"], options["html"])
    if options["output"] is None:
        click.echo(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        save_report(report, options["output"])
    if not options["quiet"]:
        click.echo(format_report(report), err=True)


def format_report(report: dict[str, Any]) -> str:
    """The main figures, for a person."""
    lines = []
    given = report["input"] or {}
    for kind, what in (("unmatched", "are no record"), ("ambiguous", "could mean several")):
        if given.get(kind):
            examples = ", ".join(given[f"{kind}_examples"])
            lines.append(f"{given[kind]:,} ids of the table {what}, such as {examples}.")
    for name, grouping in (report["attributes"] | report["intersections"]).items():
        lines.append(f"{name}:")
        groups = grouping["groups"].items()
        ordered = sorted(groups, key=lambda item: -(item[1]["count"] or 0))
        lines += [_format_group(*item) for item in ordered[:_MOST_SHOWN]]
        if len(ordered) > _MOST_SHOWN:
            lines.append(f"  … and {len(ordered) - _MOST_SHOWN:,} more")
    if report["coverage"]:
        threshold = report["rules"]["threshold"]
        lines.append(f"{len(report['uncovered']):,} maximal patterns with fewer than {threshold}.")
    return "\n".join(escape_unprintable(line) for line in (*lines, *report["statements"]))


def _format_group(name: str, group: dict[str, Any]) -> str:
    if group["count"] is None:
        return f"  {name[:40]:<41}{'hidden':>10}"
    low, high = group["ci95"]
    ratio = group["ratio_to_target"]
    share = f"{100 * group['share']:.1f} % ({100 * low:.1f}–{100 * high:.1f})"
    against = "" if ratio is None else f"{ratio:.2f} of target"
    return f"  {name[:40]:<41}{group['count']:>10,}{share:>24}{against:>18}"
