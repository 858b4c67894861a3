"""``curate balance``: correct how groups are represented, and say what that cost."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from curate.cli.balance.answers import write_answer
from curate.cli.balance.options import balance_options, read_options
from curate.cli.options import PLACE
from curate.cli.progress import stop_on_interrupt, telling, watching
from curate.core.errors import UsageError

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
  split             suggest a split, with near-duplicates in one part: a table of ids

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
  curate balance out/ --strategy split --duplicates duplicates.json -o splits.csv
"""


@click.command(epilog=_EPILOG)
@click.argument("source", type=PLACE, required=False)
@balance_options
def command(source: str | None, **options: Any) -> None:
    """Correct how groups are represented in SOURCE, and write OUT.

    SOURCE is the OUT of `curate blur` or of an earlier `curate balance`, a dataset, or a
    table; it is only read. OUT gets data/, in SOURCE's layout, with annotations that fit,
    and manifest/, with a row for every record: kept, removed and why, or made and how; or,
    for weights, manifest/weights.parquet. Audits before and after, what was lost and made,
    and how bias has changed, stand in the report. Run it again to go on after an
    interruption.
    """
    if options["strategy"] == "split":
        _split(source, options)
        return
    for name in ("fractions", "duplicates"):
        if options.pop(name) is not None:
            raise UsageError(f"--{name} is for --strategy split")
    from curate.balance.correct.run import balance, preview_balance
    from curate.pipeline.session import Session

    _check_places(source, options)
    balancing, inputs = read_options(options)
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
    write_answer(done, options)


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
        click.echo(json.dumps({"version": 1, **dataclasses.asdict(done)}, indent=2))
    elif not options["quiet"]:
        parts = ", ".join(f"{name} {count:,}" for name, count in done.images.items())
        click.echo(f"{done.out}: {parts}; {done.together:,} groups of near-duplicates kept "
                   "together.", err=True)  # fmt: skip


def _parse_fractions(text: str) -> dict[str, float]:
    parts = [part.partition("=") for part in text.split(",")]
    try:
        return {name.strip(): float(share) for name, _, share in parts}
    except ValueError:
        raise UsageError(
            f"--fractions {text!r} cannot be read; give NAME=SHARE,…, as in train=0.8,test=0.2"
        ) from None


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
