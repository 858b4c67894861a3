"""Read a few images and decide their faces: what blurring and detecting have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from curate import codec
from curate.codec import Picture
from curate.core.errors import WithheldError
from curate.core.faces import Face
from curate.core.protocols import Source
from curate.core.records import ImageRecord
from curate.core.stages import stage
from curate.engine.shards import Shard
from curate.manifest.store import digest_bytes
from curate.pipeline.environment import describe, find_trouble
from curate.pipeline.image import Tools, detect

PART = "part.parquet"
TALLY = "tally.json"
_BATCH_ON_CUDA = 16


@dataclass(frozen=True, slots=True)
class Looked:
    """One image, as far as it could be looked at.

    Args:
        record: which image.
        sha256: digest of its stored bytes, if they could be read.
        size: how many they are.
        picture: its pixels, if they could be decoded.
        faces: its faces, a list for each frame, if a detector ran to its end.
        trouble: why it is withheld; None if and only if there are faces.
    """

    record: ImageRecord
    sha256: str | None = None
    size: int | None = None
    picture: Picture | None = None
    faces: Sequence[Sequence[Face]] = ()
    trouble: WithheldError | None = None


def look(
    records: Sequence[ImageRecord], shard: Shard, source: Source, tools: Tools
) -> Iterator[Looked]:
    """Read a few images and decide their faces; one answer each, in order."""
    reads = [_read(record, shard.withhold.get(record.id), source, tools) for record in records]
    faces = _detect({r.record.id: r.picture for r in reads if r.picture is not None}, tools)
    for read in reads:
        found = faces.get(read.record.id)
        if read.trouble is not None or found is None:
            yield read
        elif isinstance(found, WithheldError):
            yield replace(read, trouble=found)
        else:
            yield replace(read, faces=found)


def in_batches(shard: Shard, device: str) -> Iterator[tuple[int, Sequence[ImageRecord]]]:
    """A shard's records as many at a time as the device takes, with the index of the first."""
    size = _BATCH_ON_CUDA if device == "cuda" and not shard.one_by_one else 1
    for start in range(0, len(shard.records), size):
        yield start, shard.records[start : start + size]


def _read(record: ImageRecord, barred: str | None, source: Source, tools: Tools) -> Looked:
    if barred is not None:
        code, _, detail = barred.partition(": ")
        return Looked(record, trouble=WithheldError(code, detail))
    try:
        data = source.read(record)
    except Exception as error:
        return Looked(record, trouble=why_withheld(error, record.id))
    with stage("hash"):
        digest, size = digest_bytes(data), len(data)
    try:
        if _is_of_another_file(record, digest, tools):
            raise WithheldError("other-file", "its faces were found in another file of this name")
        with stage("decode"):
            picture = codec.load(data, tools.options)
        return Looked(record, digest, size, picture)
    except Exception as error:
        return Looked(record, digest, size, trouble=why_withheld(error, record.id))


def _is_of_another_file(record: ImageRecord, digest: str, tools: Tools) -> bool:
    """Whether the given faces of an image are those of a file with other bytes."""
    given = tools.given.find(record.id) if tools.given is not None else None
    return given is not None and given.source_sha256 not in (None, digest)


def _detect(pictures: dict[str, Picture], tools: Tools) -> dict[str, Any]:
    """Faces per frame by record id, or why the image is withheld.

    A batch that fails is done again one by one, so that only the image that
    cannot be looked at is withheld, and a batch that a GPU has no memory for
    ends the run only if a single image is too much.
    """
    if not pictures:
        return {}
    try:
        return dict(detect(pictures, tools))
    except Exception as error:
        if len(pictures) == 1:
            [name] = pictures
            return {name: why_withheld(error, name, "detector", "it did not finish")}
    return {
        name: found
        for one in pictures.items()
        for name, found in _detect(dict([one]), tools).items()
    }


def why_withheld(
    error: Exception,
    image: str,
    code: str = "internal",
    detail: str = "the image could not be processed",
) -> WithheldError:
    """Why an image is withheld; raises what is no image's fault."""
    if isinstance(error, WithheldError):
        return error
    if ending := find_trouble(error, image):
        raise ending from error
    return WithheldError(code, f"{detail} ({describe(error)})")
