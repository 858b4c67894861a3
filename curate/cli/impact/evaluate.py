"""``curate impact evaluate``: run a classifier on both datasets."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from curate.cli.impact.answers import check_outputs, report_options, write_answer
from curate.cli.options import PATH, PLACE
from curate.cli.progress import stop_on_interrupt, telling, watching
from curate.core.errors import UsageError
from curate.impact.evaluate.controls import CONTROLS
from curate.impact.models import MODELS
from curate.layouts import LAYOUTS
from curate.layouts.access.address import is_address

_NO_ARMS = "none"
_WIDTH = max(len(name) for name in MODELS)
_MODELS = "\n".join(f"  {name:<{_WIDTH}}  {line}" for name, line in MODELS.describe())

_EPILOG = f"""\b
Models:
{_MODELS}
What a torchscript, onnx or python model is fed with is stated after it, where
it differs from ImageNet's usual: size=224 resize=256 fit=shorter|crop|stretch
interpolation=bilinear range=1 mean=0.485/0.456/0.406 std=0.229/0.224/0.225
order=rgb|bgr. A model is a program: run only those that you trust.

\b
Examples:
  curate impact evaluate photos/ out/ -o impact.json --html impact.html
  curate impact evaluate photos/ out/ --model timm:resnet50.a1_in1k
  curate impact evaluate photos/ out/ --classes names.txt \\
      --model onnx:model.onnx,size=299,resize=342,mean=0.5,std=0.5
  curate impact evaluate photos/ other/ --labels labels.csv --arms none
"""


@click.command("evaluate", epilog=_EPILOG)
@click.argument("original", type=PLACE)
@click.argument("obfuscated", type=PATH)
@click.option(
    "--model",
    metavar="MODEL",
    help="The classifier, as below. [default: imagenet, where categories are WordNet ids]",
)
@click.option(
    "--classes",
    metavar="FILE|N|imagenet",
    help="Names of the classes in the order of the scores, a line each or a JSON list; how many "
    "there are; or ImageNet's WordNet ids. [default: the model's own]",
)
@click.option(
    "--labels",
    type=PATH,
    metavar="TABLE",
    help="CSV, TSV, JSON Lines or Parquet with columns id and label. [default: the categories of "
    "ORIGINAL]",
)
@click.option(
    "--arms",
    metavar="LIST",
    help=f"Control arms, {','.join(CONTROLS)}; or none. [default: both, if there is a manifest]",
)
@click.option(
    "--groups",
    type=PATH,
    metavar="TABLE",
    help="A table with a column id; its other columns are attributes.",
)
@click.option(
    "--by",
    multiple=True,
    metavar="NAME",
    help="An attribute to group images by; can be repeated. [default: all with 2 to 12 values]",
)
@click.option(
    "--allow-missing",
    is_flag=True,
    help="Leave images out that only one dataset has, instead of stopping.",
)
@click.option(
    "--predictions",
    type=PATH,
    metavar="FOLDER",
    help="Keep the predictions there; impact predictions reads them. [default: FILE.work beside "
    "--output, until done]",
)
@click.option(
    "--format",
    "layout",
    type=click.Choice(["auto", *LAYOUTS]),
    default="auto",
    help="Layout of ORIGINAL. [default: auto]",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    help="Where the model runs. [default: auto]",
)
@click.option("--batch", type=int, metavar="N", help="Images at a time. [default: 8, on CUDA 64]")
@click.option("--seed", type=int, default=0, help="Seed of the bootstrap. [default: 0]")
@report_options
def command(original: str, obfuscated: Path, **options: Any) -> None:
    """Run a classifier on ORIGINAL and on OBFUSCATED, and compare.

    OBFUSCATED is the OUT of curate blur, or a plain dataset of the same
    layout. All that impact predictions says, and, with OUT's manifest, two
    control arms that are made on the fly: reencoded (the same blocks encoded
    again, nothing hidden) and random-region (as much hidden by the same
    method, away from the faces). They tell the cost of hiding faces from that
    of encoding and of hiding anything. Run the same command again to go on
    after an interruption. The report is JSON.
    """
    from curate.impact.evaluate.run import evaluate_impact
    from curate.impact.evaluate.trial import Trial
    from curate.pipeline.session import Session

    if options["seed"] < 0:
        raise UsageError("--seed must be 0 or more")
    _check_places(original, obfuscated, options)
    folder, output = options["predictions"], options["output"]
    if folder is None and output is not None:
        folder = output.with_name(f"{output.name}.work")
    trial = Trial(
        original=original,
        obfuscated=obfuscated,
        model=options["model"],
        classes=options["classes"],
        labels=options["labels"],
        arms=_parse_arms(options["arms"]),
        groups=options["groups"],
        by=options["by"],
        allow_missing=options["allow_missing"],
        device=options["device"],
        batch=options["batch"],
        seed=options["seed"],
        folder=folder,
        keep=options["predictions"] is not None,
    )
    session = Session(layout=options["layout"], tell=telling(quiet=options["quiet"]))
    with watching(quiet=options["quiet"]) as watch, stop_on_interrupt(session.stop):
        answer = evaluate_impact(trial, dataclasses.replace(session, watch=watch))
    write_answer(answer, options)


def _parse_arms(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    if text == _NO_ARMS:
        return ()
    return tuple(dict.fromkeys(part.strip() for part in text.split(",")))


def _check_places(original: str, obfuscated: Path, options: dict[str, Any]) -> None:
    """Refuse places that would be written into a dataset."""
    inputs = [options[name] for name in ("labels", "groups", "classes")]
    check_outputs(inputs, {**options, "manifest": obfuscated})
    datasets = [obfuscated, *([] if is_address(original) else [Path(original)])]
    for name in ("output", "html", "predictions"):
        path = options[name]
        if path is None:
            continue
        for dataset in datasets:
            if path.resolve().is_relative_to(dataset.resolve()):
                raise UsageError(f"{path} lies inside {dataset}; choose another place for it")
    folder = options["predictions"]
    if folder is not None and (folder.is_file() or not folder.parent.is_dir()):
        raise UsageError(f"{folder} cannot be written: give a folder whose parent is there")
