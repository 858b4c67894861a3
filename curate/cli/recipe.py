"""Options of a recipe, and the recipe that they and a recipe file build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from curate.cli.options import (
    ALLOW_MISSING,
    PATH,
    SHARD_SIZE,
    Decorator,
    add_options,
    device_option,
    seed_option,
)
from curate.core.documents import parse_toml
from curate.core.errors import DataError, UsageError
from curate.detectors import resolve_device
from curate.detectors.options import FAMILIES
from curate.recipe import FACES_MATCHES, PROFILES, Recipe
from curate.storage.regular import open_regular

_DETECTION: Sequence[Decorator] = (
    click.option(
        "--detector",
        metavar="NAME",
        help="Detector; yunet:FILE, onnx:FILE and torchscript:FILE load a network that you "
        "provide. [default: the profile's]",
    ),
    click.option(
        "--detector-family",
        type=click.Choice(FAMILIES),
        help="Output format of the network of onnx:FILE. [default: none]",
    ),
    click.option(
        "--skip-self-test",
        is_flag=True,
        help="Do not try a provided network on a packaged picture of one face first.",
    ),
    click.option(
        "--profile",
        type=click.Choice(PROFILES),
        help="Trade-off between speed and recall. Balanced and fast skip the full pass on most "
        "photos, and lose 0 % (0.0-2.5) and 4.1 % (1.9-8.6) of those with a face; thorough skips "
        "nothing. [default: balanced]",
    ),
    click.option(
        "--confidence",
        type=float,
        metavar="X",
        help="Minimum confidence of a detection, 0 to 1. [default: the detector's]",
    ),
    click.option(
        "--max-side",
        type=int,
        metavar="PIXELS",
        help="Maximum length of an image's longer side at the network's input. "
        "[default: the profile's]",
    ),
    device_option(None),
    click.option(
        "--max-pixels",
        type=int,
        metavar="N",
        help="Withhold images with more pixels, or several frames of half as many. Each pixel "
        "takes 18 bytes of memory or more in each worker: 3.6 GB. [default: 200000000]",
    ),
    SHARD_SIZE,
    seed_option(None),
    click.option(
        "--recipe",
        "recipe_file",
        type=PATH,
        metavar="FILE.toml",
        help="TOML file of options by their long names; options on the command line override it.",
    ),
)

INCLUDE = click.option(
    "--include",
    multiple=True,
    metavar="PATTERN",
    help="Copy files beside the images whose path or name matches, as they are and unread, "
    "such as '*.txt'; can be repeated. Files that may contain images are left out.",
)
DROP_KEYS = click.option(
    "--drop-keys",
    metavar="KEYS",
    help="Keys to drop from annotations, and kinds of keys: exif, gps, embeddings, landmarks, "
    "urls, hashes, names, text; none to keep all; key:NAME for a key named like a kind. The "
    "list replaces the default; the summary counts the values by key. [default: embeddings,exif]",
)

_OBFUSCATION: Sequence[Decorator] = (
    click.option("--method", metavar="NAME", help="Obfuscation method. [default: diffuse]"),
    click.option(
        "--method-option",
        "method_options",
        multiple=True,
        metavar="KEY=VALUE",
        help="Parameter of the method; can be repeated. mosaic: cells, smooth; gaussian: sigma; "
        "fill: color; all but imagenet: feather.",
    ),
    click.option(
        "--margin",
        type=float,
        metavar="SHARE",
        help="Growth of a face box on each side, as a share of its longer side. "
        "[default: 0.15; 0.1 for imagenet]",
    ),
    click.option(
        "--faces",
        type=PATH,
        metavar="FILE",
        help="Face boxes to use instead of running a detector: Parquet, COCO, VOC, YOLO or "
        "ImageNet's JSON, or the OUT of an earlier run.",
    ),
    click.option(
        "--faces-match",
        type=click.Choice(FACES_MATCHES),
        help="How ids in the --faces file match images: the whole path, or its end if unique. "
        "[default: exact]",
    ),
    ALLOW_MISSING,
    click.option(
        "--keep-metadata",
        metavar="GROUPS",
        help="Metadata to keep, separated by commas: camera, copyright, datetime, description, "
        "exposure, gps, resolution. [default: none]",
    ),
    INCLUDE,
    DROP_KEYS,
)


def detection_options(command: Any) -> Any:
    """Add the options of detection, and ``--recipe``."""
    return add_options(_DETECTION, command)


def obfuscation_options(command: Any) -> Any:
    """Add the options of given faces and of obfuscation."""
    return add_options(_OBFUSCATION, command)


def build_recipe(options: Mapping[str, Any]) -> tuple[Recipe, Path | None]:
    """Build a recipe from a recipe file and the command line, which overrides it.

    Args:
        options: values by parameter name, None where not given; other names are ignored.

    Returns:
        The recipe, and the file of ``--detector NAME:FILE``, or None.

    Raises:
        UsageError: if a key, a type or a value is not valid.
    """
    file = options.get("recipe_file")
    values = {k.replace("-", "_"): value for k, value in (_load_toml(file) if file else {}).items()}
    values |= {key: options[key] for key in _PLAIN if options.get(key) is not None}
    if options.get("method_options"):
        values["method_options"] = _join_options(values, options["method_options"])
    if options.get("keep_metadata") is not None:
        tags = [tag.strip() for tag in options["keep_metadata"].split(",")]
        values["keep_metadata"] = [tag for tag in tags if tag]
    if options.get("include"):
        values["include"] = list(options["include"])
    if options.get("drop_keys") is not None:
        values["drop_keys"] = options["drop_keys"].split(",")
    if _is_texts(values.get("drop_keys")):
        from curate.layouts.sidecars.content import parse_drop_keys

        values["drop_keys"] = parse_drop_keys(values["drop_keys"])
    weights = None
    if isinstance(values.get("detector"), str) and ":" in values["detector"]:
        values["detector"], _, path = values["detector"].partition(":")
        if not values["detector"] or not path:
            raise UsageError("--detector must be NAME or NAME:FILE, such as yunet:yunet.onnx")
        weights = Path(path)
    device = values.get("device", "auto")
    if device == "auto":
        values["device"] = resolve_device(device)
    recipe = Recipe.from_dict(values)
    resolve_device(recipe.device)
    return recipe, weights


_PLAIN = (
    "detector", "detector_family", "profile", "confidence", "max_side", "method", "margin",
    "faces_match", "max_pixels", "device", "shard_size", "seed",
)  # fmt: skip


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _join_options(values: Mapping[str, Any], texts: Sequence[str]) -> dict[str, Any]:
    before = values.get("method_options", {})
    if not isinstance(before, Mapping):
        raise UsageError(f"recipe key 'method_options' cannot be {before!r}; give a TOML table")
    return {**before, **dict(_parse_option(text) for text in texts)}


def _parse_option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--method-option {text!r} must be KEY=VALUE")
    if value.lower() in ("true", "false"):
        return key, value.lower() == "true"
    for kind in (int, float):
        try:
            return key, kind(value)
        except ValueError:
            continue
    return key, value


_MAX_RECIPE = 1 << 20  # bytes


def _load_toml(path: Path) -> dict[str, Any]:
    try:
        with open_regular(path, follow_links=True) as file:
            data = file.read(_MAX_RECIPE + 1)
        if len(data) > _MAX_RECIPE:
            raise DataError(f"--recipe {path} is larger than {_MAX_RECIPE >> 20} MB")
        return parse_toml(data.decode())
    except OSError as error:
        raise DataError(f"--recipe {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"--recipe {path} is not valid TOML: {error}") from None
