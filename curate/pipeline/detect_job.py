"""The job of `detect` on a shard: find the faces of its images, and write its part of the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.core.faces import Face
from curate.core.stages import take_times
from curate.engine.local import Report
from curate.engine.shards import Shard, Stage
from curate.layouts import open_source
from curate.manifest.faces import FacesEntry, save_faces_part
from curate.manifest.store import save_json
from curate.pipeline.shard import (
    PART,
    TALLY,
    DetectedImage,
    ShardResult,
    detect_images,
    iter_batches,
    note_models,
)
from curate.pipeline.tools import open_tools
from curate.recipe import Recipe


@dataclass(frozen=True, slots=True)
class DetectJob:
    """Everything a worker process needs to find faces; small, and picklable.

    Args:
        uri: path or URI of the dataset.
        layout: its layout.
        work: the work folder.
        recipe: what to do.
        weights: a weights file of the user, or None.
        follow_links: whether symbolic links that point outside the dataset are followed.
    """

    uri: str
    layout: str
    work: Path
    recipe: Recipe
    weights: Path | None = None
    follow_links: bool = False

    def open(self) -> Callable[[Shard, Report], ShardResult]:
        """Load the models and return the shard function."""
        tools = open_tools(self.recipe, None, self.weights)
        source = open_source(self.uri, self.layout, follow_links=self.follow_links)
        note_models(tools.detector, self.work)

        def work(shard: Shard, report: Report) -> ShardResult:
            entries: list[FacesEntry] = []
            with Stage(self.work / "staging", self.work / "shards", shard.name) as stage:
                for start, records in iter_batches(shard, self.recipe.device):
                    report(start, (len(entries), sum(len(entry.faces) for entry in entries)))
                    entries += map(_to_entry, detect_images(records, shard, source, tools))
                tally = count_faces(entries)
                save_faces_part(entries, stage.path(PART))
                save_json(tally, stage.path(TALLY))
                stage.commit()
            return ShardResult(tally, take_times())

        return work


def _to_entry(image: DetectedImage) -> FacesEntry:
    record, picture = image.record, image.picture
    frames: dict[Face, list[int]] = {}
    for index, faces in enumerate(image.faces):
        for face in dict.fromkeys(faces):
            frames.setdefault(face, []).append(index)
    return FacesEntry(
        id=record.id,
        split=record.split,
        category=record.category,
        source_sha256=image.sha256,
        source_bytes=image.size,
        width=picture.width if picture else None,
        height=picture.height if picture else None,
        orientation=picture.orientation if picture else None,
        reason=str(image.trouble) if image.trouble else None,
        faces=tuple(_in_frames(face, found) for face, found in frames.items()),
    )


def _in_frames(face: Face, frames: Sequence[int]) -> Face:
    return Face(face.box, face.confidence, face.detectors, face.decided_by, tuple(frames))


def count_faces(entries: Sequence[FacesEntry]) -> dict[str, int]:
    """Count the images and faces of a part of the table."""
    return {
        "images": len(entries),
        "withheld": sum(entry.reason is not None for entry in entries),
        "images_with_faces": sum(bool(entry.faces) for entry in entries),
        "faces": sum(len(entry.faces) for entry in entries),
    }
