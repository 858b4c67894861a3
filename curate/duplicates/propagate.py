"""Give near-duplicates the same boxes, so that a face is hidden in every copy of a picture."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.arguments import checked
from curate.core.errors import SetupError, UsageError
from curate.core.faces import Face
from curate.core.geometry import Box, clip, covered, scale, to_stored, to_upright
from curate.duplicates.hashing import invert
from curate.duplicates.run import Search, SearchOptions, searched, show_reading
from curate.layouts import open_source
from curate.layouts.faces import table
from curate.manifest.faces import FACES, INFO, iter_faces, load_faces_info
from curate.report.document import Printable
from curate.storage.atomic import open_atomic
from curate.storage.parquet import load_schema, open_parquet

NEAR_DUPLICATE = "near-duplicate"
"""Detector name of a face that was found in a copy of the image only."""

_HIDDEN = 0.5  # share of a box inside another from which both are one face


@dataclass(frozen=True, slots=True, repr=False)
class Propagated(Printable):
    """What was propagated.

    Args:
        out: the table.
        images: images that got a box.
        faces: boxes that were added.
    """

    out: str
    images: int
    faces: int

    def to_text(self) -> str:
        """The result, for the terminal."""
        return (
            f"{self.faces:,} boxes were added to {self.images:,} near-duplicates of images that "
            "have them."
        )


@checked
def propagate_boxes(
    source: str | Path,
    faces: str | Path,
    out: str | Path,
    options: SearchOptions | None = None,
    watch: Callable[[int], None] | None = None,
    *,
    quiet: bool = False,
) -> Propagated:
    """Copy the boxes of a table of faces to near-duplicates that lack them.

    A box is scaled to its copy's size, and mirrored or turned where the copy is. Images that
    no detector ran on stay as they are.

    Args:
        source: the dataset; only read.
        faces: a table as from ``curate detect`` or ``curate review export``.
        out: the table to write.
        options: how near-duplicates are searched.
        watch: called with the number of images read so far, which is then not shown.
        quiet: show no progress.

    Raises:
        UsageError: if ``faces`` is of another form.
        DataError: if SOURCE or the table cannot be used.
    """
    found, target = Path(faces), Path(out)
    if not found.is_file() or not table.recognize(found) or not _is_whole(found):
        raise UsageError(
            f"{found} is not a table of faces; boxes are propagated from the Parquet table of "
            "curate detect or curate review export"
        )
    options = replace(options or SearchOptions(), faces=found)
    opened = open_source(str(source), options.layout)
    with show_reading(watch, quiet) as count, searched(opened, None, options, count) as search:
        added = _propagate(search, found)
    _write(found, target, added)
    return Propagated(str(target), len(added), sum(map(len, added.values())))


def _is_whole(found: Path) -> bool:
    return set(FACES.names) <= set(load_schema(found).names)


def _propagate(search: Search, found: Path) -> dict[str, list[Face]]:
    """Boxes that images get from their copies, by id; only images with copies are in memory.

    Boxes are passed on until nothing is added, since copies of copies need not be near.
    """
    stored = {}
    for edge in search.iter_edges():
        for number in (edge.a, edge.b):
            if number not in stored:
                row = search.table.execute(
                    "SELECT id, width, height, orientation FROM images WHERE number = ?", (number,)
                ).fetchone()
                stored[number] = (os.fsdecode(row[0]), *row[1:])
    wanted = {row[0] for row in stored.values()}
    known = {e.id: e.faces for e in iter_faces(found) if e.reason is None and e.id in wanted}
    added: dict[str, list[Face]] = defaultdict(list)
    is_complete = False
    while not is_complete:
        is_complete = True
        for edge in search.iter_edges():
            one, other, how = stored[edge.a], stored[edge.b], edge.orientation
            for a, b, turn in ((one, other, how), (other, one, invert(how))):
                if a[0] not in known or b[0] not in known:
                    continue
                for face in [*known[a[0]], *added[a[0]]]:
                    box = _map(face.box, a[1:], b[1:], turn)
                    have = [*known[b[0]], *added[b[0]]]
                    if not box.is_empty and all(covered(box, f.box) < _HIDDEN for f in have):
                        more = replace(face, box=box, detectors=_name(face), frames=(0,))
                        added[b[0]].append(more)
                        is_complete = False
    return {name: faces for name, faces in added.items() if faces}


def _name(face: Face) -> tuple[str, ...]:
    return tuple(sorted({*face.detectors, NEAR_DUPLICATE}))


def _map(box: Box, a: tuple[int, int, int], b: tuple[int, int, int], turn: int) -> Box:
    """A stored box of one image in the stored pixels of its copy, which shows it turned."""
    upright = to_upright(box, a[2], a[0], a[1])
    width, height = (a[1], a[0]) if a[2] >= 5 else (a[0], a[1])
    turned = to_upright(upright, turn, width, height)
    width, height = (height, width) if turn >= 5 else (width, height)
    across, down = (b[1], b[0]) if b[2] >= 5 else (b[0], b[1])
    scaled = clip(scale(turned, across / width, down / height), across, down)
    return to_stored(scaled, b[2], b[0], b[1])


def _write(found: Path, target: Path, added: Mapping[str, list[Face]]) -> None:
    """The table again, with the boxes added and everything else as it was."""
    account = load_faces_info(found) or {}
    account["propagated"] = sum(map(len, added.values()))
    try:
        with open_atomic(target) as file, open_parquet(found) as before:
            schema = before.schema_arrow.remove_metadata()
            with pq.ParquetWriter(file, schema, compression="zstd") as writer:
                for batch in before.iter_batches(batch_size=1024):
                    rows = batch.to_pylist()
                    for row in rows:
                        row["faces"] = _extend(row["faces"], added.get(row["id"], ()))
                    writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                text = json.dumps(account, sort_keys=True, ensure_ascii=False)
                writer.add_key_value_metadata({INFO.decode(): text})
    except OSError as error:
        raise SetupError(f"{target} cannot be written: {error.strerror}") from None


def _extend(faces: list[Any] | None, more: Sequence[Face]) -> list[Any] | None:
    if faces is None or not more:
        return faces
    return faces + [
        {
            "xyxy": list(face.box.xyxy),
            "confidence": face.confidence,
            "detectors": list(face.detectors),
            "decided_by": face.decided_by,
            "frames": list(face.frames),
        }
        for face in more
    ]
