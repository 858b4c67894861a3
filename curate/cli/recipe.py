"""The recipe that a recipe file and the options of a command build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.core.documents import parse_toml
from curate.core.errors import UsageError
from curate.detectors import resolve_device
from curate.recipe import Recipe
from curate.storage.regular import open_regular


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
            raise UsageError(f"--recipe {path} is larger than {_MAX_RECIPE >> 20} MB")
        return parse_toml(data.decode())
    except OSError as error:
        raise UsageError(f"--recipe {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--recipe {path} is not valid TOML: {error}") from None
