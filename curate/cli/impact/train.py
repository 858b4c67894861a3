"""``curate impact train``: train on either dataset, test on both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from curate.cli.impact import BATCH, group_options
from curate.cli.interrupt import stop_on_interrupt
from curate.cli.options import DEVICE, LABELS, LAYOUT, PATH, SEED, SOURCE, WORKERS
from curate.cli.output import check_outputs, report_files, report_options, write_report
from curate.core.errors import UsageError

_HYPERPARAMETERS = ("epochs", "size", "batch", "lr")

_EPILOG = """Networks are trained from scratch. For each seed one is trained on original and
one on obfuscated images, with the same initial weights, order of images and
crops. Each is tested on both, relative to trained and tested on original images:

\b
  deployment  trained on obfuscated, tested on original images
  diagonal    trained and tested on obfuscated images
  unadapted   trained on original, tested on obfuscated images

ORIGINAL's train split is trained on and its val or test split tested on; for a
dataset with one split --holdout sets images aside. --weights multiplies each
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
@click.argument("original", type=SOURCE)
@click.argument("obfuscated", type=PATH)
@click.option(
    "--seeds",
    type=int,
    metavar="N",
    help="Networks per dataset. [default: 3, or 1 with --probe]",
)
@SEED
@click.option("--epochs", type=int, metavar="N", help="Number of epochs. [default: 60]")
@click.option(
    "--size", type=int, metavar="PIXELS", help="Side of the network's input. [default: 64]"
)
@BATCH
@click.option("--lr", type=float, metavar="X", help="Highest learning rate. [default: 0.002]")
@click.option(
    "--probe",
    metavar="MODEL",
    help="Fit a linear classifier on this model's frozen features instead of training from "
    "scratch, which takes minutes. MODEL is as in curate impact evaluate, such as imagenet.",
)
@LABELS
@click.option(
    "--weights",
    type=PATH,
    metavar="TABLE",
    help="A table with columns id and weight, as written by curate balance.",
)
@group_options
@click.option(
    "--holdout",
    type=float,
    metavar="SHARE",
    help="Share of each class to test on, for a dataset with one split. [default: 0.2]",
)
@LAYOUT
@DEVICE
@WORKERS
@click.option(
    "--work",
    type=PATH,
    metavar="FOLDER",
    help="Folder for resized images and checkpoints, removed at the end. [default: that of the "
    "report]",
)
@click.option(
    "--predictions",
    type=PATH,
    metavar="FOLDER",
    help="Also write every network's predictions, for curate impact predictions.",
)
@report_options
def command(original: str, obfuscated: Path, **options: Any) -> None:
    """Train on ORIGINAL and on OBFUSCATED, and test each network on both.

    How much accuracy does a model lose that is trained on obfuscated images
    and used on original ones? OBFUSCATED is the OUT of curate blur, or a
    dataset of the same images. Reports four accuracies with the gaps between
    them, with intervals over seeds and images; by class, by faces and by
    group; and learning curves. Run the same command again to resume after an
    interruption.

    In Python: curate.train_impact.
    """
    from curate.impact.train.options import TrainSession
    from curate.impact.train.run import train_impact

    chosen = _make_options(options)
    work = options["work"] or (options["output"].parent if options["output"] else Path())
    _check_outputs(original, obfuscated, work, options)
    session = TrainSession(
        work=work, workers=options["workers"], predictions=options["predictions"]
    )
    with stop_on_interrupt(session.stop, "epochs"):
        report = train_impact(original, obfuscated, chosen, session, quiet=options["quiet"])
    write_report(report, options, inputs=(original, obfuscated))


def _make_options(options: dict[str, Any]) -> Any:
    from curate.impact.train.options import Hyperparameters, TrainOptions

    given = {name: options[name] for name in _HYPERPARAMETERS if options[name] is not None}
    if options["probe"] is not None and given:
        raise UsageError(
            f"--{next(iter(given))} is for networks trained from scratch; leave it out with --probe"
        )
    names = ("seeds", "seed", "probe", "labels", "weights", "groups", "by", "holdout", "device",
             "layout", "allow_missing")  # fmt: skip
    return TrainOptions(
        hyperparameters=Hyperparameters(**given), **{name: options[name] for name in names}
    )


def _check_outputs(original: str, obfuscated: Path, work: Path, options: dict[str, Any]) -> None:
    tables = [options[name] for name in ("labels", "weights", "groups")]
    check_outputs([original, obfuscated, *tables], report_files(options), "impact train")
    if not work.is_dir():
        raise UsageError(f"--work {work} is not a folder; create it first")
    predictions = options["predictions"]
    if predictions is not None and not (predictions.is_dir() or predictions.parent.is_dir()):
        raise UsageError(f"--predictions {predictions} is not in an existing folder")
    if predictions is not None and predictions.exists() and not predictions.is_dir():
        raise UsageError(f"--predictions {predictions} is a file; give a folder")
    if predictions is not None and predictions.is_dir():
        from curate.impact.train.predictions import is_file_name

        others = [path.name for path in predictions.iterdir() if not is_file_name(path.name)]
        if others:
            raise UsageError(
                f"{predictions} contains other files, such as {min(others)!r}; give an empty or "
                "new folder"
            )
    for dataset in (Path(original), obfuscated):
        for path in filter(None, (work, predictions)):
            if dataset.is_dir() and path.resolve().is_relative_to(dataset.resolve()):
                raise UsageError(f"cannot write {path}: it is, or is inside, the input {dataset}")
