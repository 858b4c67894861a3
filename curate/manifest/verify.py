"""Whether an output is what its manifest says: files, digests, counts."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.core.entries import ManifestEntry, Outcome
from curate.core.errors import ManifestError
from curate.core.geometry import clip, covered
from curate.manifest import store

DATA = "data"
_BESIDE = frozenset({"README.md", "LICENSE", ".gitattributes", "croissant.json", ".git"})
"""What may stand beside data/ and manifest/ in an OUT that is being published."""

Inspect = Callable[[ManifestEntry, bytes], list[str]]
"""Looks for leaks in one output; one line for each."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that differs from the manifest.

    Args:
        kind: ``manifest``, ``missing``, ``extra``, ``changed``, ``leak``, ``source`` or ``pixels``.
        path: relative to OUT.
        detail: one line for a person.
    """

    kind: str
    path: str
    detail: str


def check_run(manifest: Path, run: Mapping[str, Any], recipe_sha256: str) -> Iterator[Problem]:
    """Check ``run.json`` against the records that it speaks of.

    Args:
        manifest: the manifest's folder.
        run: the content of its ``run.json``.
        recipe_sha256: digest of the recipe in it, computed anew.
    """
    records = manifest / store.RECORDS_FOLDER
    tally, last = store.Tally(), ""
    for entry in store.iter_entries(records):
        tally.add(entry)
        if entry.id <= last:
            yield Problem("manifest", "manifest/records", f"{entry.id!r} is out of order or double")
        last = entry.id
    try:
        claims = {
            "recipe_sha256": (run["recipe_sha256"], recipe_sha256),
            "counts": (run["counts"], tally.to_dict()),
            "records.sha256": (run["records"]["sha256"], store.digest_parts(records)),
            "records.parts": (run["records"]["parts"], sum(1 for _ in store.iter_parts(records))),
            "source.sha256": (run["source"]["sha256"], store.digest_sources(records)),
            "others.sha256": (run["others"]["sha256"], store.digest_file(manifest / store.OTHERS)),
        }
    except (KeyError, TypeError) as error:
        yield Problem("manifest", "manifest/run.json", f"has no {error}")
        return
    except OSError as error:
        yield Problem("manifest", "manifest", f"{error.filename}: {error.strerror}")
        return
    for name, (said, found) in claims.items():
        if said != found:
            yield Problem("manifest", "manifest/run.json", f"{name} is {found}, but says {said}")


def check_part(out: Path, part: Path, inspect: Inspect) -> Iterator[Problem]:
    """Check every output that one part of the manifest speaks of."""
    for entry in store.iter_part(part):
        yield from _check_entry(out, entry, inspect)


def _check_entry(out: Path, entry: ManifestEntry, inspect: Inspect) -> Iterator[Problem]:
    if entry.outcome is Outcome.WITHHELD:
        if entry.output_path is not None:
            yield Problem("manifest", entry.id, "is withheld, yet names an output")
        return
    path = f"{DATA}/{entry.output_path}"
    if (
        entry.output_path is None
        or ".." in Path(path).parts
        or Path(entry.output_path).is_absolute()
    ):
        yield Problem("manifest", entry.id, f"its output path is {entry.output_path!r}")
        return
    try:
        data = (out / path).read_bytes()
    except OSError as error:
        yield Problem("missing", path, error.strerror or "cannot be read")
        return
    if len(data) != entry.output_bytes or store.digest_bytes(data) != entry.output_sha256:
        yield Problem("changed", path, "its bytes are not those in the manifest")
    for face, hidden in zip(entry.faces, entry.hidden, strict=True):
        inside = clip(face.box, entry.width or 0, entry.height or 0)
        if covered(inside, hidden) < 1 and not inside.is_empty:
            yield Problem("manifest", path, f"face {face.box.xyxy} is not inside its hidden region")
    for leak in inspect(entry, data):
        yield Problem("leak", path, leak)


def check_others(out: Path, find_pictures: Callable[[Path], str | None]) -> Iterator[Problem]:
    """Check the files that were carried over beside the images."""
    for line in iter_others(out / "manifest"):
        if not line["carried"]:
            continue
        path = f"{DATA}/{line['path']}"
        try:
            digest = store.digest_file(out / path)
        except OSError as error:
            yield Problem("missing", path, error.strerror or "cannot be read")
            continue
        if digest != line["sha256"]:
            yield Problem("changed", path, "its bytes are not those in the manifest")
        if reason := find_pictures(out / path):
            yield Problem("leak", path, reason)


def check_extra(out: Path, present: Iterator[str]) -> Iterator[Problem]:
    """Find files that the manifest does not know.

    Args:
        out: the output folder.
        present: relative paths of the files below ``data/``, sorted.
    """
    for entry in sorted(out.iterdir()):
        if entry.name not in {DATA, "manifest", *_BESIDE}:
            yield Problem("extra", entry.name, "is not of this run")
    manifest = out / "manifest"
    for file in sorted(manifest.rglob("*")):
        known = file.parent.name == store.RECORDS_FOLDER and file.match("part-*.parquet")
        if file.is_file() and not known and file.name not in store.FILES:
            yield Problem("extra", str(file.relative_to(out)), "is not part of a manifest")
    listed = _listed(manifest)
    expected = next(listed, None)
    for path in present:
        while expected is not None and expected < path:
            expected = next(listed, None)  # missing files are reported with their entries
        if expected != path:
            yield Problem("extra", f"{DATA}/{path}", "the manifest does not know it")


def iter_others(manifest: Path) -> Iterator[dict[str, Any]]:
    """The lines of ``others.jsonl``: files beside the images.

    Raises:
        ManifestError: if the file is absent or damaged.
    """
    path = manifest / store.OTHERS
    try:
        with path.open(encoding="utf-8") as file:
            for text in file:
                line = json.loads(text)
                yield {"path": line["path"], "carried": line["carried"], **line}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"{path} cannot be read: {error}") from None


def _listed(manifest: Path) -> Iterator[str]:
    images = (
        entry.output_path
        for entry in store.iter_entries(manifest / store.RECORDS_FOLDER)
        if entry.output_path is not None
    )
    carried = (line["path"] for line in iter_others(manifest) if line["carried"])
    return heapq.merge(images, carried)
