"""Faces given before the run (``--faces``): an index on disk, and how ids match images."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from curate.codec.decoding import MAX_FRAMES
from curate.core.errors import DataError, SetupError, WithheldError
from curate.core.geometry import Box
from curate.layouts.faces import iter_given_faces, table
from curate.layouts.faces.boxes import GivenFaces
from curate.layouts.faces.decisions import iter_decisions
from curate.manifest import store
from curate.manifest.faces import INFO
from curate.obfuscators.masks import MAX_REGIONS
from curate.storage.atomic import open_atomic
from curate.storage.index import connect_index, open_index
from curate.storage.regular import iter_short_lines, open_regular


@dataclass(frozen=True, slots=True)
class Matches:
    """How the ids of a file of faces match the images of a dataset.

    Args:
        lines: ids in the file.
        matched: images of the dataset with an entry in the file.
        missing: images of the dataset without one.
        first_missing: id of the first of those, or None.
        by_suffix: missing images that the end of a path would match.
        withheld: matched images that the file lists as withheld.
    """

    lines: int
    matched: int
    missing: int
    first_missing: str | None
    by_suffix: int
    withheld: int = 0

    @property
    def unmatched(self) -> int:
        """Ids in the file that are not images of the dataset."""
        return self.lines - self.matched


class FaceIndex:
    """Given faces by record id, on disk.

    Args:
        path: a file from `save_face_index`.
    """

    def __init__(self, path: Path) -> None:
        self._table = connect_index(path, read_only=True)

    def find(self, record_id: str) -> GivenFaces | None:
        """Return the faces of one image, or None if the file has no entry for it.

        Raises:
            WithheldError: if it has more faces than an image can have, or its entries contradict
                each other, so that some of the boxes are of another image.
            SetupError: if the index cannot be read.
        """
        try:
            counts = self._table.execute(
                "SELECT sum(count), count(*) FROM faces JOIN given ON given.id = faces.given "
                "WHERE faces.id = ?",
                (record_id,),
            ).fetchone()
            for count, what in zip(counts, ("faces", "entries"), strict=True):
                if (count or 0) > MAX_REGIONS:
                    limit = f"at most {MAX_REGIONS:,} per image"
                    raise WithheldError("faces", f"{count:,} {what}; {limit}")
            rows = self._table.execute(
                "SELECT relative, boxes, review, withheld, sha256, width, height FROM faces "
                "JOIN given ON given.id = faces.given WHERE faces.id = ?",
                (record_id,),
            ).fetchall()
        except sqlite3.Error as error:
            raise SetupError(f"the index of given faces cannot be read ({error})") from None
        if not rows:
            return None
        stored = [face for _, text, *_ in rows for face in json.loads(text)]
        boxes = tuple(Box(*xyxy) for xyxy, _, _ in stored)
        # A box without frames is in every frame; then so are all boxes of the image.
        framed = all(frames for _, frames, _ in stored)
        frames = tuple(tuple(frames) for _, frames, _ in stored) if framed else ()
        fields = tuple(decision for _, _, decision in stored)
        digests = {digest for *_, digest, _, _ in rows if digest is not None}
        states = {row[2] for row in rows}
        withheld = next((row[3] for row in rows if row[3] is not None), None)
        sizes = sorted({(width, height) for *_, width, height in rows if width is not None})
        if len(sizes) > 1:
            shown = " and ".join(f"{width}×{height}" for width, height in sizes[:2])
            raise WithheldError("faces", f"the file says that it is {shown}")
        if len({row[0] for row in rows}) > 1:
            raise WithheldError("faces", "the file has boxes in pixels and as shares of the image")
        # Entries for different files match none.
        digest = digests.pop() if len(digests) == 1 else ("contradictory" if digests else None)
        size = sizes[0] if sizes else None
        relative = bool(rows[0][0])
        review = states.pop() if len(states) == 1 else None
        return GivenFaces(
            record_id, boxes, relative, frames, fields, size, digest, review, withheld
        )


DIGESTS = ".digests.jsonl"
"""Ending of the file beside an export with the digests of the images, a line each."""


def save_digests(
    images: Iterable[tuple[str, str | None, str | None]], info: Mapping[str, Any], path: Path
) -> None:
    """Write ids and digests of images, and which were withheld, as the sidecar of an export.

    Formats such as COCO, VOC and YOLO have no place for a digest, and none for an image in
    which no faces were searched. With it, faces are not used for another image of the same
    name, and withheld images are told from images that the export lacks.

    Args:
        images: ids with the SHA-256 of the image files, and the reason if they were withheld.
        info: how the faces were found; the first line has it.
        path: the file to write, atomically.
    """
    with open_atomic(path) as file:
        file.write(json.dumps({INFO.decode(): info}, ensure_ascii=True).encode() + b"\n")
        for name, digest, reason in images:
            line = {"id": name, "sha256": digest}
            if reason is not None:
                line["withheld"] = reason
            file.write(json.dumps(line, ensure_ascii=True).encode() + b"\n")


def find_digests(path: Path) -> Path | None:
    """Return the sidecar of an export, or None if it has none."""
    sidecar = path.with_name(path.name + DIGESTS)
    return sidecar if sidecar.is_file() else None


def load_faces(path: Path) -> Iterator[GivenFaces]:
    """Iterate over the faces of a file of any format, or of the manifest of an output.

    Images of an export of `detect` whose label files were lost have no entry; see `load_given`.

    Args:
        path: a file or folder of faces, an output of `blur`, or the folder of its manifest.

    Raises:
        DataError: if the format is unknown, or an entry is not valid.
    """
    records = find_records(path)
    if records is None and (sidecar := find_digests(path)) is not None:
        yield from _load_export(path, sidecar)
        return
    if records is None:
        yield from iter_given_faces(path)
        return
    for part in store.iter_parts(records):
        yield from table.iter_faces(part)


def load_given(path: Path) -> Iterator[GivenFaces]:
    """Iterate over the faces of `load_faces`, then over the images listed as withheld.

    Args:
        path: as for `load_faces`.

    Raises:
        DataError: if the format is unknown, or an entry is not valid.
    """
    yield from load_faces(path)
    if (records := find_records(path)) is not None:
        for part in store.iter_parts(records):
            yield from table.iter_listed_as_withheld(part)
    elif table.recognize(path):
        yield from table.iter_listed_as_withheld(path)


def _load_export(path: Path, sidecar: Path) -> Iterator[GivenFaces]:
    schema = "CREATE TABLE digests (id TEXT PRIMARY KEY, sha256 TEXT, withheld TEXT)"
    with (
        open_index(schema=schema, what="index of digests") as index,
        open_regular(sidecar, follow_links=True) as file,
    ):
        index.executemany(
            "INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", _iter_digests(file, sidecar)
        )
        for given in iter_given_faces(path):
            query = "SELECT sha256 FROM digests WHERE id = ?"
            found = index.execute(query, (given.id,)).fetchone()
            index.execute("UPDATE digests SET withheld = NULL WHERE id = ?", (given.id,))
            if found is None:
                yield given
            elif given.boxes or not _has_lost_labels(path, given.id):
                yield replace(given, source_sha256=given.source_sha256 or found[0])
        rest = "SELECT id, sha256, withheld FROM digests WHERE withheld IS NOT NULL ORDER BY id"
        for name, digest, reason in index.execute(rest):
            yield GivenFaces(name, (), source_sha256=digest, withheld=reason)


def _iter_digests(file: BinaryIO, sidecar: Path) -> Iterator[tuple[str, str | None, str | None]]:
    """Iterate over id, digest and reason of the lines of a file of digests."""
    number = 1
    try:
        for line in iter_short_lines(file):
            entry = json.loads(line)
            if number > 1 or INFO.decode() not in entry:
                digest, reason = entry["sha256"], entry.get("withheld")
                yield str(entry["id"]), digest and str(digest), reason and str(reason)
            number += 1
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DataError(f"{sidecar}, line {number}, is not an id with a sha256") from None


def _has_lost_labels(path: Path, name: str) -> bool:
    """Whether the label file of an image is missing in an export to YOLO, which writes all."""
    if not (path / "images.txt").is_file():
        return False
    stem = name.rpartition(".")[0]
    return not any((path / "labels" / f"{each}.txt").is_file() for each in (name, stem) if each)


def find_records(path: Path) -> Path | None:
    """Return the folder of records if a path is an output of `blur` or its manifest, or None."""
    manifest = store.find_manifest(path)
    records = manifest / store.RECORDS_FOLDER
    return records if (manifest / store.RUN).is_file() and records.is_dir() else None


def save_face_index(faces: Iterable[GivenFaces], path: Path) -> None:
    """Write an index of given faces; an id may be repeated."""
    path.unlink(missing_ok=True)
    with open_index(path, what="index of given faces") as table:
        table.execute(
            "CREATE TABLE given (id TEXT, relative INTEGER, boxes TEXT, review TEXT, "
            "withheld TEXT, sha256 TEXT, width INTEGER, height INTEGER, count INTEGER)"
        )
        table.executemany(_INSERT, map(_to_row, faces))
        table.execute("CREATE INDEX by_id ON given (id)")


def _to_row(given: GivenFaces) -> tuple[Any, ...]:
    _check_id(given.id)
    count = len(given.boxes)
    boxes = json.dumps(list(_iter_faces(given)) if count <= MAX_REGIONS else [])
    size = given.size or (None, None)
    row = (given.id, given.relative, boxes, given.review, given.withheld)
    return (*row, given.source_sha256, *size, count)


def _iter_faces(given: GivenFaces) -> Iterator[tuple[Any, ...]]:
    """Yield each face's box, frames, and further fields that the file has."""
    for index, decision in enumerate(iter_decisions(given)):
        # With one more than any image has, it is withheld.
        frames = sorted({*given.frames[index]})[: MAX_FRAMES + 1] if given.frames else None
        yield given.boxes[index].xyxy, frames, decision


