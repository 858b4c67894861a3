"""``curate impact evaluate``: run a classifier on both datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from curate.cli.impact import BATCH, CLASSES, group_options
from curate.cli.interrupt import stop_on_interrupt
from curate.cli.options import (
    DEVICE,
    ENGINE,
    LABELS,
    LAYOUT,
    PATH,
    SEED,
    SHARD_TIMEOUT,
    SOURCE,
    WORKERS,
    read_sharing,
)
from curate.cli.output import check_outputs, report_files, report_options, write_report
from curate.core.errors import UsageError
from curate.impact.models import MODELS
from curate.impact.predictions.control_arms import CONTROLS

_NO_ARMS = "none"
_WIDTH = max(len(name) for name in MODELS)
_MODELS = "\n".join(f"  {name:<{_WIDTH}}  {line}" for name, line in MODELS.describe())

_EPILOG = f"""\b
Models:
{_MODELS}
The preprocessing of a torchscript, onnx or python model is stated after it
where it differs from ImageNet's: size=224 resize=256 fit=shorter|crop|stretch
interpolation=bilinear range=1 mean=0.485/0.456/0.406 std=0.229/0.224/0.225
order=rgb|bgr. A model is a program: run only models that you trust.

\b
Examples:
  curate impact evaluate photos/ out/ -o impact.json --html impact.html
  curate impact evaluate photos/ out/ --model timm:resnet50.a1_in1k
  curate impact evaluate photos/ out/ --classes names.txt \\
      --model onnx:model.onnx,size=299,resize=342,mean=0.5,std=0.5
  curate impact evaluate photos/ other/ --labels labels.csv --arms none
"""


@click.command("evaluate", epilog=_EPILOG)
@click.argument("original", type=SOURCE)
@click.argument("obfuscated", type=PATH)
@click.option(
    "--model",
    metavar="MODEL",
    help="The classifier, see below. [default: imagenet, where categories are WordNet ids]",
)
@CLASSES
@LABELS
@click.option(
    "--arms",
    metavar="LIST",
    help=f"Control arms, {','.join(CONTROLS)}; or none. [default: both, if there is a manifest]",
)
@group_options
@click.option(
    "--predictions",
    type=PATH,
    metavar="FOLDER",
    help="Keep the predictions for impact predictions and impact explain. [default: FILE.work "
    "beside --output, removed at the end]",
)
@LAYOUT
@DEVICE
@BATCH
@WORKERS
@ENGINE
@SHARD_TIMEOUT
@SEED
@report_options
def command(original: str, obfuscated: Path, **options: Any) -> None:
    """Run a classifier on ORIGINAL and on OBFUSCATED, and compare.

    OBFUSCATED is the OUT of curate blur, or a dataset of the same layout.
    Measures all that impact predictions does and, with OUT's manifest, two
    control arms that are generated on the fly: reencoded (the same blocks
    encoded again, nothing hidden) and random-region (as much hidden by the
    same method, away from the faces). They separate the effect of hiding
    faces from that of encoding and of hiding any region. Run the same command
    again to resume after an interruption.

    In Python: curate.evaluate_impact.
    """
    from curate.impact.evaluate.run import EvaluateOptions, evaluate_impact
    from curate.pipeline.session import Session

    names = ("model", "classes", "labels", "groups", "by", "allow_missing", "device", "batch")
    folder, output = options["predictions"], options["output"]
    if folder is None and output is not None:
        folder = output.with_name(f"{output.name}.work")
    chosen = EvaluateOptions(
        **{name: options[name] for name in names},
        arms=_parse_arms(options["arms"]),
        seed=options["seed"],
        folder=folder,
        keep=options["predictions"] is not None,
    )
    _check_outputs(original, obfuscated, options)
    session = Session(layout=options["layout"], workers=options["workers"], **read_sharing(options))
    with stop_on_interrupt(session.stop):
        report = evaluate_impact(original, obfuscated, chosen, session, quiet=options["quiet"])
    write_report(report, options, inputs=(original, obfuscated))


def _parse_arms(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    if text == _NO_ARMS:
        return ()
    return tuple(dict.fromkeys(part.strip() for part in text.split(",")))


def _check_outputs(original: str, obfuscated: Path, options: dict[str, Any]) -> None:
    tables = [options[name] for name in ("labels", "groups", "classes")]
    check_outputs([original, obfuscated, *tables], report_files(options), "impact")
    folder = options["predictions"]
    if folder is not None:
        if folder.is_file() or not folder.parent.is_dir():
            raise UsageError(f"cannot write {folder}: give a folder in an existing folder")
        for dataset in (Path(original), obfuscated):
            if folder.resolve().is_relative_to(dataset.resolve()):
                raise UsageError(f"cannot write {folder}: it is inside the input {dataset}")
