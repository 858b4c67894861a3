"""The shard function: the same on every executor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate import codec
from curate.codec import Picture, digest_pixels
from curate.core.entries import ManifestEntry, Outcome, Route, Transform
from curate.core.errors import WithheldError
from curate.core.protocols import Model, Source
from curate.core.records import ImageRecord
from curate.core.stages import stage as timed
from curate.core.stages import take_times
from curate.engine.local import Report
from curate.engine.shards import Shard, Stage
from curate.layouts import open_source
from curate.manifest.store import Tally, digest_bytes, save_json, save_part
from curate.pipeline.image import Obfuscated, Tools, hide
from curate.pipeline.looking import PART, TALLY, Looked, in_batches, look, why_withheld
from curate.pipeline.tools import open_tools
from curate.recipe import Recipe

DATA = "data"


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
        models = tools.detector.models() if tools.detector else ()

        def work(shard: Shard, report: Report) -> ShardResult:
            entries: list[ManifestEntry] = []
            tally = Tally()
            with Stage(self.work / "staging", self.work / "shards", shard.name) as stage:
                for start, records in in_batches(shard, self.recipe.device):
                    report(start, (tally.images, tally.faces))
                    for entry, data in process(records, shard, source, tools):
                        if data is not None:
                            with timed("write"):
                                stage.write(f"{DATA}/{entry.output_path}", data)
                        entries.append(entry)
                        tally.add(entry)
                with timed("write"):
                    save_part(entries, stage.path(PART))
                    save_json(tally.to_dict(), stage.path(TALLY))
                    stage.commit()
            return ShardResult(tally.to_dict(), models, take_times())

        return work


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What the parent learns of a committed shard; ``times`` are CPU seconds by stage."""

    tally: dict[str, Any]
    models: tuple[Model, ...]
    times: dict[str, float]


def process(
    records: Sequence[ImageRecord], shard: Shard, source: Source, tools: Tools
) -> Iterator[tuple[ManifestEntry, bytes | None]]:
    """Obfuscate a few images; yields for each its entry and, if written, its bytes."""
    for looked in look(records, shard, source, tools):
        picture = looked.picture
        if looked.trouble is not None or picture is None:
            trouble = looked.trouble or WithheldError("internal", "no picture")
            yield _withheld(looked, trouble), None
            continue
        try:
            made = hide(picture, looked.faces, tools)
            with timed("hash"):
                entry = _written(looked, picture, made, tools)
        except Exception as error:  # whatever it is, the image must not pass
            yield _withheld(looked, why_withheld(error, looked.record.id)), None
        else:
            yield entry, made.data


def _withheld(looked: Looked, trouble: WithheldError) -> ManifestEntry:
    picture = looked.picture
    return ManifestEntry(
        **_named(looked),
        width=picture.width if picture else None,
        height=picture.height if picture else None,
        mode=picture.mode if picture else None,
        orientation=picture.orientation if picture else None,
        outcome=Outcome.WITHHELD,
        reason=str(trouble),
    )


def _written(looked: Looked, picture: Picture, made: Obfuscated, tools: Tools) -> ManifestEntry:
    return ManifestEntry(
        **_named(looked),
        width=picture.width,
        height=picture.height,
        mode=picture.mode,
        orientation=picture.orientation,
        outcome=Outcome.WRITTEN,
        route=made.route,
        faces=made.faces,
        hidden=tuple(region.hidden for region in made.regions),
        transforms=(*_transforms(made, tools), *_describe_review(looked.record.id, tools)),
        blurred_share=made.blurred_share,
        output_path=looked.record.id,
        output_sha256=digest_bytes(made.data),
        output_bytes=len(made.data),
        pixels_sha256=_digest_output(made, tools),
    )


def _digest_output(made: Obfuscated, tools: Tools) -> str | None:
    """What the output shows; an output that cannot be read back raises, and is withheld."""
    if made.route is Route.COPIED:
        return None
    return digest_pixels(codec.load(made.data, tools.options))


def _named(looked: Looked) -> dict[str, Any]:
    record = looked.record
    return {
        "id": record.id,
        "split": record.split,
        "category": record.category,
        "source_path": record.id,
        "source_sha256": looked.sha256,
        "source_bytes": looked.size,
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


def _describe_review(record_id: str, tools: Tools) -> Iterable[Transform]:
    """What people did about the faces, where the file of faces says it."""
    given = tools.given.find(record_id) if tools.given is not None else None
    if given is not None and given.review is not None:
        yield Transform("review", "1", {"state": given.review})