_MAX_ID = 4096  # characters
# 300 characters of a reason are used, and digests of 65 match none.
_INSERT = "INSERT INTO given VALUES (?, ?, ?, ?, substr(?, 1, 300), substr(?, 1, 65), ?, ?, ?)"


def _check_id(name: str) -> None:
    if len(name) > _MAX_ID:
        raise DataError(
            f"the file of faces has an id of {len(name):,} characters; at most {_MAX_ID:,} are read"
        )
    if name.isascii():
        return
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f"the file of faces lists {name!a}, which is not valid text") from None


def match_faces(path: Path, records: Iterable[str], by_suffix: bool = False) -> Matches:
    """Give the faces of an index to the records that they mean.

    An id of the index means the record of the same id. With ``by_suffix`` an id
    that no record has means the only record whose path ends with it; one record
    may not be meant by two ids.

    Args:
        path: an index made by ``save_face_index``.
        records: every record id.
        by_suffix: whether an id may be the end of a path.

    Raises:
        DataError: if an id could mean two records.
    """
    with open_index(path, what="index of given faces") as table:
        table.execute("DROP TABLE IF EXISTS faces")
        table.execute("CREATE TABLE faces (id TEXT PRIMARY KEY, given TEXT UNIQUE)")
        table.execute("CREATE TEMP TABLE left_over (number INTEGER PRIMARY KEY, id TEXT)")
        for record in records:
            known = table.execute("SELECT 1 FROM given WHERE id = ? LIMIT 1", (record,)).fetchone()
            if known is None:
                table.execute("INSERT INTO left_over (id) VALUES (?)", (record,))
            else:
                table.execute("INSERT INTO faces VALUES (?, ?)", (record, record))
        return _match_rest(table, by_suffix)


