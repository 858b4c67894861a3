"""``curate balance``: correct group representation, and report what that costs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli.group import HintedCommand
from curate.cli.interrupt import stop_on_interrupt
from curate.cli.options import (
    BINS,
    GROUPS,
    HTML,
    JSON,
    LAYOUT,
    PATH,
    PER,
    QUIET,
    SEED,
    SEPARATOR,
    SHARD_SIZE,
    SOURCE,
    WORKERS,
    read_sharing,
    share_options,
)
from curate.cli.output import check_outputs, write_report
from curate.cli.printing import echo_json, print_shards, print_summary
from curate.cli.recipe import DROP_KEYS, INCLUDE
from curate.core.errors import UsageError

if TYPE_CHECKING:
    from curate.balance.correct.options import BalanceOptions
    from curate.balance.correct.source import BalanceInputs

_STRATEGIES = ("reweigh", "subset", "oversample", "augment", "augment-positive", "labels", "split")

_EPILOG = """\b
Strategies:
  reweigh           a weight per record (Kamiran and Calders): within each label,
                    groups get the target's share; with --target observed, groups
                    and labels become independent
  subset            the largest subset that meets the target
  oversample        repeat records of under-represented groups until the target is met
  augment           like oversample, but with augmented copies
  augment-positive  augmented copies with the label --positive for groups whose base
                    rate is below --base-rate
  labels            remove records with a label that `curate audit labels` removed
  split             suggest a split that keeps near-duplicates together: a CSV table

\b
Weights in PyTorch:
  table = pandas.read_parquet("OUT/manifest/weights.parquet").set_index("id")
  weights = table.weight[ids_of_my_dataset].tolist()
  sampler = torch.utils.data.WeightedRandomSampler(weights, len(weights))
  loader = torch.utils.data.DataLoader(my_dataset, 64, sampler=sampler)

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

_OPTIONS = (
    click.option(
        "--output",
        "-o",
        "out",
        type=PATH,
        metavar="OUT",
        help="Output folder with data/ and manifest/; for reweigh only manifest/, with "
        "weights.parquet. For split: the CSV table to write.",
    ),
    click.option(
        "--strategy", required=True, type=click.Choice(_STRATEGIES), help="See Strategies below."
    ),
    GROUPS,
    click.option(
        "--fractions",
        metavar="NAME=SHARE,…",
        help="For split: share of each part. [default: train=0.8,test=0.2]",
    ),
    click.option(
        "--duplicates",
        type=PATH,
        metavar="FILE",
        help="For split: JSON of curate duplicates, whose groups stay in one part.",
    ),
    click.option(
        "--id",
        "id_column",
        metavar="COLUMN",
        help="Column of ids in the table. [default: first of the usual names]",
    ),
    click.option(
        "--by",
        multiple=True,
        metavar="NAME[,NAME…]",
        help="Attribute to bring to the target, or several crossed; can be repeated, and all "
        "targets are then met together.",
    ),
    click.option(
        "--within",
        metavar="NAME",
        help="Column of labels: meet the target within each label. [default: over all records]",
    ),
    click.option(
        "--label", metavar="NAME", help="Column of labels, for the audits, --positive and --labels."
    ),
    click.option(
        "--target",
        "targets",
        multiple=True,
        metavar="uniform|observed|TABLE",
        help="uniform; observed: current shares, in every label; or a reference population: "
        "columns named like the attributes, and share or count. [default: uniform]",
    ),
    click.option(
        "--tolerance",
        type=click.FloatRange(0, 1, max_open=True),
        metavar="SHARE",
        help="Maximum difference of a group's share from its target. [default: 0.01, or a tenth "
        "of the smallest target share if that is less]",
    ),
    click.option(
        "--min-per-label",
        type=click.IntRange(0),
        metavar="N",
        help="Minimum records to keep per label. [default: 1 with --within, else 0]",
    ),
    click.option(
        "--max-copies",
        type=click.IntRange(2),
        default=10,
        show_default=True,
        metavar="N",
        help="Maximum occurrences of a record in the result, including the original.",
    ),
    click.option("--positive", metavar="LABEL", help="The label that augment-positive adds."),
    click.option(
        "--base-rate",
        "rate",
        default="overall",
        show_default=True,
        metavar="overall|highest|RATE",
        help="Base rate that every group should reach (augment-positive). It assumes that groups "
        "below it lack positives because of historical or label bias. In simulations it then "
        "halves the gap of true positive rates (.35 to .18; highest: .11, reweigh: .12); where "
        "rates truly differ, it costs accuracy (.845 to .840; highest: .836).",
    ),
    click.option(
        "--labels", type=PATH, metavar="FILE", help="JSON report of `curate audit labels`."
    ),
    click.option(
        "--augmentation",
        metavar="PRESET|FILE",
        help="photometric (colors), flip (mirroring and colors), geometric (also small rotation "
        "and scaling), or a file written by albumentations.save. [default: flip]",
    ),
    click.option(
        "--split",
        "splits",
        multiple=True,
        metavar="NAME",
        help="Correct only this split; can be repeated. [default: all; nothing is added to "
        "validation or test splits]",
    ),
    PER,
    SEPARATOR,
    BINS,
    LAYOUT,
    click.option(
        "--list-only", is_flag=True, help="Write the decision for every record, but no images."
    ),
    click.option(
        "--visible-faces",
        is_flag=True,
        help="Write images although SOURCE is not the OUT of `curate blur`; faces stay visible.",
    ),
    INCLUDE,
    DROP_KEYS,
    SEED,
    WORKERS,
    SHARD_SIZE,
    click.option("--dry-run", is_flag=True, help="Report what would be done; write no OUT."),
    click.option(
        "--report", type=PATH, metavar="FILE", help="Write the report as JSON to this file."
    ),
    HTML,
    JSON,
    QUIET,
)


