"""Compare an output image with its source: equal outside the masks, hidden inside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from curate import codec
from curate.codec import CodecOptions, Picture, changed_mask, digest_pixels
from curate.core.entries import ManifestEntry, Outcome, Route
from curate.core.errors import SetupError, WithheldError
from curate.core.faces import Region
from curate.core.protocols import Frame, Obfuscator, Source
from curate.manifest import store
from curate.manifest.checks import Read, iter_faults
from curate.manifest.files import DATA, Problem
from curate.pipeline.image import share_hidden

_FIRST = 1_000
"""Images whose names are looked for in SOURCE before any is compared."""

_MIN_ABSENT = 10


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is needed to compare outputs with their sources.

    Args:
        source: the dataset.
        read: reads an output image by its path in the manifest.
        obfuscator: the recipe's obfuscator.
        options: limits and metadata of the codec.
    """

    source: Source
    read: Read
    obfuscator: Obfuscator
    options: CodecOptions


def find_other_dataset(out: Path, source: Source) -> Problem | None:
    """The problem of a SOURCE that lacks most of the first images of a manifest, or None."""
    entries = store.iter_entries(out / store.MANIFEST / store.RECORDS_FOLDER)
    names = [entry.source_path for entry in islice(entries, _FIRST)]
    absent = [name for name in names if source.find(name) is None]
    if len(absent) < _MIN_ABSENT or 2 * len(absent) <= len(names):
        return None
    return Problem(
        "source",
        absent[0],
        f"this and {len(absent) - 1:,} others of the first {len(names):,} images are not in "
        "SOURCE, which is another dataset; nothing was compared with it",
    )


def compare(entry: ManifestEntry, comparison: Comparison) -> Iterator[Problem]:
    """Compare one output image with its source; an inconsistent entry is not compared."""
    if any(iter_faults(entry)) or entry.source_sha256 is None:
        return
    record = comparison.source.find(entry.source_path)
    if record is None:
        yield Problem("source", entry.source_path, "is not in SOURCE")
        return
    try:
        original = comparison.source.read(record)
    except WithheldError as error:
        yield Problem("source", entry.source_path, error.detail)
        return
    if store.digest_bytes(original) != entry.source_sha256:
        yield Problem("source", entry.source_path, "SOURCE has another file of this name")
        return
    if entry.outcome is Outcome.WITHHELD:
        return
    path = f"{DATA}/{entry.output_path}"
    try:
        before = codec.load(original, comparison.options)
        after = codec.load(comparison.read(str(entry.output_path)), comparison.options)
        for detail in _compare_pixels(before, after, entry, comparison.obfuscator):
            yield Problem("pixels", path, detail)
    except (OSError, WithheldError) as error:
        yield Problem("pixels", path, f"cannot be compared: {error}")
    except (MemoryError, SetupError):
        raise
    except Exception as error:  # an image that cannot be compared is not known to be obfuscated
        yield Problem("pixels", path, f"cannot be compared ({type(error).__name__})")


def _compare_pixels(
    before: Picture, after: Picture, entry: ManifestEntry, obfuscator: Obfuscator
) -> Iterator[str]:
    shapes = [[frame.shape for frame in picture.frames] for picture in (before, after)]
    if shapes[0] != shapes[1]:
        yield "its frames or channels differ from the source"
        return
    recorded = (entry.width, entry.height, entry.mode, entry.orientation)
    if recorded != (before.width, before.height, before.mode, before.orientation):
        yield f"its size, mode and orientation are not {recorded}"
        return
    if entry.pixels_sha256 is not None and entry.pixels_sha256 != digest_pixels(after):
        yield "its pixels differ from the manifest"
    share = share_hidden(entry.hidden, before.width, before.height)
    if abs(share - (entry.blurred_share or 0)) > 1e-9:
        yield f"blurred_share is {share}, but is recorded as {entry.blurred_share}"
    last = max((index for face in entry.faces for index in face.frames), default=0)
    if last >= len(before.frames):
        yield f"a face is in frame {last}, but there are {len(before.frames)} frames"
        return
    for index in range(len(before.frames)):
        yield from _compare_frame(before, after, index, entry, obfuscator)


def _compare_frame(
    before: Picture, after: Picture, index: int, entry: ManifestEntry, obfuscator: Obfuscator
) -> Iterator[str]:
    """Compare one frame: all of its faces, and nothing else, must be hidden."""
    old, new = before.frames[index], after.frames[index]
    height, width = old.shape[:2]
    where = f" in frame {index}" if len(before.frames) > 1 else ""
    regions = [
        Region(face.box, hidden)
        for face, hidden in zip(entry.faces, entry.hidden, strict=True)
        if index in face.frames
    ]
    for region in regions:
        if region.hidden.x1 > width or region.hidden.y1 > height:
            yield f"region {region.hidden.xyxy} is not inside the image{where}"
            return
    if entry.route is not Route.REENCODED:
        reach = obfuscator.reach(regions, width, height) if regions else []
        allowed = changed_mask(before, reach, index)
        if ((_difference(old, new) > 0) & ~allowed).any():
            yield f"pixels outside the masks differ from the source{where}"
    for region in regions:
        if not _is_hidden(old, new, region, obfuscator):
            yield f"region {region.hidden.xyxy} still shows the source{where}"


def _is_hidden(old: Frame, new: Frame, region: Region, obfuscator: Obfuscator) -> bool:
    """Whether a region differs from the source about as much as its method makes it.

    At least half of the expected mean change is required, less a tolerance for lossy encoding;
    an untouched region shows none.
    """
    expected = obfuscator.apply(old, [region])
    where = region.hidden.slices
    wanted = float(_difference(old, expected)[where].mean())
    found = float(_difference(old, new)[where].mean())
    tolerance = 2.0 * (257 if old.dtype == np.uint16 else 1)
    return found >= 0.5 * wanted - tolerance


def _difference(a: Frame, b: Frame) -> Any:
    """Largest absolute difference over the channels, H×W."""
    difference = np.abs(a.astype(np.int32) - b.astype(np.int32))
    return difference.max(axis=2) if difference.ndim == 3 else difference
