"""A manifest to read: in a notebook, at a terminal, as a table."""

from __future__ import annotations

import html
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.core.arguments import checked
from curate.core.entries import ManifestEntry, Outcome
from curate.core.errors import ManifestError, describe_malformed
from curate.core.records import escape_unprintable, join_lines
from curate.manifest import store
from curate.manifest.diff import format_value
from curate.manifest.schema import to_row

if TYPE_CHECKING:
    import pandas as pd

_CLASSES = 12


@dataclass(frozen=True, slots=True, repr=False)
class Manifest:
    """The sealed manifest of a run.

    Args:
        path: its folder.
        run: the content of ``run.json``.
    """

    path: Path
    run: Mapping[str, Any]

    @property
    def counts(self) -> Mapping[str, Any]:
        """Images, written and withheld images, faces, routes and reasons."""
        counts: Mapping[str, Any] = self.run["counts"]
        return counts

    def entries(self) -> Iterator[ManifestEntry]:
        """Iterate over the entries, one per image, sorted by id."""
        return store.iter_entries(self.path / store.RECORDS_FOLDER)

    def withheld(self) -> Iterator[ManifestEntry]:
        """Iterate over the entries of images that were withheld."""
        return (entry for entry in self.entries() if entry.outcome is Outcome.WITHHELD)

    def to_frame(self) -> pd.DataFrame:
        """The records as a table, a row per image; needs memory for all of them."""
        import pandas as pd

        return pd.DataFrame([to_row(entry) for entry in self.entries()])

    def to_text(self) -> str:
        """What was done, how often, with which models, and what was withheld."""
        lines = (*_iter_facts(self.run), *_iter_classes(self.entries()))
        return join_lines(line.rstrip() for line in lines)

    def __repr__(self) -> str:
        counts = self.counts
        return (
            f"<Manifest {str(self.path)!r}: {counts['written']:,} written, "
            f"{counts['withheld']:,} withheld, {counts['faces']:,} faces>"
        )

    def _repr_html_(self) -> str:
        text = "\n".join(escape_unprintable(line) for line in self.to_text().splitlines())
        return f"<pre>{html.escape(text)}</pre>"


@checked
def load_manifest(path: str | Path) -> Manifest:
    """Load the manifest of an output of `blur`.

    >>> import curate
    >>> manifest = curate.load_manifest("manifests/demo")
    >>> manifest.counts["images"]
    12
    >>> len(manifest.to_frame())
    12

    Args:
        path: the output, or the folder of its manifest.

    Raises:
        ManifestError: if it cannot be read.
        SchemaVersionError: if it was written by a newer release.
    """
    folder = store.find_manifest(Path(path))
    return Manifest(folder, store.load_run(folder))


def format_public(run: Mapping[str, Any]) -> str:
    """Describe a public tier.

    Args:
        run: the content of its ``run.json``.

    Raises:
        ManifestError: if it is malformed.
    """
    try:
        return join_lines(line.rstrip() for line in _iter_public(run))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        line = describe_malformed(error)
        raise ManifestError(f"{store.RUN} of a public tier is malformed: {line}") from None


def _iter_public(run: Mapping[str, Any]) -> Iterator[str]:
    layout = f", layout {run['layout']}" if run.get("layout") else ""
    yield f"{_tool(run)}, public tier {run['public_version']}{layout}; it names no image"
    yield from _iter_recipe(run)
    if method := run.get("obfuscator"):
        yield f"Method     {method['name']} {method['version']}, margin {method['margin']:g}"
        yield from _wrap_fact("Keeps", method["keeps"])
        yield from _iter_faces({**run, "recipe": {"faces_sha256": run.get("faces_given") or None}})
    yield ""
    counts = {name: count for name, count in run["counts"].items() if isinstance(count, int)}
    yield from _iter_table({name.replace("_", " "): f"{n:,}" for name, n in counts.items()})
    for title, key in (("Images by split", "images_by_split"), ("By class", "images_by_category")):
        if found := run.get(key):
            yield ""
            yield title
            shown = {name: "hidden" if n is None else f"{n:,}" for name, n in found.items()}
            yield from _iter_table(dict(list(shown.items())[:_CLASSES]))
            if len(shown) > _CLASSES:
                yield f"  … and {len(shown) - _CLASSES:,} more"


def format_faces_info(info: Mapping[str, Any], name: str) -> str:
    """Describe a table of faces by the metadata that ``curate detect`` wrote.

    Args:
        info: from `curate.manifest.faces.load_faces_info`.
        name: the table's file name.
    """
    counts = info["counts"]
    lines = [
        f"{name}: faces found by {_tool(info)}",
        *_iter_recipe(info),
        *_iter_faces(info),
        "",
        *_iter_table({key.replace("_", " "): f"{value:,}" for key, value in counts.items()}),
    ]
    return join_lines(lines)


def _tool(facts: Mapping[str, Any]) -> str:
    return f"{facts['tool']['name']} {facts['tool']['version']}"


def _iter_facts(run: Mapping[str, Any]) -> Iterator[str]:
    counts, method = run["counts"], run["obfuscator"]
    yield f"{_tool(run)}, manifest schema {run['schema_version']}, layout {run['source']['layout']}"
    yield from _iter_recipe(run)
    yield f"Method     {method['name']} {method['version']}, margin {method['margin']:g}"
    yield from _wrap_fact("Keeps", method["keeps"])
    yield from _iter_faces(run)
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
        f"Other files: {others['carried']:,} copied, {others['rebuilt']:,} rebuilt, "
        f"{others['left_out']:,} left out"
    )
    yield f"Digests: recipe {run['recipe_sha256'][:16]}, records {run['records']['sha256'][:16]}"


def _iter_recipe(facts: Mapping[str, Any]) -> Iterator[str]:
    recipe = facts.get("recipe", {})
    chosen = {key: value for key, value in recipe.items() if value not in (None, [], {})}
    yield from _wrap_fact(
        "Recipe", "; ".join(f"{key} {format_value(value)}" for key, value in chosen.items())
    )


def _wrap_fact(name: str, text: str) -> list[str]:
    """Lines of a fact that fit 80 columns."""
    return textwrap.wrap(
        text,
        80,
        initial_indent=f"{name:<11}",
        subsequent_indent=" " * 11,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _iter_faces(facts: Mapping[str, Any]) -> Iterator[str]:
    """How faces were found: given by a file or not, models, and reviews by people."""
    detectors, given = facts.get("detectors", ()), facts.get("given_faces")
    reviews = [*(given or {}).get("reviews", ()), *filter(None, [facts.get("review")])]
    if facts.get("recipe", {}).get("faces_sha256") is not None:
        recorded = "found by the models below" if detectors else "which records no detector"
        yield from _wrap_fact("Faces", f"given by a file, {recorded}")
    elif not detectors:
        yield "Faces      given; no detector is recorded"
    for review in reviews:
        states = ", ".join(f"{count:,} {name}" for name, count in review["states"].items())
        yield from _wrap_fact(
            "Review", f"of {review['task']}, reviewers: {review['reviewers']:,}; images: {states}"
        )
    for model in detectors:
        digests = ", ".join(
            f"{name} {digest[:12]}" for name, digest in model["weights_sha256"].items()
        )
        yield from _wrap_fact(
            "Model",
            f"{model['name']}: {model['package']} {model['version']} on {model['backend']} "
            f"({digests})",
        )


def _iter_classes(entries: Iterator[ManifestEntry]) -> Iterator[str]:
    images: Counter[str] = Counter()
    with_faces: Counter[str] = Counter()
    for entry in entries:
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