def _add_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command(cls=HintedCommand, option="--output", epilog=_EPILOG)
@click.argument("source", type=SOURCE, required=False)
@_add_options
@share_options
@click.pass_context
def command(ctx: click.Context, /, source: str | None, **options: Any) -> None:
    """Correct group representation in SOURCE, and write OUT.

    SOURCE is the OUT of `curate blur` or of an earlier `curate balance`, a dataset, or a
    table; it is only read. OUT gets data/, in SOURCE's layout with matching annotations,
    files beside the images as by `curate blur` (--include and --drop-keys that wrote SOURCE
    hold here too), and manifest/, with a row per record: kept, removed (and why), or added
    (and from which); for weights, manifest/weights.parquet. The report has audits before and after,
    what was removed and added, and bias amplification. Run the same command again to
    continue after an interruption. --groups also takes COCO JSON with attributes in its
    annotations.

    In Python: curate.rebalance, curate.rebalance_shards, curate.suggest_splits.
    """
    from curate.balance.correct.run import rebalance, rebalance_shards
    from curate.pipeline.session import Session

    if options["strategy"] == "split":
        if options["shards"] or options["finish"]:
            raise UsageError("--shards and --finish divide the work on images; split has none")
        _split(source, options)
        return
    for name in ("fractions", "duplicates"):
        if options.pop(name) is not None:
            raise UsageError(f"--{name} is for --strategy split")
    if options["out"] is None and not options["dry_run"]:
        raise UsageError("no output folder; give --output OUT or --dry-run")
    if options["labels"] is not None and options["strategy"] != "labels":
        raise UsageError("--labels is for --strategy labels")
    inputs = [source, options["groups"], options["labels"], options["out"]]
    check_outputs(inputs, {"json": options["report"], "html": options["html"]}, "balance")
    chosen, given = read_options(options)
    session = Session(layout=options["layout"], workers=options["workers"], **read_sharing(options))
    if session.shards is not None:
        if source is None or any(options[name] for name in ("dry_run", "report", "html")):
            raise UsageError(
                "--shards makes a part of OUT; give a dataset as SOURCE, and drop --dry-run, "
                "--report and --html"
            )
        with stop_on_interrupt(session.stop):
            part = rebalance_shards(
                source, options["out"], session.shards, chosen, given, session,
                quiet=options["quiet"],
            )  # fmt: skip
        print_shards(ctx, part, options)
    out = None if options["dry_run"] else options["out"]
    with stop_on_interrupt(session.stop):
        done = rebalance(source, out, chosen, given, session, quiet=options["quiet"])
    if isinstance(ctx.obj, float) and done.seconds:  # with the time to start
        done = dataclasses.replace(done, seconds=time.time() - ctx.obj)
    write_report(done, options, json="report", inputs=(source, options["groups"]))


