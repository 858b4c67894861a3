"""Obfuscate one image: decide its faces, hide them, encode the output."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

import numpy as np

from curate import codec
from curate.codec import CodecOptions, Picture
from curate.core.entries import Route
from curate.core.errors import WithheldError
from curate.core.faces import Detection, Face, Region
from curate.core.geometry import Box, clip, enclosing, iou, scale, to_stored
from curate.core.protocols import Detector, Obfuscator
from curate.core.stages import stage
from curate.layouts.faces.boxes import GivenFaces, is_too_small
from curate.obfuscators import masks

_MAX_VALUES = 1_000_000  # of the faces of an image; `storage.parquet` reads 2**20 of a row
_BATCH_PIXELS = 32 << 20  # rendered at a time
_MAX_REASON = 300  # characters of a reason from a file of faces
_SAME_FACE = 0.5  # IoU of boxes in two appearances of a frame


class GivenFaceSource(Protocol):
    """Faces given by a file, by image."""

    def find(self, record_id: str) -> GivenFaces | None:
        """Return the faces of one image, or None if the file has no entry for it."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """Detector, obfuscator and options to obfuscate images; opened once per process.

    Args:
        detector: finds faces, or None if they are given.
        given: faces given before the run, or None to run the detector.
        obfuscator: hides them.
        margin: growth of each face, as a share of its longer side.
        options: limits and metadata of the codec.
    """

    detector: Detector | None
    given: GivenFaceSource | None
    obfuscator: Obfuscator
    margin: float
    options: CodecOptions


@dataclass(frozen=True, slots=True)
class Obfuscated:
    """The output of one image.

    Args:
        data: the encoded output.
        route: how the pixels outside the masks were kept.
        regions: the hidden regions of all frames, without repetition.
        faces: the faces behind the regions, in the same order, with their frames.
        blurred_share: share of the area inside any hidden region, 0..1.
        note: the codec's remark about the encoding, or None.
    """

    data: bytes
    route: Route
    regions: tuple[Region, ...]
    faces: tuple[Face, ...]
    blurred_share: float
    note: str | None = None


def detect(
    pictures: Mapping[str, Picture], tools: Tools
) -> dict[str, list[list[Face]] | WithheldError]:
    """Decide the faces of every frame of several images.

    Args:
        pictures: decoded images by record id.
        tools: the detector or the given faces.

    Returns:
        By record id, one list of faces per frame, or the reason to withhold the image.
    """
    if tools.given is not None:
        return {name: _given(name, picture, tools.given) for name, picture in pictures.items()}
    if tools.detector is None:
        raise ValueError("neither a detector nor given faces")
    found: dict[tuple[str, int], list[Detection]] = {}
    for views in _view_batches(pictures):
        shown = [codec.appearances(turned, index) for _, turned, index in views]
        with stage("detect"):
            results = tools.detector.detect_batch([image for images in shown for image in images])
        if len(results) != sum(map(len, shown)):
            raise WithheldError("detector", "it did not answer for every image")
        each = iter(results)
        for (name, turned, index), images in zip(views, shown, strict=True):
            united = _unite_appearances(list(islice(each, len(images))))
            new = [_to_stored(detection, turned, index) for detection in united]
            found[name, index] = _unite_orientations(found.get((name, index), []), new)
    return {
        name: [[_decide(each) for each in found[name, n]] for n in range(len(picture.frames))]
        for name, picture in pictures.items()
    }


def _view_batches(pictures: Mapping[str, Picture]) -> Iterator[list[tuple[str, Picture, int]]]:
    """All frames in each orientation that a viewer may show, in batches that fit in memory.

    Many programs ignore the orientation of EXIF, and many photos have one that is left over
    from before they were turned. A detector finds few faces that are not upright, so both the
    image as EXIF turns it and the image as stored are searched.
    """
    batch: list[tuple[str, Picture, int]] = []
    pixels = 0
    for name, picture in pictures.items():
        turned = [
            replace(picture, orientation=each) for each in dict.fromkeys((picture.orientation, 1))
        ]
        for index, frame in enumerate(picture.frames):
            size = frame.shape[0] * frame.shape[1]
            for view in turned:
                if batch and pixels + size > _BATCH_PIXELS:
                    yield batch
                    batch, pixels = [], 0
                batch.append((name, view, index))
                pixels += size
    if batch:
        yield batch


def _unite_appearances(found: Sequence[Sequence[Detection]]) -> list[Detection]:
    """Detections in all appearances of one frame, the same face only once."""
    united: list[Detection] = []
    for detections in found:
        new = [d for d in detections if all(iou(d.box, other.box) < _SAME_FACE for other in united)]
        united += new
    return united


def _unite_orientations(
    found: Sequence[Detection], further: Sequence[Detection]
) -> list[Detection]:
    """Detections in two orientations of one frame, in stored pixels.

    A face that is found in both is hidden as far as either box reaches, because boxes of faces
    that are not upright are imprecise.
    """
    united = list(found)
    for detection in further:
        best = max(range(len(found)), key=lambda n: iou(found[n].box, detection.box), default=-1)
        if best < 0 or iou(found[best].box, detection.box) < _SAME_FACE:
            united.append(detection)
            continue
        kept = max(united[best], detection, key=lambda each: each.confidence)
        united[best] = replace(kept, box=enclosing(united[best].box, detection.box))
    return united


def hide(picture: Picture, faces: Sequence[Sequence[Face]], tools: Tools) -> Obfuscated:
    """Hide the faces of every frame and encode the image.

    Args:
        picture: the decoded image.
        faces: one list per frame, in stored pixels.
        tools: the obfuscator.

    Raises:
        WithheldError: if the codec cannot write it, or it has more faces than a record.
    """
    sizes = [(frame.shape[1], frame.shape[0]) for frame in picture.frames]
    regions = [
        [masks.region(face.box, tools.margin, *size) for face in per_frame]
        for per_frame, size in zip(faces, sizes, strict=True)
    ]
    decided = _collect_frames(regions, faces)
    touched = [
        tools.obfuscator.reach(found, *size) if found else []
        for found, size in zip(regions, sizes, strict=True)
    ]
    if any(touched):
        with stage("obfuscate"):
            frames = [
                tools.obfuscator.apply(frame, sorted(found, key=_region_key)) if found else frame
                for frame, found in zip(picture.frames, regions, strict=True)
            ]
        with stage("encode"):
            encoded = codec.save(picture, frames, touched, tools.options)
    else:
        with stage("encode"):
            encoded = codec.save(picture, None, [], tools.options)
    return Obfuscated(
        data=encoded.data,
        route=encoded.route,
        regions=tuple(region for region, _ in decided),
        faces=tuple(replace(face, frames=frames) for (_, face), frames in decided.items()),
        blurred_share=share_hidden([region.hidden for region, _ in decided], *sizes[0]),
        note=encoded.note,
    )


def _region_key(region: Region) -> tuple[Box, Box]:
    """Sort key that does not depend on the order of detection, which some methods depend on."""
    return region.hidden, region.face


def _collect_frames(
    regions: Sequence[Sequence[Region]], faces: Sequence[Sequence[Face]]
) -> dict[tuple[Region, Face], tuple[int, ...]]:
    """Return every region with its face, without repetition, and the frames with it.

    Raises:
        WithheldError: if these are more than the reader of a manifest accepts for one image.
    """
    frames: dict[tuple[Region, Face], list[int]] = {}
    for index, (found, named) in enumerate(zip(regions, faces, strict=True)):
        for pair in dict.fromkeys(zip(found, named, strict=True)):
            frames.setdefault(pair, []).append(index)
    values = sum(15 + len(face.detectors) + len(found) for (_, face), found in frames.items())
    if values > _MAX_VALUES:
        raise WithheldError(
            "faces", f"{len(frames):,} faces in {len(regions):,} frames are too many for a record"
        )
    return {pair: tuple(found) for pair, found in frames.items()}


def share_hidden(boxes: Sequence[Box], width: int, height: int) -> float:
    """Share of a ``width`` × ``height`` image inside any of the whole-pixel boxes, 0..1."""
    if not boxes:
        return 0.0
    mask = np.zeros((height, width), dtype=bool)
    for box in boxes:
        mask[box.slices] = True
    return float(np.count_nonzero(mask)) / mask.size


def _to_stored(detection: Detection, picture: Picture, index: int) -> Detection:
    height, width = picture.frames[index].shape[:2]
    return replace(detection, box=to_stored(detection.box, picture.orientation, width, height))


def _decide(detection: Detection) -> Face:
    return Face(
        box=detection.box,
        confidence=detection.confidence,
        detectors=tuple(sorted(detection.detector.split("+"))),
        decided_by="detector",
    )


def _given(
    name: str, picture: Picture, decisions: GivenFaceSource
) -> list[list[Face]] | WithheldError:
    given = decisions.find(name)
    if given is None:
        return not_looked_at()
    size = picture.width, picture.height
    return place_faces(given, len(picture.frames), size, picture.orientation)


def not_looked_at() -> WithheldError:
    """The reason to withhold an image of which the file of faces has no entry."""
    return WithheldError("not-looked-at", "the face-box file has no entry for this image")


def listed_as_withheld(reason: str) -> WithheldError:
    """The reason to withhold an image that the file of faces lists as withheld: the same."""
    code, _, detail = " ".join(reason.split())[:_MAX_REASON].partition(": ")
    if detail and re.fullmatch(r"[a-z][a-z0-9-]{0,39}", code):
        return WithheldError(code, detail)
    return WithheldError("not-looked-at", detail or code)


def place_faces(
    given: GivenFaces, frames: int, size: tuple[int, int], orientation: int
) -> list[list[Face]] | WithheldError:
    """Place given faces in the frames of an image.

    Args:
        given: the faces of the image.
        frames: number of its frames.
        size: its width and height as stored, pixels.
        orientation: its EXIF orientation, 1 to 8.

    Returns:
        One list of faces per frame, in stored pixels, or the reason to withhold the image.
    """
    if given.size is not None and given.size != size:
        # Boxes of a resized copy, or of the image turned upright, would miss the faces.
        expected, found = f"{given.size[0]}×{given.size[1]}", f"{size[0]}×{size[1]}"
        return WithheldError("faces", f"the file says that it is {expected}, but it is {found}")
    faces: list[list[Face]] = [[] for _ in range(frames)]
    for index, box in enumerate(given.boxes):
        stored = _to_pixels(box, size, orientation) if given.relative else box
        if clip(stored, *size).is_empty:
            return WithheldError("faces", f"box {box.xyxy} lies outside the image")
        if is_too_small(stored):  # as boxes in another unit are
            return WithheldError("faces", f"box {box.xyxy} is smaller than 2 pixels")
        shown = given.frames[index] if given.frames else range(len(faces))
        if any(frame >= len(faces) for frame in shown):
            return WithheldError("faces", f"box {box.xyxy} is in a frame that is not there")
        face = _to_face(stored, given.fields[index] if given.fields else {})
        for frame in shown:
            faces[frame].append(face)
    return faces


def _to_face(box: Box, fields: Mapping[str, Any]) -> Face:
    """A face with the valid fields that the file has for it."""
    confidence, detectors = fields.get("confidence"), fields.get("detectors") or ()
    if not isinstance(confidence, (int, float)) or not 0 <= confidence <= 1:
        confidence = None
    decided_by = fields.get("decided_by")
    return Face(
        box,
        confidence,
        tuple(map(str, detectors)) if isinstance(detectors, (list, tuple)) else (),
        decided_by if decided_by in ("detector", "person") else "file",
    )


def _to_pixels(box: Box, size: tuple[int, int], orientation: int) -> Box:
    """Convert a box from shares of the upright image to pixels of the stored image."""
    width, height = size
    across, down = (height, width) if orientation >= 5 else (width, height)
    return to_stored(scale(box, across, down), orientation, width, height)
