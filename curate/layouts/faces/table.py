"""Parquet table of faces, as written by ``curate detect`` and in manifests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curate.core.documents import parse_json
from curate.core.errors import DataError, describe_malformed
from curate.layouts.faces.boxes import GivenFaces, make_box, parse_size, starts_with

REVIEW_STATES = ("reviewed", "sampled", "not looked at")
"""Values of the column ``review``."""

LOOKED_AT = ("reviewed", "sampled")
"""Values of images that a person looked at."""


def recognize(path: Path) -> bool:
    """Return whether a file is a Parquet file."""
    return starts_with(path, b"PAR1")


def iter_faces(path: Path) -> Iterator[GivenFaces]:
    """Read a table with the columns ``id`` and ``faces``, a list of structs with ``xyxy``.

    Images that a run withheld (``outcome``, ``reason``) and those whose list is null were
    not examined and are skipped.
    """
    import pyarrow as pa

    from curate.storage.parquet import iter_table_rows, open_parquet

    try:
        with open_parquet(path) as table:
            schema = table.schema_arrow
            missing = {"id", "faces"} - set(schema.names)
            if missing:
                raise DataError(
                    f"{path} has no column {sorted(missing)[0]!r}; expected id and faces"
                )
            if not _has_boxes(schema.field("faces").type):
                raise DataError(
                    f"{path}: its faces have no xyxy; expected lists of structs with xyxy"
                )
        wanted = (
            *("id", "faces", "outcome", "reason", "width", "height", "source_sha256"),
            *("review", "transforms"),
        )
        for row in iter_table_rows(path, wanted):
            if _is_examined(row):
                yield _parse(row, path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path} cannot be read as a table of face boxes: {describe_malformed(error)}"
        ) from None


def iter_listed_as_withheld(path: Path) -> Iterator[GivenFaces]:
    """Iterate over the images that the table itself withholds, with the reason that it states.

    Images with a null list and no reason are not among them: nothing states that they were
    looked at.
    """
    from curate.storage.parquet import iter_table_rows

    for row in iter_table_rows(path, ("id", "outcome", "reason", "source_sha256")):
        reason = row.get("reason")
        if reason is not None or row.get("outcome", "written") == "withheld":
            digest = row.get("source_sha256")
            withheld = str(reason or "withheld")
            yield GivenFaces(str(row["id"]), (), source_sha256=digest, withheld=withheld)


def _is_examined(row: dict[str, Any]) -> bool:
    withheld = row.get("outcome", "written") != "written" or row.get("reason") is not None
    return row["faces"] is not None and not withheld


def _parse(row: dict[str, Any], path: Path) -> GivenFaces:
    where = f"{path}: faces of {row['id']!a}"
    faces = row["faces"]
    if not all(isinstance(face, dict) for face in faces):
        raise DataError(f"{where} have an entry that is null; remove it")
    boxes = tuple(make_box(face["xyxy"], f"{where}[{n}]") for n, face in enumerate(faces))
    frames = tuple(_frames(face["frames"], where) for face in faces if face.get("frames"))
    return GivenFaces(
        str(row["id"]),
        boxes,
        frames=frames if len(frames) == len(boxes) else (),
        fields=tuple(faces),
        size=parse_size(row, where),
        source_sha256=row.get("source_sha256"),
        review=_find_state(row, where),
    )


def _find_state(row: dict[str, Any], where: str) -> str | None:
    """Whether people looked: from an exported review, or as a manifest recorded it."""
    state = row.get("review")
    steps = row.get("transforms")
    for step in steps if isinstance(steps, list) else ():
        if isinstance(step, dict) and step.get("name") == "review":
            state = _parse_state(step.get("parameters"), where)
    return state if state in REVIEW_STATES else None


def _parse_state(parameters: Any, where: str) -> Any:
    try:
        return parse_json(str(parameters).encode(), where)["state"]
    except (ValueError, KeyError, TypeError):
        raise DataError(
            f"{where}: the parameters of its review are not JSON with a state"
        ) from None


def _frames(frames: Any, where: str) -> tuple[int, ...]:
    if not all(isinstance(frame, int) and frame >= 0 for frame in frames):
        raise DataError(f"{where} are in the frames {frames!r}; expected indices from 0")
    return tuple(frames)


def _has_boxes(kind: Any) -> bool:
    """Return whether the type of a column is a list of structs with ``xyxy``, or of null."""
    import pyarrow as pa

    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return False
    inner = kind.value_type
    if pa.types.is_struct(inner):
        return any(field.name == "xyxy" for field in inner)
    return bool(pa.types.is_null(inner))
