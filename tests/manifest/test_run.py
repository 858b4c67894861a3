from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from curate.core.errors import ManifestError
from curate.manifest import store
from curate.manifest.run import OPTIONAL, SHAPE, check_shape
from tests.conftest import ROOT

DEMO = json.loads((ROOT / "manifests/demo/run.json").read_text())
SCHEMA = json.loads((ROOT / "manifests/run-1.schema.json").read_text())


def compare_keys(shape: Mapping[str, Any], schema: dict[str, Any], where: str) -> None:
    optional = {key for key in shape if f"{where}.{key}".removeprefix("run.") in OPTIONAL}
    assert set(shape) == set(schema["properties"]), where
    assert set(shape) - optional == set(schema["required"]), where
    assert schema["additionalProperties"] is False, where
    for key, inner in shape.items():
        if isinstance(inner, Mapping):
            compare_keys(inner, schema["properties"][key], f"{where}.{key}")


def test_validation_and_the_schema_have_the_same_keys() -> None:
    compare_keys(SHAPE, SCHEMA, "run")
    compare_keys(SHAPE["detectors"].items, SCHEMA["properties"]["detectors"]["items"], "detectors")
    review = SCHEMA["properties"]["given_faces"]["properties"]["reviews"]["items"]
    compare_keys(SHAPE["given_faces"]["reviews"].items, review, "review")


def changed(path: str, value: Any) -> dict[str, Any]:
    """The demo's run with one value replaced, or a key removed where ``value`` is ``...``."""
    run: dict[str, Any] = copy.deepcopy(DEMO)
    inner, *keys = run, *path.split(".")
    for key in keys[:-1]:
        inner = inner[int(key) if isinstance(inner, list) else key]
    if value is ...:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    return run


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("counts", ..., "counts is missing"),
        ("counts", 5, "counts is not an object"),
        ("counts.written", ..., "counts.written is missing"),
        ("counts.written", True, "counts.written is not a count"),
        ("counts.faces", -1, "counts.faces is not a count"),
        ("counts.extra", 1, "counts.'extra' is not a key"),
        ("counts.routes", {"copied": "4"}, r"counts.routes\['copied'\] is not a count"),
        ("records.parts", 2.0, "records.parts is not a count"),
        ("recipe", ..., "recipe is missing"),
        ("recipe", 5, "recipe is not an object"),
        ("recipe_sha256", "A" * 64, "recipe_sha256 is not a SHA-256"),
        ("detectors", {}, "detectors is not a list"),
        ("detectors.0.name", None, r"detectors\[0\].name is not a string"),
        ("tool.name", "another", "tool.name is not 'curate-dataset'"),
        ("obfuscator.margin", True, "obfuscator.margin is not a number"),
        ("source.origin", ..., "source.origin is missing"),
        ("source.origin", 5, "source.origin is not a string or null"),
        ("secret", "x", "'secret' is not a key of schema version 1"),
    ],
)
def test_an_invalid_key_is_named_by_its_path(path: str, value: Any, message: str) -> None:
    check_shape(DEMO)
    with pytest.raises(ManifestError, match=rf"^run\.json: {message}"):
        check_shape(changed(path, value))


@pytest.mark.parametrize("version", ["1e999", "true", '"1"', "1.0", "1.9", "-1", "null", "[1]"])
def test_only_a_whole_number_is_a_version(version: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(f'{{"schema_version": {version}}}')
    with pytest.raises(ManifestError, match=r"schema version|cannot be read"):
        store.load_run(tmp_path)


def nest(run: dict[str, Any]) -> str:
    return "[" * 100_000


def add_surrogate(run: dict[str, Any]) -> str:
    run["tool"]["name"] = "\ud800"
    return json.dumps(run)


def add_infinity(run: dict[str, Any]) -> str:
    return json.dumps(run).replace('"seed": 0', '"seed": 1e999')


@pytest.mark.parametrize("forge", [nest, add_surrogate, add_infinity])
def test_json_that_is_not_a_valid_manifest_is_one_clear_line(
    forge: Callable[[dict[str, Any]], str], tmp_path: Path
) -> None:
    (tmp_path / "run.json").write_text(forge(copy.deepcopy(DEMO)))
    with pytest.raises(ManifestError, match=r"run\.json cannot be read"):
        store.load_run(tmp_path)


def test_a_version_alone_is_not_a_valid_run(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"schema_version": 1}')
    with pytest.raises(ManifestError, match=r"run\.json: tool is missing"):
        store.load_run(tmp_path)
