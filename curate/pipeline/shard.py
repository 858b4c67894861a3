"""The shard function: the same on every executor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.core.entries import ManifestEntry, Outcome
from curate.core.errors import WithheldError
from curate.core.ports import Model, Source
from curate.core.records import ImageRecord
from curate.core.transforms import Transform
from curate.engine.local import Report
from curate.engine.shards import Shard, Stage
from curate.formats import codec, open_source
from curate.formats.codec import Picture
from curate.manifest.store import Tally, digest_bytes, save_json, save_part
from curate.pipeline.environment import describe, find_trouble
from curate.pipeline.image import Obfuscated, Tools, detect, hide
from curate.pipeline.tools import open_tools
from curate.recipe import Recipe

DATA = "data"
PART = "part.parquet"
TALLY = "tally.json"
_BATCH_ON_CUDA = 16


@dataclass(frozen=True, slots=True)
class ShardJob:
    """Everything a process needs to do shards; small, and survives pickling.

    Args:
        place: where the dataset is.
        layout: its layout.
        work: the work folder inside OUT.
        recipe: what to do.
        faces: index of given faces in the work folder, or None.
        weights: a weights file that the user brought, or None.
    """

    place: str
    layout: str
    work: Path
    recipe: Recipe
    faces: Path | None = None
    weights: Path | None = None

    def open(self) -> Callable[[Shard, Report], ShardResult]:
        """Load the models; returns the shard function."""
        tools = open_tools(self.recipe, self.faces, self.weights)
        source = open_source(self.place, self.layout)
        batch = _BATCH_ON_CUDA if self.recipe.device == "cuda" else 1
        models = tools.detector.models() if tools.detector else ()

        def work(shard: Shard, report: Report) -> ShardResult:
            size = 1 if shard.one_by_one else batch
            entries: list[ManifestEntry] = []
            tally = Tally()
            with Stage(self.work / "staging", self.work / "shards", shard.name) as stage:
                for start in range(0, len(shard.records), size):
                    report(start, (tally.images, tally.faces))
                    for entry, data in process(
                        shard.records[start : start + size], shard, source, tools
                    ):
                        if data is not None:
                            stage.write(f"{DATA}/{entry.output_path}", data)
                        entries.append(entry)
                        tally.add(entry)
                save_part(entries, stage.path(PART))
                save_json(tally.to_dict(), stage.path(TALLY))
                stage.commit()
            return ShardResult(tally.to_dict(), models)

        return work


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What the parent learns of a committed shard."""

    tally: dict[str, Any]
    models: tuple[Model, ...]


@dataclass(frozen=True, slots=True)
class _Read:
    record: ImageRecord
    sha256: str | None = None
    size: int | None = None
    picture: Picture | None = None
    trouble: WithheldError | None = None


def process(
    records: Sequence[ImageRecord], shard: Shard, source: Source, tools: Tools
) -> Iterator[tuple[ManifestEntry, bytes | None]]:
    """Obfuscate a few images; yields for each its entry and, if written, its bytes."""
    reads = [_read(record, shard.withhold.get(record.id), source, tools) for record in records]
    faces = _detect({r.record.id: r.picture for r in reads if r.picture is not None}, tools)
    for read in reads:
        if read.trouble is not None or read.picture is None:
            yield _withheld(read, read.trouble or WithheldError("internal", "no picture")), None
            continue
        found = faces[read.record.id]
        if isinstance(found, WithheldError):
            yield _withheld(read, found), None
            continue
        try:
            made = hide(read.picture, found, tools)
        except Exception as error:  # whatever it is, the image must not pass
            yield _withheld(read, _trouble(error, read.record.id)), None
        else:
            yield _written(read, read.picture, made, tools), made.data


def _read(record: ImageRecord, barred: str | None, source: Source, tools: Tools) -> _Read:
    if barred is not None:
        code, _, detail = barred.partition(": ")
        return _Read(record, trouble=WithheldError(code, detail))
    try:
        data = source.read(record)
    except Exception as error:
        return _Read(record, trouble=_trouble(error, record.id))
    digest, size = digest_bytes(data), len(data)
    try:
        return _Read(record, digest, size, codec.load(data, tools.options))
    except Exception as error:
        return _Read(record, digest, size, trouble=_trouble(error, record.id))


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
            return {name: _trouble(error, name, "detector", "it did not finish")}
    return {
        name: found
        for one in pictures.items()
        for name, found in _detect(dict([one]), tools).items()
    }


def _trouble(
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


def _withheld(read: _Read, trouble: WithheldError) -> ManifestEntry:
    picture = read.picture
    return ManifestEntry(
        **_named(read),
        width=picture.width if picture else None,
        height=picture.height if picture else None,
        mode=picture.mode if picture else None,
        orientation=picture.orientation if picture else None,
        outcome=Outcome.WITHHELD,
        reason=str(trouble),
    )


def _written(read: _Read, picture: Picture, made: Obfuscated, tools: Tools) -> ManifestEntry:
    return ManifestEntry(
        **_named(read),
        width=picture.width,
        height=picture.height,
        mode=picture.mode,
        orientation=picture.orientation,
        outcome=Outcome.WRITTEN,
        route=made.route,
        faces=made.faces,
        hidden=tuple(region.hidden for region in made.regions),
        transforms=tuple(_transforms(made, tools)),
        blurred_share=made.blurred_share,
        output_path=read.record.id,
        output_sha256=digest_bytes(made.data),
        output_bytes=len(made.data),
    )


def _named(read: _Read) -> dict[str, Any]:
    record = read.record
    return {
        "id": record.id,
        "split": record.split,
        "category": record.category,
        "source_path": record.id,
        "source_sha256": read.sha256,
        "source_bytes": read.size,
    }


def _transforms(made: Obfuscated, tools: Tools) -> Iterable[Transform]:
    kept = ",".join(("icc", "orientation", *sorted(tools.options.keep_metadata)))
    yield Transform("strip_metadata", "1", {"keeps": kept})
    if made.regions:
        yield Transform(
            tools.obfuscator.name,
            tools.obfuscator.version,
            {**tools.obfuscator.parameters, "margin": tools.margin},
        )
    if made.note:
        yield Transform("encode", "1", {"note": made.note})
