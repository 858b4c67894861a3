"""``curate impact explain``: what a classifier's answers rest on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli.impact.answers import check_outputs, report_options, save_text
from curate.cli.options import PATH, PLACE
from curate.cli.progress import watching_steps
from curate.core.errors import UsageError
from curate.impact.explain.attribution import METHODS
from curate.layouts import LAYOUTS
from curate.layouts.access.address import is_address

if TYPE_CHECKING:
    from curate.impact.explain.face_share import Estimate
    from curate.impact.explain.run import Answer

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
@click.argument("original", type=PLACE)
@click.argument("obfuscated", type=PATH)
@click.option(
    "--model",
    default="imagenet",
    metavar="MODEL",
    help="The classifier, as for curate impact evaluate. [default: imagenet]",
)
@click.option(
    "--classes",
    metavar="FILE|N|imagenet",
    help="Names of the classes in the order of the scores, as for curate impact evaluate. "
    "[default: the model's own, or numbers]",
)
@click.option(
    "--methods",
    default=",".join(METHODS),
    metavar="NAMES",
    help=f"Methods of attribution, with commas. [default: {','.join(METHODS)}]",
)
@click.option(
    "--most",
    type=int,
    default=24,
    help="Explain so many of the images whose prediction changed, the largest changes first. "
    "[default: 24]",
)
@click.option(
    "--predictions",
    type=PATH,
    metavar="FOLDER",
    help="Take from there which predictions changed: what curate impact evaluate --predictions "
    "has kept. [default: ask the model about all images with faces]",
)
@click.option("--sample", type=int, help="Explain so many images with faces, drawn at random.")
@click.option("--ids", type=PATH, metavar="FILE", help="Explain the images listed, an id a line.")
@click.option(
    "--target",
    type=click.Choice(["predicted", "original"]),
    default="predicted",
    help="Whose class is explained: each image's own prediction, or the original's for both. "
    "[default: predicted]",
)
@click.option(
    "--layer",
    metavar="NAME",
    help="The layer that Grad-CAM looks at. [default: the last whose output is an image]",
)
@click.option(
    "--lime-samples",
    type=int,
    default=200,
    help="Images that LIME shows the model for each map. [default: 200]",
)
@click.option(
    "--shap-samples",
    type=int,
    default=200,
    help="Images that KernelSHAP shows the model for each map. [default: 200]",
)
@click.option(
    "--show-originals",
    is_flag=True,
    help="Draw the originals as they are into the page. It then shows faces: give it to nobody "
    "else.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    help="Where the model runs. [default: auto]",
)
@click.option("--seed", type=int, default=0, help="Seed of all that is drawn. [default: 0]")
@click.option(
    "--format",
    "layout",
    type=click.Choice(["auto", *LAYOUTS]),
    default="auto",
    help="ORIGINAL's layout. [default: the one that the run recorded]",
)
@report_options
def command(original: str, obfuscated: Path, **options: Any) -> None:
    """Say what a classifier's answers rest on, and how much of it is faces.

    ORIGINAL is the dataset before, OBFUSCATED the OUT of curate blur. For the
    images whose prediction changed: attributions of both, the share of them
    inside the faces' regions before and after, held against the regions' area
    and against equal regions elsewhere, by class; and whether the methods
    agree. The report is JSON; the page has a contact sheet.
    """
    from curate.detectors import resolve_device
    from curate.impact.explain.run import explain_predictions
    from curate.impact.models import open_model

    _check(original, obfuscated, options)
    question = _ask(options)
    classifier = open_model(options["model"], resolve_device(options["device"]))
    with watching_steps(options["quiet"]) as watch:
        answer = explain_predictions(original, obfuscated, classifier, question, watch)
    _write(answer, options)


def _check(original: str, obfuscated: Path, options: dict[str, Any]) -> None:
    if options["show_originals"] and options["html"] is None:
        raise UsageError("--show-originals puts pictures into the page; name it with --html FILE")
    if options["seed"] < 0:
        raise UsageError("--seed must be 0 or more")
    check_outputs([options["ids"], options["classes"]], {**options, "manifest": obfuscated})
    for path in filter(None, (options["output"], options["html"])):
        if not is_address(original) and path.resolve().is_relative_to(Path(original).resolve()):
            raise UsageError(f"{path} lies inside ORIGINAL; choose another place for it")


def _ask(options: dict[str, Any]) -> Any:
    from curate.impact.explain.attribution.method import Options
    from curate.impact.explain.choice import Choice
    from curate.impact.explain.question import Question

    return Question(
        methods=tuple(name.strip() for name in options["methods"].split(",") if name.strip()),
        options=Options(options["layer"], options["lime_samples"], options["shap_samples"]),
        choice=Choice(
            most=options["most"],
            sample=options["sample"],
            ids=options["ids"],
            kept=options["predictions"],
            seed=options["seed"],
        ),
        classes=options["classes"],
        target=options["target"],
        layout=options["layout"],
        sheet=options["html"] is not None,
        show_originals=options["show_originals"],
    )


def _write(answer: Answer, options: dict[str, Any]) -> None:
    report = json.dumps(answer.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    if options["html"] is not None:
        from curate.impact.explain.page import make_page
        from curate.report.page import render_page

        save_text(render_page(make_page(answer)), options["html"])
    if options["output"] is None or options["as_json"]:
        click.echo(report)
    if options["output"] is not None:
        save_text(report + "\n", options["output"])
    if not options["quiet"]:
        click.echo(format_answer(answer), err=True)


def format_answer(answer: Answer) -> str:
    """The main figures, for a person."""
    from curate.impact.explain.page import describe_choice

    lines = [describe_choice(answer.facts)]
    titles = {each["method"]: each["title"] for each in answer.facts["methods"]}
    for name, found in answer.explanation.overall.items():
        if found.n:
            lines.append(
                f"{titles[name]}: {_percent(found.original.share)} of attribution on faces "
                f"before, {_percent(found.obfuscated.share)} after, "
                f"{100 * found.area:.1f} % of area; "
                f"{_times(found.original.ratio)} chance before, "
                f"{_times(found.obfuscated.ratio)} after, "
                f"{_times(found.original.elsewhere)} elsewhere"
            )
    for each in answer.facts["methods"]:
        if each["unavailable"] is not None:
            lines.append(f"{each['method']}: {each['unavailable']}")
    return "\n".join(lines)


def _percent(estimate: Estimate) -> str:
    text = f"{100 * estimate.value:.1f} %"
    if estimate.interval is not None:
        low, high = estimate.interval
        text += f" ({100 * low:.1f} to {100 * high:.1f})"
    return text


def _times(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} ×"
