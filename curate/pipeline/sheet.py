"""The HTML page of a run: verdict, counts, a sample of images, withheld images with reasons."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate import codec
from curate.codec import crop_jpeg
from curate.core.entries import ManifestEntry
from curate.core.errors import WithheldError
from curate.core.geometry import Box
from curate.core.protocols import Source
from curate.core.records import escape_unprintable
from curate.layouts import open_source
from curate.manifest.show import Manifest, load_manifest
from curate.pipeline.output_images import open_outputs
from curate.pipeline.tools import codec_options, load_recipe
from curate.recipe import draw_order
from curate.report.page import render_page
from curate.report.text import name_source
from curate.report.values import Block, Gallery, Page, Picture, Section, Table
from curate.storage.atomic import save_text

SAMPLE = 24
"""Images with faces on the page."""

MAX_WITHHELD = 200
"""Withheld images that are listed by name."""

_SIDE = 280

_WARNING = "This page contains visible faces; do not share it."


@dataclass(frozen=True, slots=True)
class SheetOptions:
    """Options of the page.

    Args:
        source: path or URI of the dataset, to show originals, or None.
        sample: number of images with faces.
        inputs: the dataset and OUT as given, shown at the top; OUT alone if empty.
    """

    source: str | None = None
    sample: int = SAMPLE
    inputs: tuple[str, ...] = ()


def save_sheet(out: str | Path, path: Path, options: SheetOptions | None = None) -> None:
    """Write the HTML page of a finished run.

    Args:
        out: the output of `blur`.
        path: the file to write, atomically.
        options: options of the page, or None for the defaults.

    Raises:
        ManifestError: if the manifest cannot be read.
        OSError: if the page cannot be written.
    """
    options = options or SheetOptions()
    page = make_sheet(Path(out), options)
    names = map(name_source, options.inputs or (str(out),))
    save_text(path, render_page(page, ", ".join(names)))


def make_sheet(out: Path, options: SheetOptions) -> Page:
    """Lay out the page of a finished run.

    The sample is drawn from the images with faces by the recipe's seed and their ids.

    Args:
        out: the output of `blur`.
        options: options of the page.
    """
    manifest = load_manifest(out)
    run, counts = manifest.run, manifest.counts
    entries = _draw_sample(manifest, options.sample)
    pictures = tuple(_iter_pictures(out, manifest, entries, options.source))
    warning = _WARNING if options.source is not None else ""
    sections = [Section("Sample", tuple(_sample_blocks(pictures, warning, counts)))]
    if counts["withheld"]:
        sections.append(Section("Withheld images", tuple(_withheld_blocks(manifest))))
    sections.append(Section("Run", (_run_table(run),)))
    return Page(
        "Face obfuscation",
        tuple(_notes(run)),
        tuple(sections),
        f"{run['tool']['name']} {run['tool']['version']}; recipe {run['recipe_sha256'][:12]}",
        verdict=_verdict(counts, run["others"].get("withheld", 0)),
    )


def _verdict(counts: Any, maps: int) -> str:
    hidden = "No faces were found"
    if counts["faces"]:
        hidden = f"{counts['faces']:,} faces were hidden in {counts['images_with_faces']:,} images"
    text = f"{hidden}; {counts['written']:,} images were written."
    if counts["withheld"]:
        text += f" {counts['withheld']:,} images were withheld: not processed to the end."
    if maps:
        text += f" {maps:,} label maps were withheld: they may show a face."
    return text


def _notes(run: Any) -> Iterator[str]:
    yield (
        "Faces that the detector missed are not hidden. Review a sample of the images "
        "without faces, too, or measure the detector with curate evaluate."
    )
    if run["recipe"].get("faces_sha256") is not None:
        yield "Faces were given by a file; no detector ran." + (
            " The models are those that the file records." if run["detectors"] else ""
        )
    for review in run.get("given_faces", {}).get("reviews", ()):
        yield (
            f"People reviewed the given faces: {review['states'].get('reviewed', 0):,} images "
            f"were reviewed, {review['states'].get('sampled', 0):,} sampled."
        )


def _draw_sample(manifest: Manifest, size: int) -> list[ManifestEntry]:
    seed = int(manifest.run["recipe"]["seed"])
    with_faces = (entry for entry in manifest.entries() if entry.faces and entry.output_path)
    drawn = heapq.nsmallest(size, with_faces, key=lambda entry: draw_order(entry.id, seed))
    return sorted(drawn, key=lambda entry: entry.id)


def _iter_pictures(
    out: Path, manifest: Manifest, entries: list[ManifestEntry], source: str | None
) -> Iterator[Picture]:
    run = manifest.run
    layout, in_containers = run["source"]["layout"], run["others"]["rebuilt"] > 0
    read = open_outputs(out, layout, in_containers)
    original = open_source(source, layout) if source is not None else None
    options = codec_options(load_recipe(run))
    for entry in entries:
        caption = escape_unprintable(entry.id)
        if original is not None:
            data = _read_original(original, entry)
            if data is not None:
                yield Picture(_thumbnail(data, options), f"{caption}, original")
        data = read(str(entry.output_path))
        yield Picture(_thumbnail(data, options), f"{caption}: {len(entry.faces):,} faces hidden")


def _read_original(source: Source, entry: ManifestEntry) -> bytes | None:
    record = source.find(entry.source_path)
    if record is None:
        return None
    try:
        return source.read(record)
    except WithheldError:
        return None


def _thumbnail(data: bytes, options: codec.CodecOptions) -> bytes:
    pixels = codec.upright_rgb(codec.load(data, options))
    return crop_jpeg(pixels, Box(0, 0, pixels.shape[1], pixels.shape[0]), _SIDE)


def _sample_blocks(pictures: tuple[Picture, ...], warning: str, counts: Any) -> Iterator[Block]:
    if not pictures:
        yield "No image has faces."
        return
    shown = len(pictures) // 2 if warning else len(pictures)
    of = "All" if shown == counts["images_with_faces"] else "A random sample of the"
    yield (
        f"{of} {counts['images_with_faces']:,} images with faces, "
        + ("each with its original." if warning else "after obfuscation.")
    )
    yield Gallery(warning, pictures, wide=True, pairs=bool(warning))


def _withheld_blocks(manifest: Manifest) -> Iterator[Block]:
    rows: list[tuple[str, str]] = []
    for entry in manifest.withheld():
        if len(rows) < MAX_WITHHELD:
            rows.append((escape_unprintable(entry.id), escape_unprintable(entry.reason or "")))
    yield Table("Images that are not in the output", ("image", "reason"), rows)
    further = manifest.counts["withheld"] - len(rows)
    if further:
        yield f"{further:,} more; curate manifest show --withheld lists all."


def _run_table(run: Any) -> Table:
    method = run["obfuscator"]
    rows = [
        ("layout", run["source"]["layout"]),
        ("method", f"{method['name']} {method['version']}, margin {method['margin']:g}"),
        ("what it keeps", method["keeps"]),
        ("profile", run["recipe"]["profile"]),
    ]
    rows += [("model", f"{m['name']}: {m['package']} {m['version']}") for m in run["detectors"]]
    rows += [(f"route {name}", f"{count:,}") for name, count in run["counts"]["routes"].items()]
    rows.append(("records", run["records"]["sha256"]))
    return Table("Recipe and digests", ("", "value"), [(a, escape_unprintable(b)) for a, b in rows])
