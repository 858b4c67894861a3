"""Search for faces in label maps, which are copied without change.

That the pixels of a file are labels does not prove that they show no face: a photo with few gray
levels has flat regions as well. So a map with regions that are too small for labels is left out,
and a detector searches every other one before it is copied, in worker processes; one in which it
finds a face is left out, too, and one whose labels follow the brightness of a face in its image.
The detector is the default one on the processor whatever detector the run has, so that runs with
given faces, updates and replays decide alike.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from curate import codec
from curate.core.errors import DataError, PausedError, WithheldError
from curate.core.faces import Detection
from curate.core.protocols import LABEL_MAP, Detector, Pixels, Source, iter_sidecars
from curate.core.records import ImageRecord
from curate.detectors import DetectorOptions, make_detector
from curate.engine.local import Finished, Report
from curate.engine.shards import Shard, iter_shards
from curate.layouts import open_source
from curate.layouts.label_maps import (
    LabelMapLayout,
    find_drawing,
    render_label_map,
    shows_faces,
)
from curate.manifest.store import digest_bytes, load_json
from curate.pipeline.environment import run_job
from curate.pipeline.run import Run
from curate.pipeline.session import count_workers
from curate.pipeline.withhold import to_withheld
from curate.recipe import Recipe
from curate.storage.atomic import save_bytes
from curate.storage.index import NameIndex

_SHARD_SIZE = 128
_LISTING = "paths.jsonl"
_CLEAR = ""
_LEFT_OUT = "this label map is left out"
FACE_FOUND = f"a face was found; {_LEFT_OUT}"
FACE_DRAWN = f"its labels follow the brightness of a face in its image; {_LEFT_OUT}"
_UNKNOWN = "this label map has changed since faces were searched in it; run again"


class SearchedMaps:
    """What was found in label maps, by path and by the digest of their bytes."""

    def __init__(self) -> None:
        self._found = NameIndex()

    def add(self, path: str, sha256: str, reason: str) -> None:
        """Add a label map, with the reason to leave it out; empty if there is none."""
        self._found.add(sha256 or "unread", path, reason)

    def check(self, path: str, sha256: str) -> None:
        """Raise `DataError` unless a label map was searched and no face was found."""
        reason = self._found.get("unread", path)
        if reason is None:
            reason = self._found.get(sha256, path)
        if reason != _CLEAR:
            raise DataError(_UNKNOWN if reason is None else reason)


@dataclass(frozen=True, slots=True)
class MapJob:
    """What a worker process needs to search label maps; small, and picklable.

    Args:
        uri: path or URI of the dataset.
        layout: its layout.
        follow_links: whether symbolic links that point outside the dataset are followed.
        folder: folder for the results of the shards.
    """

    uri: str
    layout: str
    follow_links: bool
    folder: Path

    def open(self) -> Callable[[Shard, Report], None]:
        """Load the detector and return the shard function."""
        detector = make_detector(DetectorOptions(device="cpu", self_test=False))
        source = open_source(self.uri, self.layout, follow_links=self.follow_links)

        def work(shard: Shard, report: Report) -> None:
            lines = []
            for index, record in enumerate(shard.records):
                report(index, None)
                stamp = source.stamp(record)
                barred = shard.withhold.get(record.id)
                sha256, reason = ("", barred) if barred else _search(source, record, detector)
                lines.append([record.id, stamp, sha256, reason])
            data = json.dumps(lines, ensure_ascii=True).encode()
            save_bytes(_result_path(self.folder, shard.number), data)

        return work


def search_label_maps(run: Run[Recipe]) -> SearchedMaps:
    """Search all label maps of a dataset for faces; results of an interrupted search are used.

    Raises:
        PausedError: if the session stopped the search.
    """
    folder, found = run.workspace.root / "label_maps", SearchedMaps()
    folder.mkdir(parents=True, exist_ok=True)
    count = _list_maps(run.source, folder)
    if not count:
        return found
    run.session.notify(f"Searching {count:,} label maps for faces.")
    job = MapJob(run.source.uri, run.source.layout, run.source.follow_links, folder)
    waiting = (shard for shard in _iter_shards(folder) if _load(run.source, shard, folder) is None)
    done = 0
    for event in run_job(
        job,
        waiting,
        run.session,
        run.workspace.state,
        count_workers(Recipe(), run.session),  # on the processor, as the detector of the job
        marks=folder / "marks",
        is_committed=lambda number: _result_path(folder, number).is_file(),
    ):
        if isinstance(event, Finished):
            done += 1
            if done % 10 == 0:
                searched = min(done * _SHARD_SIZE, count)
                run.session.notify(f"Searched {searched:,} label maps.")
    for shard in _iter_shards(folder):
        results = _load(run.source, shard, folder)
        if results is None:
            raise PausedError(
                "paused while label maps are searched; run the same command again to continue"
            )
        for path, _, sha256, reason in results:
            found.add(path, sha256, reason)
    return found


def _list_maps(source: Source, folder: Path) -> int:
    """Write the paths of all label maps to a file, since each is proven to be one; count them."""
    count = 0
    with (folder / _LISTING).open("w", encoding="utf-8") as file:
        for other in iter_sidecars(source):
            if other.format == LABEL_MAP:
                file.write(f"{json.dumps(other.uri)}\n")
                count += 1
    return count


def _iter_shards(folder: Path) -> Iterator[Shard]:
    with (folder / _LISTING).open(encoding="utf-8") as file:
        records = (ImageRecord(id=path, uri=path) for path in map(json.loads, file))
        yield from iter_shards(records, _SHARD_SIZE)


def _search(source: Source, record: ImageRecord, detector: Detector) -> tuple[str, str]:
    """Digest of a label map, and the reason to leave it out; empty if there is none."""
    sha256 = ""
    try:
        data = source.read(record)
        sha256 = digest_bytes(data)
        if drawing := find_drawing(data):
            return sha256, f"{drawing}; {_LEFT_OUT}"
        views = render_label_map(data)
        if any(_detect(detector, views)):
            return sha256, FACE_FOUND
        if any(
            shows_faces(data, image, [face.box for face in faces])
            for image in _load_image(source, record)
            for faces in _detect(detector, [image])
        ):
            return sha256, FACE_DRAWN
    except Exception as error:
        trouble = to_withheld(error, record.id, "detector", "it did not finish")
        return sha256, f"no faces were searched in this label map: {trouble}"
    return sha256, _CLEAR


def _detect(detector: Detector, views: Sequence[Pixels]) -> Sequence[Sequence[Detection]]:
    results = detector.detect_batch(views)
    if len(results) != len(views):
        raise WithheldError("detector", "it did not answer for every image")
    return results


def _load_image(source: Source, record: ImageRecord) -> Iterator[Pixels]:
    """The image of a label map as EXIF turns it and as it is stored; none if it is not there."""
    path = source.image_of(record.id) if isinstance(source, LabelMapLayout) else None
    image = source.find(path) if path is not None else None
    if image is None:
        return
    picture = codec.load(source.read(image))
    for orientation in {picture.orientation, 1}:
        yield codec.upright_rgb(replace(picture, orientation=orientation))


def _result_path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.json"


def _load(source: Source, shard: Shard, folder: Path) -> list[Any] | None:
    """Results of a shard, or None if it was not searched or its files have changed."""
    try:
        results = load_json(_result_path(folder, shard.number))
    except FileNotFoundError:
        return None
    known = [[record.id, source.stamp(record)] for record in shard.records]
    return results if [line[:2] for line in results] == known else None
