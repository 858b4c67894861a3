"""``curate balance``: correct how groups are represented, and say what that cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli.paths import PATH, PLACE
from curate.cli.progress import stop_on_interrupt, telling, watching
from curate.core.errors import UsageError
from curate.core.records import escape_unprintable

if TYPE_CHECKING:
    from curate.pipeline.balance.balance import Balanced
    from curate.pipeline.balance.options import Balancing, Inputs

_STRATEGIES = ("reweigh", "subset", "oversample", "augment", "augment-positive", "labels")

_EPILOG = """\b
Strategies:
  reweigh           a weight for every record, after Kamiran and Calders: within each
                    label groups weigh what the target says; with --target observed,
                    groups and labels become independent
  subset            the largest part that meets the target; the rest is removed
  oversample        repeat records of scarce groups until the target is met
  augment           the same with records altered by an augmentation
  augment-positive  augmented records with the label --positive for the groups that have
                    it more rarely, until base rates meet --base-rate
  labels            remove what has a label that `curate audit labels` decided against

\b
Weights in PyTorch:
  table = pandas.read_parquet("OUT/manifest/weights.parquet").set_index("id")
  weights = table.weight[ids_of_my_dataset].tolist()
  sampler = torch.utils.data.WeightedRandomSampler(weights, len(weights))
  loader = torch.utils.data.DataLoader(my_dataset, batch_size=64, sampler=sampler)

\b
Examples:
  curate balance out/ --groups people.csv --by gender,age --strategy subset -o even/
  curate balance out/ --groups people.csv --by gender --within category \\
      --target observed --strategy reweigh -o weights/
  curate balance out/ --groups people.csv --by gender --within category \\
      --strategy augment --augmentation flip -o more/
  curate balance out/ --groups people.csv --by gender --label job --positive doctor \\
      --strategy augment-positive -o more/
  curate balance out/ --label category --strategy labels --labels labels.json -o safe/
