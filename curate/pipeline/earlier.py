"""The finished output that an update replaces: which of its images are unchanged."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from curate.core.entries import ManifestEntry, Outcome
from curate.core.errors import CurateError, WithheldError
from curate.core.faces import Face
from curate.core.records import ImageRecord
from curate.layouts.faces.boxes import GivenFaces
from curate.manifest import store
from curate.pipeline.image import GivenFaceSource, listed_as_withheld, not_looked_at, place_faces
from curate.pipeline.output_images import open_outputs

Kept = tuple[ManifestEntry, bytes | None]
"""An unchanged image: its record and, if it was written, its bytes."""


class EarlierOutput:
    """A finished output whose unchanged images are kept.

    Args:
        out: the output folder.
    """

    def __init__(self, out: Path) -> None:
        run = store.load_run(out / store.MANIFEST)
        self._parts = list(store.iter_parts(out / store.MANIFEST / store.RECORDS_FOLDER))
        self._first = [_load_first_id(path) for path in self._parts]
        self._entries: dict[str, ManifestEntry] = {}
        in_containers = run["others"]["rebuilt"] > 0
        self._read = open_outputs(out, run["source"]["layout"], in_containers)

    def load(self, records: Sequence[ImageRecord]) -> None:
        """Load the entries of some records, such as those of a shard, in place of the last."""
        wanted = {record.id for record in records}
        start = max(bisect_right(self._first, min(wanted)) - 1, 0)
        end = bisect_right(self._first, max(wanted))
        self._entries = {
            entry.id: entry
            for path in self._parts[start:end]
            for entry in store.iter_part(path)
            if entry.id in wanted
        }

    def find(self, identity: Mapping[str, Any], data: bytes, given: GivenFaceSource) -> Kept | None:
        """Return the result of an image if obfuscating it again would give the same.

        In doubt it returns None: obfuscating an image again is always correct.

        Args:
            identity: the fields of its entry that are known before it is decoded.
            data: its stored bytes.
            given: the faces given now.
        """
        entry = self._entries.get(identity["id"])
        if entry is None or any(getattr(entry, key) != value for key, value in identity.items()):
            return None
        try:
            faces = given.find(entry.id)
        except WithheldError:
            return None
        if faces is None:
            return (entry, None) if entry.reason == str(not_looked_at()) else None
        if faces.source_sha256 not in (None, entry.source_sha256):
            return None
        if faces.withheld is not None:
            return (
                (entry, None) if entry.reason == str(listed_as_withheld(faces.withheld)) else None
            )
        if not _has_same_faces(entry, data, faces):
            return None
        try:
            output = self._read(str(entry.output_path))
        except (OSError, CurateError):
            return None
        return (entry, output) if store.digest_bytes(output) == entry.output_sha256 else None


def _load_first_id(path: Path) -> str:
    with pq.ParquetFile(path) as part:
        batch = next(part.iter_batches(batch_size=1, columns=["id"]))
        return str(batch.column(0)[0].as_py())


def _has_same_faces(entry: ManifestEntry, data: bytes, given: GivenFaces) -> bool:
    """Whether a written image has exactly the given faces and review state."""
    if entry.outcome is not Outcome.WRITTEN or entry.width is None or entry.height is None:
        return False
    states = [step.parameters.get("state") for step in entry.transforms if step.name == "review"]
    if states != ([] if given.review is None else [given.review]):
        return False
    if given.boxes and not given.frames and not _is_still(data):
        return False  # the number of frames is not known before decoding
    listed = [*(face.frames for face in entry.faces), *given.frames]
    frames = 1 + max((frame for each in listed for frame in each), default=0)
    size = entry.width, entry.height
    placed = place_faces(given, frames, size, entry.orientation or 1)
    return not isinstance(placed, WithheldError) and _unite_frames(placed) == entry.faces


def _is_still(data: bytes) -> bool:
    """Whether an image certainly has a single frame: JPEG, BMP, or PNG without animation."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return b"acTL" not in data
    return data.startswith((b"\xff\xd8\xff", b"BM"))


def _unite_frames(placed: Sequence[Sequence[Face]]) -> tuple[Face, ...] | None:
    """The faces as an entry lists them, each with its frames; None if one is repeated."""
    frames: dict[Face, list[int]] = {}
    for index, faces in enumerate(placed):
        if len(set(faces)) < len(faces):
            return None
        for face in faces:
            frames.setdefault(face, []).append(index)
    return tuple(replace(face, frames=tuple(found)) for face, found in frames.items())
