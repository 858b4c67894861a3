"""Paths and places of datasets as arguments."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from curate.core.errors import UsageError
from curate.detectors import DETECTORS, resolve_device
from curate.layouts import LAYOUTS
from curate.layouts.access.address import is_address
from curate.obfuscators import OBFUSCATORS
from curate.recipe import FACES_MATCHES, PROFILES, Recipe


class _FilledPath(click.Path):
    """A path that is not empty: an unset variable in a script must not mean the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("an empty path is given", param, ctx)
        if isinstance(value, str) and is_address(value):
            self.fail("an address is given, but only SOURCE can be remote", param, ctx)
        return super().convert(value, param, ctx)


class _Place(click.types.StringParamType):
    """A path or an address, as it was typed: a path would lose a slash of ``s3://``."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value == "":
            self.fail("an empty path is given", param, ctx)
        return str(value)


PATH = _FilledPath(path_type=Path)
"""The type of every argument and option that is a path."""

PLACE = _Place()
"""The type of every argument and option that says where a dataset is."""


METHODS = "\n".join(f"  {name}: {summary}" for name, summary in OBFUSCATORS.describe())
LAYOUTS_LIST = "\n".join(f"  {name}: {summary}" for name, summary in LAYOUTS.describe())
DETECTORS_LIST = "\n".join(f"  {name}: {summary}" for name, summary in DETECTORS.describe())


Decorator = Callable[[Any], Any]

_DETECTION: Sequence[Decorator] = (
    click.option(
        "--detector",
        metavar="NAME",
        help="Detector; yunet:FILE.onnx brings its own weights. [default: the profile's]",
    ),
    click.option(
        "--profile", type=click.Choice(PROFILES), help="Speed against recall. [default: balanced]"
    ),
    click.option(
        "--confidence",
        type=float,
        help="Lowest confidence of a claim, 0 to 1. [default: the detector's]",
    ),
    click.option(
        "--max-side",
        type=int,
        metavar="PIXELS",
        help="Longest side shown to the network. [default: the profile's]",
    ),
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        help="Where networks run. [default: auto]",
    ),
    click.option(
        "--max-pixels", type=int, help="Withhold images with more pixels. [default: 200000000]"
    ),
    click.option(
        "--shard-size",
        type=int,
        metavar="N",
        help="Images per unit of work. [default: by the dataset's size]",
    ),
    click.option("--seed", type=int, help="Seed of every random draw. [default: 0]"),
    click.option(
        "--recipe",
        "recipe_file",
        type=PATH,
        metavar="FILE.toml",
        help="Such options in a file, by their long names; the command line overrides it.",
    ),
)

_OBFUSCATION: Sequence[Decorator] = (
    click.option("--method", metavar="NAME", help="Obfuscation method. [default: diffuse]"),
    click.option(
        "--method-option",
        "method_options",
        multiple=True,
        metavar="K=V",
        help="An option of the method; can be repeated.",
    ),
    click.option(
        "--margin",
        type=float,
        help="Growth of a face on every side, as a share of its longer side. "
        "[default: the method's]",
    ),
    click.option(
        "--faces",
        type=PATH,
        metavar="FILE",
        help="Boxes that replace detection: Parquet, COCO JSON or ImageNet's JSON.",
    ),
    click.option(
        "--faces-match",
        type=click.Choice(FACES_MATCHES),
        help="Whether an id in that file may be the end of an image's path. [default: exact]",
    ),
    click.option(
        "--allow-missing",
        is_flag=True,
        help="Withhold images that the file says nothing of, instead of stopping.",
    ),
    click.option(
        "--keep-metadata",
        metavar="TAGS",
        help="Groups of tags to rebuild in the outputs, such as gps,datetime.",
    ),
)

_RUN: Sequence[Decorator] = (
    click.option(
        "--format",
        "layout",
        type=click.Choice(["auto", *LAYOUTS]),
        default="auto",
        help="SOURCE's layout. [default: auto, which says what it saw]",
    ),
    click.option(
        "--workers",
        type=click.IntRange(1, 4096),
        metavar="N",
        help="Processes. [default: one per core]",
    ),
    click.option(
        "--quiet",
        "-q",
        is_flag=True,
        help="No progress bar and no summary; errors and exit codes remain.",
    ),
    click.option("--json", "as_json", is_flag=True, help="A machine-readable summary on stdout."),
)


def detection_options(command: Any) -> Any:
    """Give a command the options about detection, and ``--recipe``."""
    return _apply(_DETECTION, command)


def obfuscation_options(command: Any) -> Any:
    """Give a command the options about faces that are given and the way they are hidden."""
    return _apply(_OBFUSCATION, command)


def run_options(command: Any) -> Any:
    """Give a command the options about the way it runs."""
    return _apply(_RUN, command)


def _apply(options: Sequence[Decorator], command: Any) -> Any:
    for option in reversed(options):
        command = option(command)
    return command


def build_recipe(options: Mapping[str, Any]) -> tuple[Recipe, Path | None]:
    """Join a recipe file and the command line, which overrides it.

    Args:
        options: values by parameter name, None where not given; names that are
            not a recipe's are passed over.

    Returns:
        The recipe, and the weights file that ``yunet:FILE`` named, if any.

    Raises:
        UsageError: if a key, a type or a value is wrong.
    """
    file = options.get("recipe_file")
    values = {k.replace("-", "_"): value for k, value in (_load_toml(file) if file else {}).items()}
    values |= {key: options[key] for key in _PLAIN if options.get(key) is not None}
    if options.get("method_options"):
        values["method_options"] = _join_options(values, options["method_options"])
    if options.get("keep_metadata") is not None:
        tags = [tag.strip() for tag in options["keep_metadata"].split(",")]
        values["keep_metadata"] = [tag for tag in tags if tag]
    weights = None
    if isinstance(values.get("detector"), str) and ":" in values["detector"]:
        values["detector"], _, path = values["detector"].partition(":")
        if not values["detector"] or not path:
            raise UsageError("a detector reads NAME or NAME:FILE, such as yunet:yunet.onnx")
        weights = Path(path)
    device = values.get("device", "auto")
    if device == "auto":
        values["device"] = resolve_device(device)
    recipe = Recipe.from_dict(values)
    resolve_device(recipe.device)
    return recipe, weights


_PLAIN = (
    "detector", "profile", "confidence", "max_side", "method", "margin", "faces_match",
    "max_pixels", "device", "shard_size", "seed",
)  # fmt: skip


def _join_options(values: Mapping[str, Any], texts: Sequence[str]) -> dict[str, Any]:
    before = values.get("method_options", {})
    if not isinstance(before, Mapping):
        raise UsageError(f"recipe key 'method_options' cannot be {before!r}; write a table")
    return {**before, **dict(_parse_option(text) for text in texts)}


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