"""


@click.command(epilog=_EPILOG)
@click.argument("source", type=PLACE, required=False)
@click.option("--output", "-o", "out", type=PATH, metavar="OUT", help="Where the result goes.")
@click.option(
    "--strategy", required=True, type=click.Choice(_STRATEGIES), help="What to do; see below."
)
@click.option(
    "--groups",
    type=PATH,
    metavar="TABLE",
    help="CSV, TSV, JSON Lines or Parquet with a column of ids, or COCO JSON; as of `curate "
    "audit`.",
)
@click.option("--id", "id_column", metavar="COLUMN", help="The column of ids. [default: as named]")
@click.option(
    "--by",
    multiple=True,
    metavar="NAME[,NAME…]",
    help="The groups to bring to the target: an attribute, or several crossed; can be repeated, "
    "and all targets are then met together.",
)
@click.option(
    "--within",
    metavar="NAME",
    help="A column of labels: the target is to be met within each label. [default: over all]",
)
@click.option(
    "--label", metavar="NAME", help="The column of labels for audits, --positive and --labels."
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="uniform|observed|TABLE",
    help="Even groups; their shares as they are, in every label; or a reference population: "
    "columns named like attributes, and share or count. [default: uniform]",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.01,
    help="How far a share may be from its target. [default: 0.01]",
)
@click.option(
    "--min-per-label",
    "least",
    type=click.IntRange(0),
    default=1,
    metavar="N",
    help="Records that every label keeps, with --within; fewer is an error. [default: 1]",
)
@click.option(
    "--most-copies",
    type=click.IntRange(2),
    default=10,
    metavar="N",
    help="Times that one record may be in the result, itself included. [default: 10]",
)
@click.option("--positive", metavar="LABEL", help="The label that augment-positive adds.")
@click.option(
    "--base-rate",
    "rate",
    default="highest",
    metavar="highest|overall|RATE",
    help="The base rate that every group should reach. [default: highest]",
)
@click.option("--labels", type=PATH, metavar="FILE", help="The report of `curate audit labels`.")
@click.option(
    "--augmentation",
    metavar="PRESET|FILE",
    help="photometric (colours), flip (mirrored, and colours) or geometric (turned and scaled a "
    "little, too), or a file that albumentations.save has written. [default: flip]",
)
@click.option(
    "--split",
    "splits",
    multiple=True,
    metavar="NAME",
    help="Correct only this split; can be repeated. The others stay as they are. [default: all, "
    "but nothing is ever made for validation or test]",
)
@click.option(
    "--per",
    type=click.Choice(["record", "person"]),
    default="record",
    help="Whether targets are for records, where several people make a group of their own "
    "(Female+Male), or for people. [default: record]",
)
@click.option("--separator", metavar="TEXT", help="Stands between several values in one field.")
@click.option(
    "--bins", multiple=True, metavar="NAME=RANGES", help="Ranges of a number, as of `curate audit`."
)
@click.option("--format", "layout", default="auto", help="SOURCE's layout. [default: auto]")
@click.option(
    "--list-only", is_flag=True, help="Write what is decided of every record, and no images."
)
@click.option(
    "--visible-faces",
    is_flag=True,
    help="Write images although SOURCE is not the OUT of `curate blur`: their faces stay visible.",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Of every choice. [default: 0]")
@click.option("--workers", type=click.IntRange(1, 4096), metavar="N", help="Processes.")
@click.option("--shard-size", type=click.IntRange(1, 1_000_000), metavar="N",
              help="Images per unit of work.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be done and what it costs; no OUT.")
@click.option("--report", type=PATH, metavar="FILE", help="Write the report here as JSON.")
@click.option("--html", type=PATH, metavar="FILE", help="Write a page for people.")
@click.option("--json", "as_json", is_flag=True, help="The report on stdout.")
@click.option("--quiet", "-q", is_flag=True, help="Nothing on stderr but errors.")
def command(source: str | None, **options: Any) -> None:
    """Correct how groups are represented in SOURCE, and write OUT.

    SOURCE is the OUT of `curate blur` or of an earlier `curate balance`, a dataset, or a
    table; it is only read. OUT gets data/, in SOURCE's layout, with annotations that fit,
    and manifest/, with a row for every record: kept, removed and why, or made and how; or,
    for weights, manifest/weights.parquet. Audits before and after, what was lost and made,
    and how bias has changed, stand in the report. Run it again to go on after an
    interruption.
    """
    from curate.pipeline.balance.balance import balance, preview_balance
    from curate.pipeline.session import Session

    _check_places(source, options)
    balancing, inputs = _read(options)
    if options["dry_run"]:
        done = preview_balance(source, balancing, inputs)
    else:
        with watching(options["quiet"]) as watch:
            session = Session(
                layout=options["layout"],
                workers=options["workers"],
                watch=watch,
                tell=telling(quiet=options["quiet"]),
            )
            with stop_on_interrupt(session.stop):
                done = balance(source, options["out"], balancing, inputs, session)
    _write(done, options)


def _check_places(source: str | None, options: Mapping[str, Any]) -> None:
    """Refuse places that cannot be written, before anything is done."""
    if options["out"] is None and not options["dry_run"]:
        raise UsageError("say where the result goes with --output OUT, or --dry-run")
    for path in filter(None, (options["report"], options["html"])):
        if path.is_dir() or not path.parent.is_dir():
            raise UsageError(f"{path} cannot be written: give a file in a folder that is there")
        given = [options["groups"], options["labels"], Path(source) if source else None]
        for place in [*given, options["out"]]:
            if place is not None and path.resolve().is_relative_to(place.resolve()):
                raise UsageError(f"{path} is, or lies inside, {place}; choose another place for it")


def _read(options: Mapping[str, Any]) -> tuple[Balancing, Inputs]:
    from curate.balance.groups import parse_bins
    from curate.balance.presets import PRESETS
    from curate.pipeline.balance.options import AUGMENTING, Balancing, Inputs

    label, within = options["label"], options["within"]
    if label is not None and within is not None and label != within:
        raise UsageError("--label and --within name two columns; there can be one of labels")
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
        least=options["least"],
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


def _write(done: Balanced, options: Mapping[str, Any]) -> None:
    from curate.pipeline.auditing.audit import save_report

    if options["report"] is not None:
        save_report(done.report, options["report"])
    if options["html"] is not None:
        from curate.pipeline.balance.page import save_page

        save_page(done.report, options["html"])
    if options["as_json"]:
        click.echo(json.dumps(done.report, indent=2, ensure_ascii=False, allow_nan=False))
    if not options["quiet"]:
        lines = [*format_report(done.report), _where(done, options)]
        click.echo("\n".join(escape_unprintable(line) for line in lines), err=True)


def _where(done: Balanced, options: Mapping[str, Any]) -> str:
    if options["dry_run"]:
        return "Nothing was written."
    if done.already_done:
        return f"{options['out']} was finished before; nothing was done."
    return f"{options['out']} is done in {done.seconds:,.1f} s; `curate verify` checks it."


def format_report(report: Mapping[str, Any]) -> list[str]:
    """The main figures, for a person, a line each."""
    counts = report["counts"]
    lines = [
        f"{counts['records']:,} records: {counts['kept']:,} kept, {counts['removed']:,} removed, "
        f"{counts['made']:,} made"
        + (f"; {counts['fixed']:,} more are not corrected" if counts["fixed"] else "")
        + "."
    ]
    given = report["input"]
    for kind, what in (("unmatched", "are no record"), ("ambiguous", "could mean several")):
        if given.get(kind):
            examples = ", ".join(given[f"{kind}_examples"])
            lines.append(f"{given[kind]:,} ids of the table {what}, such as {examples}.")
    if report["weights"] is not None:
        weights = report["weights"]
        lines.append(
            f"weights {weights['least']:.3g} to {weights['greatest']:.3g}, worth "
            f"{weights['effective_sample_size']:,.0f} records of equal weight"
        )
    for name, found in report["comparisons"].items():
        before, after = found["before"], found["after"]
        lines.append(f"{name}:")
        rows = (
            ("off its target", "total_variation"),
            ("off its target, worst label", "worst_total_variation"),
            ("label and group (Cramér's V)", "cramers_v"),
            ("gap of base rates", "rate_gap"),
        )
        lines += [
            f"  {text:<31}{before[key]:>8.3f} -> {after[key]:.3f}"
            for text, key in rows
            if before[key] is not None and after[key] is not None
        ]
        bias = found["amplification"]
        if bias is not None and bias["majority"] is not None and bias["directional"] is not None:
            lines.append(
                f"  bias amplification: majority {bias['majority']:+.3f}, directional "
                f"{bias['directional']:+.3f}"
            )
    return [*lines, *report["statements"]]
