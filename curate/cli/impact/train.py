"""``curate impact train``: train on either dataset, test on both."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli.impact.answers import check_outputs, report_options
from curate.cli.options import PATH, PLACE
from curate.cli.progress import stop_on_interrupt, telling, watching_steps
from curate.core.errors import UsageError
from curate.layouts import LAYOUTS

if TYPE_CHECKING:
    from curate.impact.train.crossed import Estimate
    from curate.impact.train.run import Answer

_OF_A_NETWORK = ("epochs", "size", "batch", "lr")

_EPILOG = """\b
Networks start from scratch. For each seed one is trained on original and one on
obfuscated images, with the same first weights, order of images and crops, and
each is tested on both:
  deployment  trained on obfuscated, tested on original images
  diagonal    trained and tested on obfuscated images
  unadapted   trained on original, tested on obfuscated images
all minus trained and tested on original images.

\b
ORIGINAL's train split is trained on and its val or test split tested on; of a
dataset with one split --holdout keeps images back. --weights multiplies each
image's loss by its weight (no sampler: networks with and without weights then
see the same images in the same order) and trains the networks without weights
as well, so that every group's accuracy is compared.

\b
Examples:
  curate impact train photos/ out/ -o train.json --html train.html
  curate impact train photos/ out/ --probe imagenet -o probe.json
  curate impact train photos/ out/ --weights weights.parquet --groups people.csv \\
      --by gender -o train.json