def _split(source: str | None, options: Mapping[str, Any]) -> None:
    """Suggest a split, and print what it comes to."""
    from curate.balance.splits import SplitOptions, suggest_splits

    if source is None or options["out"] is None:
        raise UsageError("split needs SOURCE, and --output FILE.csv for the table")
    fractions = {} if options["fractions"] is None else _parse_fractions(options["fractions"])
    done = suggest_splits(
        source,
        options["out"],
        SplitOptions(
            **({"fractions": fractions} if fractions else {}),
            duplicates=options["duplicates"],
            groups=options["groups"],
            by=tuple(name for each in options["by"] for name in each.split(",")),
            layout=options["layout"],
            seed=options["seed"],
        ),
    )
    if options["as_json"]:
        echo_json({"version": 1, **dataclasses.asdict(done)})
    elif not options["quiet"]:
        print_summary(done.to_text())


def _parse_fractions(text: str) -> dict[str, float]:
    parts = [part.partition("=") for part in text.split(",")]
    try:
        return {name.strip(): float(share) for name, _, share in parts}
    except ValueError:
        raise UsageError(
            f"--fractions {text!r} cannot be read; give NAME=SHARE,…, as in train=0.8,test=0.2"
        ) from None


def read_options(options: Mapping[str, Any]) -> tuple[BalanceOptions, BalanceInputs]:
    """Convert command-line options; raises `UsageError` if they contradict each other."""
    from curate.balance.correct.options import AUGMENTING, BalanceOptions
    from curate.balance.correct.source import BalanceInputs
    from curate.balance.correct.transforms import PRESETS
    from curate.balance.groups import parse_bins
    from curate.layouts.sidecars.content import parse_drop_keys

    label, within, minimum = options["label"], options["within"], options["min_per_label"]
    if label is not None and within is not None and label != within:
        raise UsageError("--label and --within name different columns; give one column of labels")
    if minimum is not None and label is None and within is None:
        raise UsageError("--min-per-label requires --within or --label")
    named = [text for text in options["targets"] if text in ("uniform", "observed")]
    if len(named) > 1 or (named and len(options["targets"]) > 1):
        raise UsageError("--target must be either uniform, or observed, or tables")
    alters = options["strategy"] in AUGMENTING
    if options["augmentation"] is not None and not alters:
        raise UsageError(f"--augmentation is not an option of strategy {options['strategy']}")
    augmentation = (options["augmentation"] or "flip") if alters else None
    preset = augmentation if augmentation is None or augmentation in PRESETS else "file"
    bins = [parse_bins(text) for text in options["bins"]]
    if len(dict(bins)) < len(bins):
        raise UsageError("--bins is given twice for the same column")
    drop_keys = options["drop_keys"]
    same = ("strategy", "tolerance", "max_copies", "positive", "per", "separator", "seed")
    balancing = BalanceOptions(
        **{name: options[name] for name in (*same, "by", "shard_size")},
        label=label or within,
        within=within is not None,
        target=named[0] if named else "table" if options["targets"] else "uniform",
        min_per_label=int(within is not None) if minimum is None else minimum,
        rate=_parse_rate(options["rate"]),
        augmentation=preset,
        splits=tuple(dict.fromkeys(options["splits"])),
        bins=dict(bins),
        writes_images=not options["list_only"],
        include=tuple(options["include"]),
        drop_keys=None if drop_keys is None else tuple(parse_drop_keys(drop_keys.split(","))),
    )
    inputs = BalanceInputs(
        groups=options["groups"],
        id_column=options["id_column"],
        targets=() if named else tuple(Path(text) for text in options["targets"]),
        labels=options["labels"],
        augmentation=augmentation,
        layout=options["layout"],
        visible_faces=options["visible_faces"],
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
