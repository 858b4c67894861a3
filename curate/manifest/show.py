"""A manifest as a page for a person at a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curate.core.entries import Outcome
from curate.manifest import store

_CLASSES = 12


def format_page(manifest: Path) -> str:
    """What a run did, its counts, its models, and what was withheld.

    Args:
        manifest: the manifest's folder.

    Raises:
        ManifestError: if it cannot be read.
        SchemaVersionError: if it was written by a newer release.
    """
    run = store.load_run(manifest)
    return "\n".join(line.rstrip() for line in (*_iter_facts(run), *_iter_classes(manifest)))


def format_account(account: Mapping[str, Any], name: str) -> str:
    """What ``curate detect`` says of a table of faces that it wrote."""
    counts = account["counts"]
    lines = [
        f"{name}: faces found by {_tool(account)}",
        *_iter_recipe(account),
        *_iter_models(account["detectors"]),
        "",
        *_iter_table({key.replace("_", " "): f"{value:,}" for key, value in counts.items()}),
    ]
    return "\n".join(lines)


def _tool(facts: Mapping[str, Any]) -> str:
    return f"{facts['tool']['name']} {facts['tool']['version']}"


def _iter_facts(run: Mapping[str, Any]) -> Iterator[str]:
    counts, method = run["counts"], run["obfuscator"]
    yield f"{_tool(run)}, manifest schema {run['schema_version']}, layout {run['source']['layout']}"
    yield from _iter_recipe(run)
    yield f"Method     {method['name']} {method['version']}, margin {method['margin']:g}"
    yield f"Keeps      {method['keeps']}"
    yield from _iter_models(run["detectors"])
    yield ""
    numbers = {key: counts[key] for key in ("images", "written", "withheld", "faces")}
    numbers["with faces"] = counts["images_with_faces"]
    yield from _iter_table({key: f"{value:,}" for key, value in numbers.items()})
    for title, key in (("Withheld", "reasons"), ("Routes", "routes")):
        if counts[key]:
            yield ""
            yield title
            yield from _iter_table({name: f"{value:,}" for name, value in counts[key].items()})
    others = run["others"]
    yield ""
    yield (
        f"Other files: {others['carried']:,} carried, {others['rebuilt']:,} rebuilt, "
        f"{others['left_out']:,} left out"
    )
    yield f"Digests: recipe {run['recipe_sha256'][:16]}, records {run['records']['sha256'][:16]}"


def _iter_recipe(facts: Mapping[str, Any]) -> Iterator[str]:
    recipe = facts["recipe"]
    chosen = {key: value for key, value in recipe.items() if value not in (None, [], {})}
    yield "Recipe     " + ", ".join(f"{key} {value}" for key, value in chosen.items())


def _iter_models(detectors: list[Mapping[str, Any]]) -> Iterator[str]:
    if not detectors:
        yield "Faces      given, not detected"
    for model in detectors:
        digests = ", ".join(
            f"{name} {digest[:12]}" for name, digest in model["weights_sha256"].items()
        )
        yield (
            f"Model      {model['name']}: {model['package']} {model['version']} "
            f"on {model['backend']} ({digests})"
        )


def _iter_classes(manifest: Path) -> Iterator[str]:
    images: Counter[str] = Counter()
    with_faces: Counter[str] = Counter()
    for entry in store.iter_entries(manifest / store.RECORDS_FOLDER):
        if entry.outcome is Outcome.WRITTEN and entry.category is not None:
            images[entry.category] += 1
            with_faces[entry.category] += bool(entry.faces)
    if not images:
        return
    yield ""
    yield "Classes with most faces (images with a face, of all written)"
    rows = sorted(images, key=lambda name: (-with_faces[name] / images[name], name))
    yield from _iter_table(
        {name: f"{with_faces[name]:,} of {images[name]:,}" for name in rows[:_CLASSES]}
    )
    if len(rows) > _CLASSES:
        yield f"  … and {len(rows) - _CLASSES:,} more"


def _iter_table(cells: Mapping[str, str]) -> Iterator[str]:
    width = max(map(len, cells))
    right = max(map(len, cells.values()))
    for name, value in cells.items():
        yield f"  {name:<{width}}  {value:>{right}}"
