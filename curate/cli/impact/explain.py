"""``curate impact explain``: attribution on faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from curate.cli.impact import CLASSES
from curate.cli.options import DEVICE, LAYOUT, PATH, SEED, SOURCE
from curate.cli.output import check_outputs, report_files, report_options, write_report
from curate.core.errors import UsageError
from curate.impact.explain.attribution import METHODS

_METHODS_LIST = "\n".join(f"  {name}: {summary}" for name, summary in METHODS.describe())

_EPILOG = f"""\b
Methods:
{_METHODS_LIST}

\b
Examples:
  curate impact explain photos/ out/ --html explain.html -o explain.json
  curate impact explain photos/ out/ --sample 100 --methods gradcam,lrp
  curate impact explain photos/ out/ --model onnx:model.onnx --methods lime,shap
"""


@click.command("explain", epilog=_EPILOG)
@click.argument("original", type=SOURCE)
@click.argument("obfuscated", type=PATH)
@click.option(
    "--model",
    default="imagenet",
    show_default=True,
    metavar="MODEL",
    help="The classifier, see curate impact evaluate.",
)
@CLASSES
@click.option(
    "--methods",
    default=",".join(METHODS),
    show_default=True,
    metavar="LIST",
    help="Attribution methods, separated by commas.",
)
@click.option(
    "--max-images",
    type=int,
    default=24,
    show_default=True,
    metavar="N",
    help="Explain at most this many of the images whose prediction changed, largest change first.",
)
@click.option(
    "--predictions",
    type=PATH,
    metavar="FOLDER",
    help="Folder kept by curate impact evaluate --predictions that tells which predictions "
    "changed. [default: run the model on all images with faces]",
)
@click.option(
    "--sample",
    type=int,
    metavar="N",
    help="Explain this many images with faces, drawn at random, instead.",
)
@click.option(
    "--ids",
    type=PATH,
    metavar="FILE",
    help="Explain the listed images instead, one id per line.",
)
@click.option(
    "--target",
    type=click.Choice(["predicted", "original"]),
    default="predicted",
    show_default=True,
    help="Class to explain: each image's own prediction, or the original's for both.",
)
@click.option(
    "--layer",
    metavar="NAME",
    help="Layer of Grad-CAM. [default: the last with spatial output]",
)
@click.option(
    "--lime-samples",
    type=int,
    default=200,
    show_default=True,
    metavar="N",
    help="Samples of LIME for each map.",
)
@click.option(
    "--shap-samples",
    type=int,
    default=200,
    show_default=True,
    metavar="N",
    help="Samples of KernelSHAP for each map.",
)
@click.option(
    "--show-originals",
    is_flag=True,
    help="Show the originals in the HTML page. It contains visible faces; do not share.",
)
@DEVICE
@SEED
@LAYOUT
@report_options
def command(original: str, obfuscated: Path, **options: Any) -> None:
    """Measure how much of a classifier's attribution lies on faces.

    ORIGINAL is the original dataset, OBFUSCATED the OUT of curate blur. For
    the images whose prediction changed: attribution maps of both versions,
    their share inside the regions of faces before and after, compared with
    the regions' area and with equal regions elsewhere, by class; and the
    agreement of the methods. The page has a contact sheet.

    In Python: curate.explain_impact.
    """
    from curate.detectors import resolve_device
    from curate.impact.explain.run import explain_impact
    from curate.impact.models import open_model

    if options["show_originals"] and options["html"] is None:
        raise UsageError("--show-originals adds images to the page; name it with --html FILE")
    inputs = [original, obfuscated, options["ids"], options["classes"], options["predictions"]]
    check_outputs(inputs, report_files(options), "impact explain")
    chosen = _make_options(options)
    model = open_model(options["model"], resolve_device(options["device"]))
    report = explain_impact(original, obfuscated, model, chosen, quiet=options["quiet"])
    write_report(report, options, inputs=(original, obfuscated))


def _make_options(options: dict[str, Any]) -> Any:
    from curate.impact.explain.attribution import MethodOptions
    from curate.impact.explain.options import ExplainOptions, Selection

    selection = ("max_images", "sample", "ids", "predictions", "seed")
    return ExplainOptions(
        methods=tuple(name.strip() for name in options["methods"].split(",") if name.strip()),
        method_options=MethodOptions(
            options["layer"], options["lime_samples"], options["shap_samples"]
        ),
        selection=Selection(**{name: options[name] for name in selection}),
        classes=options["classes"],
        target=options["target"],
        layout=options["layout"],
        sheet=options["html"] is not None,
        show_originals=options["show_originals"],
    )