def describe_matches(matches: Matches, file: Path) -> str:
    """Describe how a file of faces matches SOURCE in one line."""
    line = f"{file} has faces of {matches.matched - matches.withheld:,} images of SOURCE"
    if matches.withheld:
        line += f"; withheld again, for the reason in the file: {matches.withheld:,} images"
    if matches.unmatched:
        line += f"; {matches.unmatched:,} of its {matches.lines:,} ids are not in SOURCE"
    return line + "."


def check_matches(matches: Matches, file: Path, allow_missing: bool) -> None:
    """Refuse a file of faces without entries for some images, in which faces may be visible.

    Raises:
        DataError: if none of its ids is an image, or an image has no entry and that is not
            allowed.
    """
    hint = (
        f" (the ends of paths match {matches.by_suffix:,} of them: if those are the same images, "
        "use --faces-match suffix)"
        if matches.by_suffix
        else ""
    )
    if not matches.matched:
        raise DataError(
            f"none of the {matches.lines:,} images in {file} is in SOURCE; "
            f"ids are paths relative to SOURCE{hint}"
        )
    if matches.missing and not allow_missing:
        raise DataError(
            f"{file} has no entry for {matches.missing:,} images, such as "
            f"{matches.first_missing!r}{hint}; complete the file, or withhold them with "
            "--allow-missing"
        )


def _match_rest(table: sqlite3.Connection, by_suffix: bool) -> Matches:
    """Match the records without an entry of their whole path, by suffix if allowed."""
    first, missing, could = None, 0, 0
    for (record,) in table.execute("SELECT id FROM left_over ORDER BY number"):
        found = _find_suffix(table, record)
        if found is not None and by_suffix:
            _assign(table, record, found)
            continue
        could += found is not None
        missing += 1
        first = first or record
    lines = table.execute("SELECT count(DISTINCT id) FROM given").fetchone()[0]
    matched = table.execute("SELECT count(*) FROM faces").fetchone()[0]
    withheld = table.execute(
        "SELECT count(DISTINCT faces.id) FROM faces JOIN given ON given.id = faces.given "
        "WHERE withheld IS NOT NULL"
    ).fetchone()[0]
    return Matches(lines, matched, missing, first, could, withheld)


def _find_suffix(table: sqlite3.Connection, record: str) -> str | None:
    """Return the longest id that is the end of a record's path and not another record's id."""
    parts = record.split("/")
    for start in range(1, len(parts)):
        given = "/".join(parts[start:])
        row = table.execute(
            "SELECT 1 FROM given WHERE id = ?1 AND NOT EXISTS "
            "(SELECT 1 FROM faces WHERE faces.id = ?1) LIMIT 1",
            (given,),
        ).fetchone()
        if row is not None:
            return given
    return None


def _assign(table: sqlite3.Connection, record: str, given: str) -> None:
    try:
        table.execute("INSERT INTO faces VALUES (?, ?)", (record, given))
    except sqlite3.IntegrityError:
        other = table.execute("SELECT id FROM faces WHERE given = ?", (given,)).fetchone()
        raise DataError(
            f"{given!r} in the file of faces could mean {other[0]!r} or {record!r}; "
            "give paths relative to SOURCE"
        ) from None
