"""The options of ``curate balance``, and what they ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli.options import PATH
from curate.core.errors import UsageError

if TYPE_CHECKING:
    from curate.balance.correct.options import Balancing, Inputs

_STRATEGIES = ("reweigh", "subset", "oversample", "augment", "augment-positive", "labels")

_OPTIONS = (
    click.option("--output", "-o", "out", type=PATH, metavar="OUT", help="Where the result goes."),
    click.option(
        "--strategy", required=True, type=click.Choice(_STRATEGIES), help="What to do; see below."
    ),
    click.option(
        "--groups",
        type=PATH,
        metavar="TABLE",
        help="CSV, TSV, JSON Lines or Parquet with a column of ids, or COCO JSON; as of `curate "
        "audit`.",
    ),
    click.option(
        "--id", "id_column", metavar="COLUMN", help="The column of ids. [default: as named]"
    ),
    click.option(
        "--by",
        multiple=True,
        metavar="NAME[,NAME…]",
        help="The groups to bring to the target: an attribute, or several crossed; can be "
        "repeated, and all targets are then met together.",
    ),
    click.option(
        "--within",
        metavar="NAME",
        help="A column of labels: the target is to be met within each label. [default: over all]",
    ),
    click.option(
        "--label", metavar="NAME", help="The column of labels for audits, --positive and --labels."
    ),
    click.option(
        "--target",
        "targets",
        multiple=True,
        metavar="uniform|observed|TABLE",
        help="Even groups; their shares as they are, in every label; or a reference population: "
        "columns named like attributes, and share or count. [default: uniform]",
    ),
    click.option(
        "--tolerance",
        type=click.FloatRange(0, 1, max_open=True),
        metavar="SHARE",
        help="How far each group's share may be from its target. [default: 0.01, or a tenth of the "
        "smallest share that a target wants, if that is less]",
    ),
    click.option(
        "--min-per-label",
        "least",
        type=click.IntRange(0),
        metavar="N",
        help="Records that every label keeps; fewer is an error. [default: 1 with --within, "
        "else 0]",
    ),
    click.option(
        "--most-copies",
        type=click.IntRange(2),
        default=10,
        metavar="N",
        help="Times that one record may be in the result, itself included. [default: 10]",
    ),
    click.option("--positive", metavar="LABEL", help="The label that augment-positive adds."),
    click.option(
        "--base-rate",
        "rate",
        default="highest",
        metavar="highest|overall|RATE",
        help="The base rate that every group should reach. [default: highest]",
    ),
    click.option(
        "--labels", type=PATH, metavar="FILE", help="The report of `curate audit labels`."
    ),
    click.option(
        "--augmentation",
        metavar="PRESET|FILE",
        help="photometric (colours), flip (mirrored, and colours) or geometric (turned and "
        "scaled a little, too), or a file that albumentations.save has written. [default: flip]",
    ),
    click.option(
        "--split",
        "splits",
        multiple=True,
        metavar="NAME",
        help="Correct only this split; can be repeated. The others stay as they are. [default: "
        "all, but nothing is ever made for validation or test]",
    ),
    click.option(
        "--per",
        type=click.Choice(["record", "person"]),
        default="record",
        help="Whether targets are for records, where several people make a group of their own "
        "(Female+Male), or for people. [default: record]",
    ),
    click.option("--separator", metavar="TEXT", help="Stands between several values in one field."),
    click.option(
        "--bins",
        multiple=True,
        metavar="NAME=RANGES",
        help="Ranges of a number, as of `curate audit`.",
    ),
    click.option("--format", "layout", default="auto", help="SOURCE's layout. [default: auto]"),
    click.option(
        "--list-only", is_flag=True, help="Write what is decided of every record, and no images."
    ),
    click.option(
        "--visible-faces",
        is_flag=True,
        help="Write images although SOURCE is not the OUT of `curate blur`: their faces stay "
        "visible.",
    ),
    click.option("--seed", type=click.IntRange(0), default=0, help="Of every choice. [default: 0]"),
    click.option("--workers", type=click.IntRange(1, 4096), metavar="N", help="Processes."),
    click.option(
        "--shard-size",
        type=click.IntRange(1, 1_000_000),
        metavar="N",
        help="Images per unit of work.",
    ),
    click.option(
        "--dry-run", is_flag=True, help="Say what would be done and what it costs; no OUT."
    ),
    click.option("--report", type=PATH, metavar="FILE", help="Write the report here as JSON."),
    click.option("--html", type=PATH, metavar="FILE", help="Write a page for people."),
    click.option("--json", "as_json", is_flag=True, help="The report on stdout."),
    click.option("--quiet", "-q", is_flag=True, help="Nothing on stderr but errors."),
)


def balance_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Every option of the command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_options(options: Mapping[str, Any]) -> tuple[Balancing, Inputs]:
    """What the options ask for.

    Raises:
        UsageError: if they contradict each other.
    """
    from curate.balance.correct.transforms import PRESETS
    from curate.balance.correct.options import AUGMENTING, Balancing, Inputs
    from curate.balance.groups import parse_bins

    label, within = options["label"], options["within"]
    if label is not None and within is not None and label != within:
        raise UsageError("--label and --within name two columns; there can be one of labels")
    least = options["least"]
    if least is not None and label is None and within is None:
        raise UsageError("--min-per-label needs --within or --label, the column of labels")
    named = [text for text in options["targets"] if text in ("uniform", "observed")]
    if len(named) > 1 or (named and len(options["targets"]) > 1):
        raise UsageError("--target is either uniform, or observed, or tables")
    alters = options["strategy"] in AUGMENTING
    if options["augmentation"] is not None and not alters:
        raise UsageError(f"--augmentation is for augment; {options['strategy']} alters nothing")
    augmentation = (options["augmentation"] or "flip") if alters else None
    preset = augmentation if augmentation is None or augmentation in PRESETS else "file"
    bins = [parse_bins(text) for text in options["bins"]]
    if len(dict(bins)) < len(bins):
        raise UsageError("--bins is given twice for one column")
    balancing = Balancing(
        strategy=options["strategy"],
        by=tuple(tuple(part.strip() for part in text.split(",")) for text in options["by"]),
        label=label or within,
        within=within is not None,
        target=named[0] if named else "table" if options["targets"] else "uniform",
        tolerance=options["tolerance"],
        least=int(within is not None) if least is None else least,
        most_copies=options["most_copies"],
        positive=options["positive"],
        rate=_parse_rate(options["rate"]),
        augmentation=preset,
        splits=tuple(dict.fromkeys(options["splits"])),
        per=options["per"],
        separator=options["separator"],
        bins=dict(bins),
        writes_images=not options["list_only"],
        seed=options["seed"],
        shard_size=options["shard_size"],
    )
    inputs = Inputs(
        groups=options["groups"],
        id_column=options["id_column"],
        targets=() if named else tuple(Path(text) for text in options["targets"]),
        labels=options["labels"],
        augmentation=augmentation,
        layout=options["layout"],
        shows_faces=options["visible_faces"],
    )
    return balancing, inputs


def _parse_rate(text: str) -> str | float:
    if text in ("highest", "overall"):
        return text
    try:
        return float(text)
    except ValueError:
        raise UsageError(
            f"--base-rate cannot be {text!r}; give highest, overall or a number"
        ) from None