"""


@click.command("train", epilog=_EPILOG)
@click.argument("original", type=PLACE)
@click.argument("obfuscated", type=PATH)
@click.option(
    "--seeds",
    type=int,
    metavar="N",
    help="Networks for each dataset. [default: 3, or 1 with --probe]",
)
@click.option(
    "--seed", type=int, default=0, help="The first seed, also of the hold-out. [default: 0]"
)
@click.option("--epochs", type=int, metavar="N", help="Times each image is seen. [default: 60]")
@click.option("--size", type=int, metavar="PX", help="Side of what the network sees. [default: 64]")
@click.option("--batch", type=int, metavar="N", help="Images per step. [default: 32]")
@click.option("--lr", type=float, metavar="X", help="Highest learning rate. [default: 0.002]")
@click.option(
    "--probe",
    metavar="MODEL",
    help="Instead of networks from scratch, fit a linear classifier on this model's frozen "
    "features: an answer in minutes. MODEL is as in curate impact evaluate, such as imagenet.",
)
@click.option(
    "--labels",
    type=PATH,
    metavar="TABLE",
    help="CSV, TSV, JSON Lines or Parquet with columns id and label, for a dataset whose images "
    "are not in folders of classes.",
)
@click.option(
    "--weights",
    type=PATH,
    metavar="FILE",
    help="A table with columns id and weight, as curate balance writes it.",
)
@click.option(
    "--groups",
    type=PATH,
    metavar="TABLE",
    help="CSV, TSV, JSON Lines or Parquet with a column id; its other columns are attributes.",
)
@click.option(
    "--by",
    multiple=True,
    metavar="NAME",
    help="An attribute to group test images by; can be repeated. [default: all with 2 to 12 "
    "values]",
)
@click.option(
    "--holdout",
    type=float,
    metavar="SHARE",
    help="Share of each class to test on, for a dataset of one split. [default: 0.2]",
)
@click.option(
    "--allow-missing",
    is_flag=True,
    help="Leave images out that only one dataset has, instead of stopping. Those that the "
    "manifest says were withheld are left out anyway.",
)
@click.option(
    "--format",
    "layout",
    type=click.Choice(["auto", *LAYOUTS]),
    default="auto",
    help="Layout of both datasets. [default: auto]",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    help="[default: auto, CUDA where there is one]",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 4096),
    metavar="N",
    help="Processes; changes no figure. [default: one per core]",
)
@click.option(
    "--work",
    type=PATH,
    metavar="DIR",
    help="Where small copies of the images and checkpoints are kept until all is done. "
    "[default: beside the report]",
)
@click.option(
    "--predictions",
    type=PATH,
    metavar="DIR",
    help="Also write every network's predictions, for curate impact predictions.",
)
@report_options
def command(original: str, obfuscated: Path, **options: Any) -> None:
    """Train on ORIGINAL and on OBFUSCATED, and test each network on both.

    What does a model lose that was trained on obfuscated images and is used
    on ordinary ones? OBFUSCATED is the OUT of curate blur, or a dataset of
    the same images. Four accuracies with the gaps between them, intervals
    over seeds and images; by class, by faces and by group; learning curves.
    Run the same command again to go on after an interruption. The report is
    JSON.
    """
    from curate.impact.train.plan import Running
    from curate.impact.train.run import train

    request = _request(original, obfuscated, options)
    running = Running(
        work=_work(options),
        workers=options["workers"],
        predictions=options["predictions"],
        tell=telling(quiet=options["quiet"]),
    )
    _check_places(original, obfuscated, running, options)
    with (
        watching_steps(quiet=options["quiet"]) as watch,
        stop_on_interrupt(running.stop, "epochs"),
    ):
        answer = train(request, dataclasses.replace(running, watch=watch))
    _write(answer, options)


def _request(original: str, obfuscated: Path, options: dict[str, Any]) -> Any:
    from curate.impact.train.hyperparameters import Hyperparameters
    from curate.impact.train.plan import Request

    given = {name: options[name] for name in _OF_A_NETWORK if options[name] is not None}
    if options["probe"] is not None and given:
        raise UsageError(
            f"--{next(iter(given))} is of networks from scratch; leave it away with --probe"
        )
    kept = ("seeds", "seed", "probe", "labels", "weights", "groups", "by", "holdout", "device",
            "layout", "allow_missing")  # fmt: skip
    return Request(
        original, obfuscated, Hyperparameters(**given), **{name: options[name] for name in kept}
    )


def _work(options: dict[str, Any]) -> Path:
    if options["work"] is not None:
        return Path(options["work"])
    return Path(options["output"]).parent if options["output"] is not None else Path()


def _check_places(original: str, obfuscated: Path, running: Any, options: dict[str, Any]) -> None:
    """Refuse places that cannot be written, or must not be, before the work is done."""
    tables = [options[name] for name in ("labels", "weights", "groups")]
    check_outputs(tables, {**options, "manifest": obfuscated})
    if not running.work.is_dir():
        raise UsageError(f"--work {running.work} is no folder; make it first")
    predictions = running.predictions
    if predictions is not None and not (predictions.is_dir() or predictions.parent.is_dir()):
        raise UsageError(f"--predictions {predictions} lies in no folder; make that first")
    for dataset, name in ((Path(original), "ORIGINAL"), (obfuscated, "OBFUSCATED")):
        if not dataset.is_dir():
            continue
        for place, option in (
            (running.work, "the work folder"), (predictions, "--predictions"),
            (options["output"], "the report"), (options["html"], "the page"),
        ):  # fmt: skip
            if place is not None and place.resolve().is_relative_to(dataset.resolve()):
                raise UsageError(f"{option} would lie inside {name}; choose another place for it")


def _write(answer: Answer, options: dict[str, Any]) -> None:
    """Write the report where it was asked to go, and its main figures to stderr."""
    from curate.storage.atomic import save_text

    report = answer.to_dict()
    if options["html"] is not None:
        from curate.impact.train.page import make_page
        from curate.report.page import render_page

        partial = options["html"].with_name(options["html"].name + ".partial")
        partial.write_text(render_page(make_page(answer)), encoding="utf-8")
        partial.replace(options["html"])
    if options["output"] is not None:
        save_text(options["output"], json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    if options["output"] is None or options["as_json"]:
        click.echo(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False))
    if not options["quiet"]:
        click.echo(format_answer(answer), err=True)


def format_answer(answer: Answer) -> str:
    """The main figures, for a person."""
    transfer, images = answer.transfer, answer.facts["images"]
    seeds = len(transfer.trial.seeds)
    lines = [
        f"{images['train']:,} images trained on, {images['test']:,} tested on, "
        f"{len(transfer.trial.classes):,} classes, {seeds} seed{'s' if seeds > 1 else ''}"
    ]
    for cell, both in transfer.accuracy.items():
        weights = " with weights" if cell.weighted else ""
        name = f"trained on {cell.trained}{weights}, tested on {cell.tested}"
        lines.append(f"{name}: {_share(both.top1)}")
    for name, both in transfer.gaps.items():
        lines.append(f"{name} gap: {_points(both.top1)}")
    for name, both in transfer.weighted_gaps.items():
        lines.append(f"{name} gap with weights: {_points(both.top1)}")
    return "\n".join([*lines, *answer.notes])


def _share(estimate: Estimate) -> str:
    low, high = estimate.interval
    return f"{100 * estimate.value:.2f} % ({100 * low:.2f} to {100 * high:.2f})"


def _points(estimate: Estimate) -> str:
    low, high = estimate.interval
    return (
        f"{100 * estimate.value:+.2f} points ({100 * low:+.2f} to {100 * high:+.2f}), "
        f"p {estimate.p:.3g}"
    )
