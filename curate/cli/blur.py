"""``curate blur``: the main job."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli.progress import stop_on_interrupt, watching
from curate.core.errors import UsageError
from curate.detectors import DETECTORS, resolve_device
from curate.obfuscators import OBFUSCATORS
from curate.recipe import PROFILES, Recipe

if TYPE_CHECKING:
    from curate.pipeline.blur import Summary

_METHODS = "\n".join(f"  {name}: {summary}" for name, summary in OBFUSCATORS.describe())
_DETECTORS = "\n".join(f"  {name}: {summary}" for name, summary in DETECTORS.describe())

_EPILOG = f"""\b
Methods:
{_METHODS}

\b
Detectors:
{_DETECTORS}

\b
Examples:
  curate blur photos/ out/
  curate blur photos/ out/ --profile thorough --workers 8
  curate blur photos/ out/ --method fill --method-option color=#808080
  curate blur photos/ out/ --dry-run
"""


@click.command(epilog=_EPILOG)
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--detector",
    metavar="NAME",
    help="Detector; yunet:FILE.onnx brings its own weights. [default: the profile's]",
)
@click.option(
    "--profile", type=click.Choice(PROFILES), help="Speed against recall. [default: balanced]"
)
@click.option(
    "--confidence",
    type=float,
    help="Lowest confidence of a claim, 0 to 1. [default: the detector's]",
)
@click.option(
    "--max-side",
    type=int,
    metavar="PIXELS",
    help="Longest side shown to the network. [default: the profile's]",
)
@click.option("--method", metavar="NAME", help="Obfuscation method. [default: diffuse]")
@click.option(
    "--method-option",
    "method_options",
    multiple=True,
    metavar="K=V",
    help="An option of the method; can be repeated.",
)
@click.option(
    "--margin",
    type=float,
    help="Growth of a face on every side, as a share of its longer side. [default: the method's]",
)
@click.option(
    "--faces",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Boxes that replace detection: Parquet, COCO JSON or ImageNet's JSON.",
)
@click.option(
    "--keep-metadata",
    metavar="TAGS",
    help="Groups of tags to rebuild in the outputs, such as gps,datetime.",
)
@click.option(
    "--max-pixels", type=int, help="Withhold images with more pixels. [default: 200000000]"
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    help="Where networks run. [default: auto]",
)
@click.option(
    "--shard-size",
    type=int,
    metavar="N",
    help="Images per unit of work. [default: by the dataset's size]",
)
@click.option("--seed", type=int, help="Seed of every random draw. [default: 0]")
@click.option(
    "--recipe",
    "recipe_file",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="All of the above in a file; the command line overrides it.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 4096),
    metavar="N",
    help="Processes. [default: one per core]",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only say what would be done, from a sample, and how long it would take.",
)
@click.option(
    "--quiet",
    "-q",
    is_flag=True,
    help="No progress bar and no summary; errors and exit codes remain.",
)
@click.option("--json", "as_json", is_flag=True, help="A machine-readable summary on stdout.")
@click.pass_context
def command(ctx: click.Context, /, source: Path, out: Path, **options: Any) -> None:
    """Find every face in the images below SOURCE, hide it, and write OUT.

    OUT gets data/, in SOURCE's layout and names, and manifest/, from which
    `curate verify` checks it. SOURCE is only read. Run the same command again
    to go on after an interruption. Images that cannot be processed to the end
    are withheld and listed in the manifest, never passed through.
    """
    from curate.pipeline.blur import blur
    from curate.pipeline.preview import preview
    from curate.pipeline.session import Session

    recipe, weights = build_recipe(options)
    session = Session(workers=options["workers"], faces=options["faces"], weights=weights)
    if options["dry_run"]:
        report = preview(source, out, recipe, session)
        click.echo(json.dumps(report.to_dict(), indent=2) if options["as_json"] else report.text)
        return
    with watching(quiet=options["quiet"]) as watch, stop_on_interrupt(session.stop):
        summary = blur(source, out, recipe, dataclasses.replace(session, watch=watch))
    if options["as_json"]:
        click.echo(json.dumps({"version": 1, **dataclasses.asdict(summary)}, indent=2))
    elif not options["quiet"]:
        click.echo(format_summary(summary), err=True)
    ctx.exit(3 if summary.withheld else 0)


def build_recipe(options: dict[str, Any]) -> tuple[Recipe, Path | None]:
    """Join a recipe file and the command line, which overrides it.

    Returns:
        The recipe, and the weights file that ``yunet:FILE`` named, if any.

    Raises:
        UsageError: if a key, a type or a value is wrong.
    """
    values = _load_toml(options["recipe_file"]) if options["recipe_file"] else {}
    values = {key.replace("-", "_"): value for key, value in values.items()}
    for key in (
        "detector", "profile", "confidence", "max_side", "method", "margin", "max_pixels",
        "device", "shard_size", "seed",
    ):  # fmt: skip
        if options[key] is not None:
            values[key] = options[key]
    if options["method_options"]:
        parsed = dict(_parse_option(text) for text in options["method_options"])
        values["method_options"] = {**values.get("method_options", {}), **parsed}
    if options["keep_metadata"] is not None:
        tags = [tag.strip() for tag in options["keep_metadata"].split(",")]
        values["keep_metadata"] = [tag for tag in tags if tag]
    name, colon, path = str(values.get("detector") or "").partition(":")
    if colon:
        values["detector"] = name
    values["device"] = resolve_device(values.get("device", "auto"))
    return Recipe.from_dict(values), Path(path) if colon else None


def format_summary(summary: Summary) -> str:
    """A run's outcome for a person."""
    lines = []
    if summary.already_done:
        lines.append(f"{summary.out} was finished before; nothing was done.")
    lines.append(
        f"{summary.images:,} images: {summary.written:,} written "
        f"({summary.images_with_faces:,} with faces, {summary.faces:,} faces hidden), "
        f"{summary.withheld:,} withheld."
    )
    for code, count in summary.reasons.items():
        lines.append(f"  withheld {count:,}: {code}")
    if summary.withheld:
        lines.append(f"  each with its reason in {summary.out}/manifest/records")
    if summary.others["carried"] or summary.others["left_out"]:
        lines.append(
            f"Other files: {summary.others['carried']:,} carried over, "
            f"{summary.others['left_out']:,} left out (listed in manifest/others.jsonl)."
        )
    if summary.images_now:
        rate = summary.images_now / max(summary.seconds, 1e-9)
        lines.append(f"{summary.seconds:,.1f} s, {rate:,.1f} images/s.")
    lines.append(f"Next: curate verify {summary.out}")
    return "\n".join(lines)


def _parse_option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--method-option {text!r} should read KEY=VALUE")
    if value.lower() in ("true", "false"):
        return key, value.lower() == "true"
    for kind in (int, float):
        try:
            return key, kind(value)
        except ValueError:
            continue
    return key, value


def _load_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--recipe {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--recipe {path} is not TOML: {error}") from None
